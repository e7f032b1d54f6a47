"""Faces of OBJ files that name what is not there, beside those that only look as if they did."""

from __future__ import annotations

import pytest
from PIL import Image

from datasets3d.meshes.decode import decode
from equivariant.errors import DataFormatError

CORNERS = "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\n"
PLACES = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"


def read(folder, text):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(folder / "red.png")
    (folder / "a.mtl").write_text("newmtl m\nmap_Kd red.png\n")
    (folder / "a.obj").write_text(f"mtllib a.mtl\n{text}")
    return decode(folder / "a.obj", name="a.obj")


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ("f 1 2 3\nf 0 1 2\n", "index 0 of v"), ("f 1/0 2/1 3/1\n", "index 0 of vt"),
        ("f 0// 1// 2//\n", "index 0 of v"), ("f 1/1 2/2 3/5\n", "index 5 of 4 vt"),
        ("f 1/1 2/2 3/3\nf 1/99 3 4\n", "index 99 of 4 vt"), ("f 1 2 9\n", "index 9 of 4 v"),
        ("f 1 2 x\n", "'x' in the place of an index of v"),
        ("f 1 2 /3\n", "'/3' in the place of an index of v"),
        ("f 1/1 2/2 3/y\n", "'3/y' in the place of an index of vt"),
        (f"f 1 2 {10**30}\n", "in the place of an index of v"),
        ("v 1 2\nf 1 2 3\n", "'1 2' that is not three numbers"),
        ("v 1 two 3\nf 1 2 3\n", "'1 two 3' that is not three numbers"),
    ],
)  # fmt: skip
def test_indices_that_name_nothing_are_refused(tmp_path, faces, said):
    """Taken as they are, 0 names the first vertex and a wrong place drops the whole texture."""
    with pytest.raises(DataFormatError, match=f"file, got [^:]*{said}"):  # without a Python type
        read(tmp_path, f"{CORNERS}{PLACES}usemtl m\n{faces}")


@pytest.mark.parametrize("faces", ["f 10 1 2\n", "f 1/0 2/0 10/0\n", "f 1//0 2//0 10//0\n"])
def test_zeros_that_are_no_index_of_a_place(tmp_path, faces):
    """Of ten, of texture coordinates where there are none, and of normals, which are not read."""
    assert len(read(tmp_path, CORNERS * 3 + faces).faces) == 1


def test_a_face_may_name_a_vertex_that_comes_later(tmp_path):
    assert len(read(tmp_path, "f 1 2 +3\nf 1 3 4\n" + CORNERS).faces) == 2
