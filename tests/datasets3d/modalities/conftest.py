"""A set of moved and scaled objects with passes, and one with textures and vertex colors."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from building import quiet

from datasets3d import (
    BuildConfig,
    ObjectScale,
    ObjectTranslation,
    ProceduralMeshes,
    ThreeDIEBench,
    ViewClouds,
    ViewLaw,
)
from renderers.scene import Mesh

SOURCE = ProceduralMeshes(instances=1, classes=["chair", "teapot"], val_fraction=0.0)
LAW = ViewLaw(
    factors=(ObjectTranslation((-0.2, 0.2), (-0.2, 0.2), (-0.2, 0.2)), ObjectScale((0.7, 1.2)))
)
PASSES = ("depth", "mask", "normals", "coordinates", "faces")
SIZE = 64
CONFIG = BuildConfig(views=3, size_px=SIZE, law=LAW, passes=PASSES)
KEYS = ("chair/chair-000000", "teapot/teapot-000000")


@pytest.fixture(scope="session")
def moved(tmp_path_factory):
    """Two objects with three views each; tests do not write to it."""
    root = tmp_path_factory.mktemp("modalities") / "set"
    quiet(SOURCE, root, config=CONFIG)
    return root


@pytest.fixture(scope="session")
def clouds(moved):
    return ViewClouds(ThreeDIEBench(moved, cache=False), points=2000)


@pytest.fixture(scope="session")
def colored():
    """One mesh whose faces are textured with and without tint, or have a color of their own."""
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.45)
    faces = ball.faces.astype(np.int32)
    count, random = len(faces), np.random.default_rng(3)
    corners = ball.vertices[faces]
    uv = np.stack([0.9 * corners[..., 0] + 1.3, 1.7 * corners[..., 2]], -1).astype(np.float32)
    ramp = np.linspace(40, 240, 32)
    texture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 90.0), -1).astype(np.uint8)
    return Mesh(
        vertices=np.asarray(ball.vertices, np.float64),
        faces=faces,
        corner_normals=ball.vertex_normals[faces].astype(np.float32),
        face_colors=random.integers(30, 230, (count, 3)).astype(np.uint8),
        texture=texture,
        corner_uv=uv,
        face_textured=np.arange(count) % 3 > 0,
        corner_tint=(0.4 + 0.6 * random.random((count, 3, 3))).astype(np.float32),
    )
