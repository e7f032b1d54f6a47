"""A small set of procedural objects, and a folder of meshes of two classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from building import SMALL, TWO

from datasets3d import build


@pytest.fixture(scope="session")
def built_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("small") / "set"
    build(TWO, root, config=SMALL, workers=1, progress=False)
    return root


@pytest.fixture
def small(built_once, tmp_path):
    """A copy of a finished set of four objects with two views."""
    return Path(shutil.copytree(built_once, tmp_path / "small"))


@pytest.fixture
def meshes(tmp_path):
    """Three blocks of two classes, one of them with a material file."""
    root = tmp_path / "meshes"
    block = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 2) for z in (0, 3))
    faces = "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n"
    for name, head in (("a/one", "mtllib one.mtl\nusemtl red\n"), ("a/two", ""), ("b/three", "")):
        path = root / f"{name}.obj"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + block.replace("3\n", f"{3 + len(name)}\n") + faces)
    (root / "a" / "one.mtl").write_text("newmtl red\nKd 1 0 0\n")
    return root
