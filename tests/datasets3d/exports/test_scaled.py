"""Exports of sets whose objects are moved and scaled."""

from __future__ import annotations

import json

import numpy as np
import pytest

from datasets3d import (
    BuildConfig,
    ObjectScale,
    ObjectTranslation,
    ProceduralMeshes,
    ViewLaw,
    build,
    export,
    read_pass,
)
from equivariant.errors import ConventionError

KEY = "chair/chair-000000"


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    root = tmp_path_factory.mktemp("scaled") / "set"
    law = ViewLaw(factors=(ObjectTranslation((-0.2, 0.2), (-0.2, 0.2), (0.0, 0.2)), ObjectScale()))
    config = BuildConfig(
        views=3, size_px=32, law=law, passes=("depth", "mask", "coordinates", "rgba")
    )
    source = ProceduralMeshes(instances=1, classes=["chair"])
    build(source, root, config=config, workers=1, progress=False)
    return root


def test_poses_without_a_place_for_scales_are_refused(scaled, tmp_path):
    with pytest.raises(ConventionError, match="ObjectScale"):
        export(scaled, tmp_path / "bop", format="bop", progress=False)


def test_cameras_of_scaled_objects_see_their_surface_points(scaled, tmp_path):
    """NeRF's matrices are rigid, and rays through pixels' centers meet the points recorded."""
    export(scaled, tmp_path / "nerf", format="nerf", progress=False)
    scene = json.loads((tmp_path / "nerf" / KEY / "transforms.json").read_bytes())
    for view, frame in enumerate(scene["frames"]):
        M = np.array(frame["transform_matrix"])
        np.testing.assert_allclose(M[:3, :3] @ M[:3, :3].T, np.eye(3), atol=1e-9)
        x = read_pass(scaled, KEY, view, "coordinates").astype(float)
        rows, columns = np.nonzero(read_pass(scaled, KEY, view, "mask"))
        seen = (x[rows, columns] - M[:3, 3]) @ M[:3, :3]
        u = scene["cx"] + scene["fl_x"] * seen[:, 0] / -seen[:, 2]
        v = scene["cy"] - scene["fl_y"] * seen[:, 1] / -seen[:, 2]
        np.testing.assert_allclose(u, columns + 0.5, atol=1e-3)
        np.testing.assert_allclose(v, rows + 0.5, atol=1e-3)
