"""A set with what every layout needs, made once."""

from __future__ import annotations

import pytest
from building import quiet

from datasets3d import BuildConfig, ProceduralMeshes

SOURCE = ProceduralMeshes(instances=2, classes=["chair", "truck"], val_fraction=0.5)
PASSES = ("depth", "mask", "coordinates", "rgba")


@pytest.fixture(scope="session")
def exportable(tmp_path_factory):
    root = tmp_path_factory.mktemp("exportable") / "set"
    quiet(SOURCE, root, config=BuildConfig(views=2, size_px=48, passes=PASSES))
    return root
