"""A set in both layouts, made once; tests do not write to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from building import quiet

from datasets3d import BuildConfig, ProceduralMeshes, ShardSize, export

SOURCE = ProceduralMeshes(instances=4, classes=["chair", "truck"], val_fraction=0.5)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("layouts") / "folders"
    quiet(SOURCE, root, config=BuildConfig(views=3, size_px=24, passes=("depth", "mask")))
    return root


@pytest.fixture(scope="session")
def shards(folders):
    out = folders.parent / "shards"
    export(folders, out, format="shards", shard_size=ShardSize(images=9), progress=False)
    return out


@pytest.fixture
def copy(shards, tmp_path):
    return Path(shutil.copytree(shards, tmp_path / "copy"))
