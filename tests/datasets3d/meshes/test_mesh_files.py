"""Every format, written and read back; every kind of broken file refused by name."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import pickle

import numpy as np
import pytest
import trimesh
from PIL import Image

from datasets3d.meshes import MeshFolder, MeshWarning, read_mesh
from datasets3d.meshes.cache import content_key
from datasets3d.meshes.decode import decode
from datasets3d.meshes.normalize import GREY
from datasets3d.meshes.surfaces.pictures import TEXTURE_PX
from datasets3d.meshes.surfaces.pieces import sample
from equivariant.errors import DataFormatError


def solid(color=None):
    mesh = trimesh.creation.box((1, 2, 3))
    if color == "vertex":
        mesh.visual.vertex_colors = np.arange(32, dtype=np.uint8).reshape(8, 4) * 7
    if color == "face":
        mesh.visual.face_colors = np.arange(48, dtype=np.uint8).reshape(12, 4) * 5
    return mesh


def write(mesh, path, **settings):
    data = mesh.export(file_type=path.suffix[1:], **settings)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def at_corners(mesh):
    """Places and colors of the corners, in an order that no file format can change."""
    places = mesh.vertices[mesh.faces].reshape(-1, 3)
    if mesh.vertex_colors is not None:
        colors = mesh.vertex_colors[mesh.faces].reshape(-1, 3)
    else:
        colors = np.repeat(mesh.face_colors, 3, axis=0)
    rows = np.round(np.hstack((places, colors)), 4) + 0.0
    return rows[np.lexsort(rows.T)]


def linear_to_srgb(colors):
    share = colors / 255.0
    curve = np.where(share <= 0.0031308, share * 12.92, 1.055 * share ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["obj", "glb", "off", "ply", "stl"])
def test_geometry_survives(tmp_path, suffix):
    mesh = read_mesh(write(solid(), tmp_path / f"box.{suffix}"), up="z")
    assert len(mesh.faces) == 12
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), np.array([1, 2, 3]) / 14**0.5)
    normals = mesh.corner_normals.mean(1)
    centers = mesh.vertices[mesh.faces].mean(1)
    assert np.all(np.einsum("fi,fi->f", normals, centers) > 0)
    assert np.all(mesh.face_colors == GREY)


@pytest.mark.parametrize(
    ("suffix", "color"),
    [("ply", "vertex"), ("ply", "face"), ("obj", "vertex"), ("glb", "vertex")],
)
def test_colors_survive(tmp_path, suffix, color):
    original = solid(color)
    mesh = read_mesh(write(original, tmp_path / f"box.{suffix}"), up="z")
    if color == "vertex":
        corners = np.asarray(original.visual.vertex_colors)[original.faces][..., :3]
    else:
        corners = np.repeat(np.asarray(original.visual.face_colors)[:, None, :3], 3, axis=1)
    if suffix == "glb":  # the format's colors are linear
        corners = linear_to_srgb(corners)
    places = original.vertices[original.faces].reshape(-1, 3) / 14**0.5
    rows = np.round(np.hstack((places, corners.reshape(-1, 3))), 4) + 0.0
    np.testing.assert_allclose(at_corners(mesh), rows[np.lexsort(rows.T)], atol=2e-4)


def test_ascii_ply_and_stl(tmp_path):
    ply = write(solid("vertex"), tmp_path / "box.ply", encoding="ascii")
    assert len(read_mesh(ply).faces) == 12
    text = tmp_path / "box.stl"
    text.write_text(trimesh.exchange.stl.export_stl_ascii(solid()))
    assert len(read_mesh(text).faces) == 12


def test_off_with_a_glued_header_a_comment_and_quads(tmp_path):
    path = tmp_path / "square.off"
    path.write_text("OFF4 1 0\n# a square\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n")
    assert len(read_mesh(path).faces) == 2


def textured(image, **material):
    mesh = trimesh.creation.box((1, 1, 1))
    uv = np.clip(mesh.vertices[:, :2] + 0.5, 0.1, 0.9)
    kind = trimesh.visual.material.PBRMaterial(baseColorTexture=image, **material)
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=kind)
    return mesh


def two_colors(size=4):
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[: size // 2], pixels[size // 2 :] = (250, 20, 20), (20, 20, 250)  # red on top
    return Image.fromarray(pixels)


def test_texture_and_its_orientation(tmp_path):
    mesh = read_mesh(write(textured(two_colors()), tmp_path / "box.glb"), up="z")
    assert mesh.texture.shape == (4, 4, 3)
    assert mesh.face_textured is None
    high = mesh.vertices[mesh.faces][..., 1] > 0
    seen = sample(mesh.texture, mesh.corner_uv)
    assert np.all(seen[high] == (250, 20, 20))
    assert np.all(seen[~high] == (20, 20, 250))


def test_texture_times_linear_factor(tmp_path):
    mesh = textured(two_colors(), baseColorFactor=[128, 255, 0, 255])
    read = read_mesh(write(mesh, tmp_path / "box.glb"))
    linear = ((250 / 255 + 0.055) / 1.055) ** 2.4 * 128 / 255
    expected = (1.055 * linear ** (1 / 2.4) - 0.055) * 255
    np.testing.assert_allclose(read.texture[0, 0], [expected, 20, 0], atol=1.0)


def test_factor_alone_is_linear(tmp_path):
    mesh = trimesh.creation.box()
    kind = trimesh.visual.material.PBRMaterial(baseColorFactor=[128, 0, 255, 255])
    mesh.visual = trimesh.visual.TextureVisuals(material=kind)
    read = read_mesh(write(mesh, tmp_path / "box.glb"))
    assert np.all(read.face_colors == (188, 0, 255))


def test_scenes_are_baked(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(solid("face"), transform=trimesh.transformations.scale_matrix(2.0))
    mirror = np.diag([1.0, 1.0, -1.0, 1.0])
    mirror[:3, 3] = (10, 0, 0)
    scene.add_geometry(solid(), transform=mirror)
    mesh = read_mesh(write(scene, tmp_path / "two.glb"), up="z")
    assert len(mesh.faces) == 24
    extent = np.ptp(mesh.vertices, axis=0)
    np.testing.assert_allclose(extent / extent[1], np.array([11.5, 4, 6]) / 4, atol=1e-6)
    for part in trimesh.Trimesh(mesh.vertices, mesh.faces).split():
        assert part.volume > 0


def test_all_textures_are_kept_beside_colors_of_faces(tmp_path):
    large = textured(two_colors())
    large.apply_scale(3)
    small = textured(Image.new("RGB", (2, 2), (10, 200, 10))).apply_translation((5, 0, 0))
    bare = solid("face").apply_translation((0, 9, 0))
    mesh = read_mesh(write(trimesh.Scene([small, large, bare]), tmp_path / "three.glb"))
    assert mesh.face_textured is None and len(mesh.faces) == 36
    tints = mesh.corner_tint.reshape(36, 9)
    assert (tints != 1).any(1).sum() == 12  # trimesh writes colors of faces as those of vertices
    seen = sample(mesh.texture, mesh.corner_uv.mean(1))
    assert np.sum(np.all(seen == (10, 200, 10), axis=1)) == 12
    assert {tuple(color) for color in seen.tolist()} >= {(250, 20, 20)}


def obj_with_material(folder, *, kd="0.2 0.4 0.6", image=None):
    folder.mkdir(exist_ok=True)
    lines = [f"newmtl paint\nKd {kd}"]
    if image is not None:
        lines.append("map_Kd picture.png")
        image.save(folder / "picture.png")
    (folder / "paint.mtl").write_text("\n".join(lines) + "\n")
    path = folder / "square.obj"
    path.write_text(
        "mtllib paint.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
        "vt 0.1 0.1\nvt 0.9 0.1\nvt 0.9 0.9\nvt 0.1 0.9\n"
        "usemtl paint\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    )
    return path


def test_obj_with_kd(tmp_path):
    mesh = read_mesh(obj_with_material(tmp_path))
    assert np.all(mesh.face_colors == (51, 102, 153))


def test_obj_with_texture_takes_it_alone(tmp_path):
    mesh = read_mesh(obj_with_material(tmp_path, image=two_colors()), up="z")
    high = mesh.vertices[mesh.faces][..., 1] > 0
    seen = sample(mesh.texture, mesh.corner_uv)
    assert np.all(seen[high] == (250, 20, 20))
    assert np.all(seen[~high] == (20, 20, 250))


def test_missing_companions_leave_the_material_or_grey(tmp_path):
    path = obj_with_material(tmp_path, image=two_colors())
    (tmp_path / "picture.png").unlink()
    with pytest.warns(MeshWarning, match=r"'picture\.png' was not found"):
        assert np.all(read_mesh(path).face_colors == (51, 102, 153))
    (tmp_path / "paint.mtl").unlink()
    with pytest.warns(MeshWarning, match=r"'paint\.mtl' was not found"):
        assert np.all(read_mesh(path).face_colors == GREY)


def test_broken_texture_names_the_mesh(tmp_path):
    path = obj_with_material(tmp_path, image=Image.effect_noise((64, 64), 90).convert("RGB"))
    picture = tmp_path / "picture.png"
    picture.write_bytes(picture.read_bytes()[:2000])
    with pytest.raises(DataFormatError, match=r"square\.obj.* texture of 64 x 64 .* is damaged"):
        read_mesh(path)


@pytest.mark.parametrize("suffix", [".mtl", ".png", ".bin"])
def test_pipes_and_folders_in_place_of_companions_are_absent(tmp_path, suffix):
    path = obj_with_material(tmp_path, image=Image.new("RGB", (2, 2)))
    if suffix == ".bin":
        path = tmp_path / "a.gltf"
        path.write_text('{"asset": {"version": "2.0"}, "meshes": [{"primitives": [{"attributes": '
                        '{"POSITION": 0}}]}], "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}], '
                        '"buffers": [{"byteLength": 36, "uri": "a.bin"}], "bufferViews": [{"buffer"'
                        ': 0, "byteLength": 36}], "accessors": [{"bufferView": 0, "count": 3, '
                        '"componentType": 5126, "type": "VEC3"}]}')  # fmt: skip
        (tmp_path / "a.bin").touch()
    for make in (os.mkfifo, os.mkdir):
        companion = next(p for p in tmp_path.iterdir() if p.suffix == suffix)
        companion.rmdir() if companion.is_dir() else companion.unlink()
        make(companion)
        content_key(path, {})
        if suffix == ".bin":
            with pytest.raises(DataFormatError, match=r"FileNotFoundError: a\.bin"):
                read_mesh(path)
            continue
        with pytest.warns(MeshWarning, match="was not found"):
            read_mesh(path)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_images_of_every_mode(tmp_path, mode):
    mesh = read_mesh(obj_with_material(tmp_path, image=two_colors(8).convert(mode)))
    assert mesh.texture.shape == (8, 8, 3)
    assert mesh.texture.dtype == np.uint8


def test_large_textures_are_averaged_down(tmp_path):
    image = two_colors(2).resize((3000, 1500), Image.Resampling.NEAREST)
    mesh = read_mesh(obj_with_material(tmp_path, image=image))
    assert mesh.texture.shape == (TEXTURE_PX // 2, TEXTURE_PX, 3)


def test_obj_in_an_old_encoding(tmp_path):
    path = tmp_path / "a.obj"
    path.write_bytes(b"# caf\xe9\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert len(read_mesh(path).faces) == 1


GOOD_OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
BAD = {
    "empty.obj": "",
    "only_vertices.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\n",
    "half_a_face.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 2\n",
    "half_a_vertex.obj": "v 0 0 0\nv 1 0",
    "index_beyond.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    "words.obj": "v a b c\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "rubbish_in_faces.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 x 3\n",
    "nan.obj": "v 0 0 0\nv 1 0 0\nv 0 nan 0\nf 1 2 3\n",
    "flat.obj": "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n",
    "one_point.obj": "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n",
    "no_faces.off": "OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n",
    "words.off": "hello\n",
    "words.ply": "hello\n",
    "no_faces.ply": "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\n"
    "property float y\nproperty float z\nend_header\n0 0 0\n",
    "words.stl": "hello\n",
    "words.gltf": "{]",
    "words.glb": "hello\n",
    "nothing.gltf": '{"asset": {"version": "2.0"}}',
    "mesh.fbx": "hello\n",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_by_name(tmp_path, name, capfd):
    path = tmp_path / name
    path.write_text(BAD[name])
    with pytest.raises(DataFormatError, match=name.replace(".", r"\.")) as caught:
        read_mesh(path)
    assert caught.value.__cause__ is None
    assert capfd.readouterr() == ("", "")


def test_missing_file_and_folder_in_its_place(tmp_path):
    with pytest.raises(DataFormatError, match=r"none\.obj"):
        read_mesh(tmp_path / "none.obj")
    (tmp_path / "dir.obj").mkdir()
    with pytest.raises(DataFormatError, match=r"dir\.obj"):
        read_mesh(tmp_path / "dir.obj")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["a.glb", "a.off", "a.ply", "ascii.ply", "a.stl", "ascii.stl"])
def test_truncated_files_are_refused(tmp_path, kind, share):
    path = tmp_path / kind
    mesh = trimesh.creation.icosphere(2)
    if kind == "ascii.stl":
        path.write_text(trimesh.exchange.stl.export_stl_ascii(mesh))
    else:
        write(mesh, path, **({"encoding": "ascii"} if kind == "ascii.ply" else {}))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataFormatError, match=kind.replace(".", r"\.")):
        read_mesh(path)


def test_obj_cut_within_its_vertices_or_a_face(tmp_path):
    path = tmp_path / "a.obj"
    text = trimesh.creation.icosphere(2).export(file_type="obj")
    for cut in (30, len(text) // 4, text.rindex("f ") + 5):
        path.write_text(text[:cut])
        with pytest.raises(DataFormatError, match=r"a\.obj"):
            read_mesh(path)


def test_draco_without_a_decoder(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "a.gltf"
    path.write_text(json.dumps({"extensionsRequired": ["KHR_draco_mesh_compression"]}))
    with pytest.raises(DataFormatError, match="DracoPy"):
        read_mesh(path)


def test_nothing_is_printed_or_logged_to_the_screen(tmp_path, capfd):
    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger("trimesh").handlers)
    path = obj_with_material(tmp_path)
    (tmp_path / "paint.mtl").unlink()
    decode(path, name="square", notes=[])
    assert capfd.readouterr() == ("", "")


def test_errors_travel_between_processes(tmp_path):
    (tmp_path / "chair").mkdir()
    (tmp_path / "chair" / "a.obj").write_text("")
    source = pickle.loads(pickle.dumps(MeshFolder(tmp_path)))  # noqa: S301
    with pytest.raises(DataFormatError) as caught:
        source.load(source.entries()[0])
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301
