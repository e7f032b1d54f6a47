"""A set with every pass, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from building import quiet

from datasets3d import BuildConfig, ProceduralMeshes

SOURCE = ProceduralMeshes(instances=1, classes=["chair", "truck"], val_fraction=0.5)
PASSES = ("depth", "normals", "mask", "shadow", "coordinates", "faces", "rgba")
CONFIG = BuildConfig(views=3, size_px=48, passes=PASSES)


@pytest.fixture(scope="session")
def known(tmp_path_factory):
    """Two objects with three views and all passes; tests do not write to it."""
    root = tmp_path_factory.mktemp("passes") / "set"
    quiet(SOURCE, root, config=CONFIG)
    return root


@pytest.fixture
def known_copy(known, tmp_path):
    return Path(shutil.copytree(known, tmp_path / "copy"))
