"""Holes that OBJ materials cut by map_d."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from datasets3d.meshes import MeshFolder
from datasets3d.meshes.cache import content_key
from datasets3d.meshes.folder import read_mesh
from datasets3d.meshes.formats.mesh_warning import collected
from equivariant.errors import DataFormatError
from renderers import Scene, get

SQUARE = (
    "mtllib a.mtl\nv -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
    "usemtl m\nf 1/1 2/2 3/3 4/4\n"
)
LEVELS = np.array([[0, 255, 255, 0], [1, 255, 0, 254]], np.uint8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.obj").write_text(SQUARE)
    colors = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    Image.fromarray(colors).save(tmp_path / "color.png")
    Image.fromarray(LEVELS).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([colors, LEVELS])).save(tmp_path / "both.png")
    Image.fromarray(LEVELS.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    return tmp_path


def read(folder, material):
    (folder / "a.mtl").write_text(f"newmtl m\n{material}")
    with collected() as notes:
        return read_mesh(folder / "a.obj"), notes


@pytest.mark.parametrize(
    "material",
    [
        "map_Kd color.png\nmap_d grey.png\n", "map_d grey.png\nmap_Kd color.png\n",
        "map_Kd both.png\nmap_d both.png\n", "map_Kd color.png\nMAP_D -imfchan l deep.png\n",
        "map_Kd -s 2 2 1 color.png\n\tmap_d -s 2 2 1 GREY.png\n",
    ],
)  # fmt: skip
def test_a_hole_is_where_nothing_is_seen(folder, material):
    mesh, notes = read(folder, material)
    assert ((mesh.texture_cutout < 127.5) == (LEVELS == 0)).all()
    seen = LEVELS > 0
    colors = np.asarray(Image.open(folder / "color.png"))
    assert (mesh.texture[seen] == colors[seen]).all()
    assert notes == ["partial transparency is ignored"]


def test_a_color_without_a_picture_has_holes_too(folder):
    mesh, _ = read(folder, "Kd 1 0.5 0\nmap_d grey.png\n")
    assert ((mesh.texture_cutout < 127.5) == (LEVELS == 0)).all()
    assert (mesh.texture == (255, 128, 0)).all()


@pytest.mark.parametrize("line", ["map_Kd none.png\n", "map_Kd a.obj\n"])
def test_a_picture_of_color_that_is_not_there_is_the_color(folder, line):
    mesh, notes = read(folder, f"Kd 1 0.5 0\n{line}map_d grey.png\n")
    assert ((mesh.texture_cutout < 127.5) == (LEVELS == 0)).all()
    assert (mesh.texture == (255, 128, 0)).all()
    assert "the material's color is shown" in notes[0]


@pytest.mark.parametrize("color", ["1e308 -1e308 0.5", "nan inf 0.5"])
def test_colors_out_of_range_are_clipped(folder, color):
    mesh, _ = read(folder, f"Kd {color}\nmap_d grey.png\n")
    assert mesh.texture[0, 1, 2] == 128 and set(mesh.texture[0, 1, :2].tolist()) <= {0, 255}


def test_pictures_of_two_sizes_meet_in_the_larger_one(folder):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(folder / "half.png")
    mesh, _ = read(folder, "map_Kd color.png\nmap_d half.png\n")
    assert mesh.texture.shape == (2, 4, 3)
    assert (mesh.texture_cutout[:, 0] < 127.5).all() and (mesh.texture_cutout[:, 3] > 127.5).all()


@pytest.mark.parametrize(
    ("material", "said"),
    [
        ("map_d none.png\n", "texture 'none.png' was not found: transparency is ignored"),
        ("map_d a.obj\n", "texture 'a.obj' is no picture: transparency is ignored"),
        ("map_d ../../x.png\n", "transparency is ignored"),
        ("map_Kd color.png\nmap_d -s 2 2 1 grey.png\n", "map_d lies otherwise than map_Kd"),
        ("map_Kd -o 1 0 0 color.png\nmap_d grey.png\n", "map_d lies otherwise than map_Kd"),
    ],
)
def test_what_cannot_be_cut_is_solid_and_noted(folder, material, said):
    mesh, notes = read(folder, material)
    assert mesh.texture_cutout is None
    assert len(notes) == 1 and said in notes[0]


def test_what_is_opaque_everywhere_is_not_noted(folder):
    Image.new("L", (2, 2), 255).save(folder / "white.png")
    mesh, notes = read(folder, "map_Kd color.png\nmap_d white.png\n")
    assert mesh.texture_cutout is None and notes == []
    (folder / "a.obj").write_text(SQUARE + "usemtl n\nf 1/1 3/3 2/2\n")
    mesh, notes = read(folder, "map_Kd color.png\nnewmtl n\nnewmtl other\nmap_d none.png\n")
    assert mesh.texture_cutout is None and notes == []


def test_a_damaged_picture_is_not_half_read(folder):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(folder / "grey.png")
    whole = (folder / "grey.png").read_bytes()
    (folder / "grey.png").write_bytes(whole[:2000])
    with pytest.raises(DataFormatError, match="readable mesh file"):
        read(folder, "map_Kd color.png\nmap_d grey.png\n")


def test_faces_without_places_on_the_picture_are_solid(folder):
    (folder / "a.obj").write_text(SQUARE + "v 5 0 0\nf 2 5 3\n")
    mesh, _ = read(folder, "map_Kd color.png\nmap_d grey.png\n")
    assert len(mesh.faces) == 3 and sorted(mesh.face_textured) == [False, True, True]


def test_the_picture_shows_what_lies_behind(folder):
    """Left half of a square away: as many pixels as the right half alone."""
    left = np.tile(np.array([[0] * 32 + [255] * 32], np.uint8), (64, 1))
    Image.fromarray(left).save(folder / "left.png")
    renderer = get("embree")
    whole, _ = read(folder, "Kd 1 1 1\n")
    cut, _ = read(folder, "Kd 1 1 1\nmap_d left.png\n")
    shown = [renderer.render(Scene(mesh), 64).mask.sum() for mesh in (whole, cut)]
    assert abs(shown[1] / shown[0] - 0.5) < 0.03


def test_another_picture_of_opacity_is_another_mesh(folder):
    read(folder, "map_Kd color.png\nmap_d grey.png\n")
    before = content_key(folder / "a.obj", {})
    Image.fromarray(255 - LEVELS).save(folder / "grey.png")
    assert content_key(folder / "a.obj", {}) != before


def test_a_folder_of_meshes_has_them(folder):
    (folder / "k").mkdir()
    for name in ("a.obj", "color.png", "grey.png"):
        (folder / "k" / name).write_bytes((folder / name).read_bytes())
    (folder / "k" / "a.mtl").write_text("newmtl m\nmap_Kd color.png\nmap_d grey.png\n")
    source = MeshFolder(folder)
    entry = next(e for e in source.entries() if e.label == "k")
    with collected():
        assert source.load(entry).texture_cutout is not None
