"""Legal files that readers get wrong, each beside a plain file of the same surface."""

import json
import struct

import numpy as np
import pytest
from PIL import Image

from benchmarks.meshes.gltf_writer import FACES, SQUARE, UV, Writer
from datasets3d.meshes import read_mesh
from datasets3d.meshes.decode import decode
from datasets3d.meshes.formats.polygons import ear_clipped
from datasets3d.meshes.layouts import scan
from datasets3d.meshes.normals import corner_normals
from equivariant.errors import DataFormatError

CORNERS = "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\n"
PLACES = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
SQUARE_OBJ = f"mtllib a.mtl\n{CORNERS}{PLACES}usemtl m\nf 1/1 2/2 3/3 4/4\n"
RED = {"a.mtl": "newmtl m\nKd 1 0 0\n"}


def read(folder, text, companions=(), name="a.obj"):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(folder / "red.png")
    for other, contents in dict(companions).items():
        (folder / other).write_text(contents)
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return decode(path, name=name)


def area(mesh):
    points = mesh.vertices[mesh.faces].astype(np.float64)
    return np.linalg.norm(np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]),
                          axis=1).sum() / 2  # fmt: skip


@pytest.mark.parametrize(
    "faces",
    [
        "f 1 2 3\nf 1 3 4\n", "f\t1\t2 3\n\t f 1 3 4\n", "f 1 2 3 # one\nf 1 3 4#two\n",
        "f 1 2 \\\n3 4\n", "f -4 -3 -2 -1\n", "f 1// 2// -2// -1//\n",
    ],
)  # fmt: skip
def test_faces_of_objs_however_they_are_written(tmp_path, faces):
    mesh = read(tmp_path, CORNERS + faces)
    assert (len(mesh.faces), area(mesh)) == (2, pytest.approx(4.0))


def test_negative_indices_count_from_where_they_stand(tmp_path):
    one = "v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\n"
    assert area(read(tmp_path, one + "v 5 0 0\nv 6 0 0\nv 6 3 0\nf -3 -2 -1\n")) == 2.0
    with pytest.raises(DataFormatError, match="before the first"):
        read(tmp_path, "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -4 -2 -1\n")


@pytest.mark.parametrize(
    ("text", "materials"),
    [
        (SQUARE_OBJ, RED), ("\ufeff" + SQUARE_OBJ, RED),
        (SQUARE_OBJ.replace("a.mtl", "A.MTL"), RED),
        (SQUARE_OBJ.replace("a.mtl", "b.mtl a.mtl"), {**RED, "b.mtl": "newmtl other\nKd 0 1 0\n"}),
        (SQUARE_OBJ.replace("mtllib", "mtllib b.mtl\nmtllib"), {**RED, "b.mtl": ""}),
        (SQUARE_OBJ.replace("a.mtl", "my materials.mtl"), {"my materials.mtl": RED["a.mtl"]}),
        (SQUARE_OBJ.replace("a.mtl", "no.mtl  my\\ a.mtl"), {"my a.mtl": RED["a.mtl"]}),
        (SQUARE_OBJ, {"a.mtl": "\ufeffnewmtl m\n\tKd\t1 0 0\n"}),
    ],
)  # fmt: skip
def test_materials_of_objs_however_they_are_named(tmp_path, text, materials):
    mesh = read(tmp_path, text, materials)
    assert mesh.face_colors.tolist() == [[255, 0, 0]] * 2


@pytest.mark.parametrize(
    "line",
    [
        "map_Kd red.png", "map_Kd -s 1 1 1 red.png", "map_Kd -clamp on -o 0 0 red.png",
        "map_Kd -mm 0 1 red.png", "map_Kd RED.PNG", "map_kd C:\\\\models\\\\red.png",
        "\tmap_Kd ./red.png", "map_Kd /home/someone/red.png",
    ],
)  # fmt: skip
def test_textures_of_objs_however_they_are_named(tmp_path, line):
    mesh = read(tmp_path, SQUARE_OBJ, {"a.mtl": f"newmtl m\n{line}\n"})
    assert mesh.texture is not None


@pytest.mark.parametrize(
    ("options", "scale", "shift"),
    [
        ("-s 2 2", (2, 2), (0, 0)), ("-s 0.5", (0.5, 1), (0, 0)),
        ("-o 0.25 -0.5 9", (1, 1), (0.25, -0.5)),
        ("-o 0.5 -s -2 3 1", (-2, 3), (0.5, 0)), ("-clamp on -s 2 2 -o 1e-1 0", (2, 2), (0.1, 0)),
    ],
)  # fmt: skip
def test_scaled_and_shifted_textures_are_those_of_moved_coordinates(
    tmp_path, options, scale, shift
):
    """u goes to s u + o, as in coordinates that were written so."""
    places = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    moved = places * scale + shift
    square = SQUARE_OBJ[SQUARE_OBJ.index("v ") : SQUARE_OBJ.index("vt ")]
    clamp = "-clamp on " if "clamp" in options else ""
    for name, uv, words in (("moved", moved, clamp), ("told", places, f"{options} ")):
        lines = "".join(f"vt {float(u)!r} {float(v)!r}\n" for u, v in uv)
        (tmp_path / name).mkdir()
        text = f"mtllib a.mtl\n{square}{lines}usemtl m\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
        (tmp_path / name / "a.obj").write_text(text)
        material = f"newmtl m\nplaced 9 9 9 9\nmap_Kd {words}t.png\n"  # no word of the format
        (tmp_path / name / "a.mtl").write_text(material)
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(
            tmp_path / name / "t.png"
        )
    told, right = (read_mesh(tmp_path / name / "a.obj") for name in ("told", "moved"))
    assert np.allclose(told.corner_uv, right.corner_uv, atol=1e-6)
    assert np.array_equal(told.texture, right.texture)
    (tmp_path / "told" / "a.mtl").write_text("newmtl m\nmap_Kd t.png\n")
    assert not np.allclose(read_mesh(tmp_path / "told" / "a.obj").corner_uv, right.corner_uv)


@pytest.mark.parametrize("start", range(5))
def test_polygons_that_are_not_convex(tmp_path, start):
    """An L less its corner: a fan covers too much, from most corners."""
    corners = np.roll([[0, 0], [3, 0], [1, 1], [0, 3], [-1, -1]], start, axis=0)
    text = "".join(f"v {x} {y} 0\n" for x, y in corners) + "f 1 2 3 4 5\n"
    x, y = corners.T
    shoelace = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert area(read(tmp_path, text)) == pytest.approx(shoelace)


def test_ears_of_random_star_polygons_cover_them_once():
    generator = np.random.default_rng(0)
    for _ in range(50):
        angles = np.sort(generator.uniform(0, 2 * np.pi, 9))
        radii = generator.uniform(0.2, 1.0, 9)
        plane = np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)
        frame = np.linalg.qr(generator.normal(size=(3, 3)))[0][:, :2]
        found = ear_clipped(plane @ frame.T)
        if found is None or np.diff(angles, append=angles[0] + 2 * np.pi).max() > np.pi:
            continue
        a, b, c = (plane[[t[k] for t in found]] for k in range(3))
        doubled = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
        x, y = plane.T
        shoelace = np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))
        assert (doubled > -1e-12).all() and doubled.sum() == pytest.approx(shoelace)


def test_ears_of_a_spiral_of_many_corners_cover_it_once():
    turn = np.arange(150) * 0.15
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    plane = np.concatenate([
        ring * (1.0 + turn[:, None] / 3), (ring * (0.9 + turn[:, None] / 3))[::-1]
    ])  # fmt: skip
    found = np.array(ear_clipped(np.pad(plane, ((0, 0), (0, 1)))))
    a, b, c = (plane[found[:, k]] for k in range(3))
    doubled = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    x, y = plane.T
    shoelace = np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))
    assert len(found) == len(plane) - 2
    assert np.abs(doubled).sum() == pytest.approx(abs(shoelace))


def textured(writer, uv, **texture):
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2, :2], pixels[:2, 2:], pixels[2:, :2] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    base = {"baseColorTexture": {"index": writer.picture(pixels), **texture}}
    material = writer.add(materials={"pbrMetallicRoughness": base})
    attributes = {"POSITION": writer.accessor(SQUARE), "TEXCOORD_0": writer.accessor(uv)}
    return {"attributes": attributes, "indices": writer.accessor(FACES), "material": material}


def test_normalized_texture_coordinates_and_second_ones(tmp_path):
    writer = Writer()
    primitive = textured(writer, UV)
    plain = decode(writer.save(tmp_path / "a.gltf", primitive), name="a")
    for width, kind in ((65535, "u2"), (255, "u1")):
        writer = Writer()
        primitive = textured(writer, np.full((4, 2), 0.25, "f4"), texCoord=1)
        values = (UV * width).astype(kind)
        if kind == "u1":  # rows of bytes are padded to four
            values = np.pad(values, ((0, 0), (0, 2)))
        number = writer.accessor(values, normalized=True)
        writer.document["accessors"][number]["type"] = "VEC2"
        view = writer.document["bufferViews"][writer.document["accessors"][number]["bufferView"]]
        view["byteStride"] = 4
        primitive["attributes"]["TEXCOORD_1"] = number
        mesh = decode(writer.save(tmp_path / "b.gltf", primitive), name="b")
        np.testing.assert_allclose(mesh.corner_uv, plain.corner_uv, atol=1e-6)


def test_texture_transforms_are_applied(tmp_path):
    transform = {"offset": [0.25, 0.5], "rotation": 0.3, "scale": [0.5, 2.0]}
    writer = Writer()
    extensions = {"KHR_texture_transform": transform}
    path = writer.save(tmp_path / "a.gltf", textured(writer, UV, extensions=extensions))
    mesh = decode(path, name="a")
    writer, (c, s) = Writer(), (np.cos(0.3), np.sin(0.3))
    u, v = (UV * [0.5, 2.0]).T
    moved = np.stack([0.25 + c * u + s * v, 0.5 - s * u + c * v], 1).astype("f4")
    plain = decode(writer.save(tmp_path / "b.gltf", textured(writer, moved)), name="b")
    np.testing.assert_allclose(mesh.corner_uv, plain.corner_uv, atol=1e-6)


def test_sparse_and_quantized_positions(tmp_path):
    writer = Writer()
    number = writer.accessor(np.pad(SQUARE * [1, -1, 1] * 32767, ((0, 0), (0, 1))).astype("i2"))
    entry = writer.document["accessors"][number]
    entry |= {"type": "VEC3", "normalized": True}
    writer.document["bufferViews"][entry["bufferView"]]["byteStride"] = 8
    rows = writer.view(np.arange(4, dtype="u1").tobytes())
    values = writer.view(np.ascontiguousarray((SQUARE * 32767).astype("i2")).tobytes())
    entry["sparse"] = {
        "count": 4, "indices": {"bufferView": rows, "componentType": 5121},
        "values": {"bufferView": values},
    }  # fmt: skip
    primitive = {"attributes": {"POSITION": number}, "indices": writer.accessor(FACES)}
    mesh = decode(writer.save(tmp_path / "a.gltf", primitive), name="a")
    np.testing.assert_allclose(mesh.vertices[:4], SQUARE, atol=1e-6)


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(("mode", "order"), [(5, [0, 1, 3, 2]), (6, [0, 1, 2, 3])])
def test_strips_and_fans(tmp_path, mode, order, indexed):
    writer = Writer()
    points = SQUARE if indexed else SQUARE[order]
    primitive = {"attributes": {"POSITION": writer.accessor(points)}, "mode": mode}
    if indexed:
        primitive["indices"] = writer.accessor(np.array(order, "u2"))
    mesh = decode(writer.save(tmp_path / "a.gltf", primitive), name="a")
    corners = mesh.vertices[mesh.faces]
    turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
    assert (turned > 0).all() and turned.sum() / 2 == pytest.approx(4.0)


def test_materials_by_specular_and_glossiness(tmp_path):
    writer = Writer()
    glossy = {"KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [1.0, 0.0, 0.0, 1.0]}}
    material = writer.add(materials={"extensions": glossy})
    attributes = {"POSITION": writer.accessor(SQUARE)}
    primitive = {"attributes": attributes, "indices": writer.accessor(FACES), "material": material}
    mesh = decode(writer.save(tmp_path / "a.gltf", primitive), name="a")
    assert mesh.face_colors.tolist() == [[255, 0, 0]] * 2


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"extensionsRequired": ["KHR_from_the_future"]}, "KHR_from_the_future"),
        ({"extensionsRequired": ["EXT_meshopt_compression"]}, "meshopt"),
        ({"textures": [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]}, "KTX2"),
        ({"asset": {"version": "1.0"}}, "version 2"),
        ({"nodes": [{"mesh": 0, "children": [0]}]}, "above itself"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path, change, word):
    writer = Writer()
    writer.document |= change
    primitive = {
        "attributes": {"POSITION": writer.accessor(SQUARE)}, "indices": writer.accessor(FACES),
        "material": 0,
    }  # fmt: skip
    base = {"baseColorTexture": {"index": 0}} if "textures" in change else {}
    writer.document["materials"] = [{"pbrMetallicRoughness": base}]
    with pytest.raises(DataFormatError, match=f"(?i){word}"):
        decode(writer.save(tmp_path / "a.gltf", primitive), name="a.gltf")


POINTS = "property float x\nproperty float y\nproperty float z\n"
LISTS = "property list uchar int vertex_indices\n"
BYTES = "property uchar red\nproperty uchar green\nproperty uchar blue\n"


def test_binary_plys_of_mixed_polygons(tmp_path):
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex 5\n{POINTS}element face 2\n{LISTS}"
    )
    body = struct.pack("<15f", 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 2, 0, 0)
    body += struct.pack("<B4i", 4, 0, 1, 2, 3) + struct.pack("<B3i", 3, 1, 4, 2)
    mesh = read(tmp_path, (head + "end_header\n").encode() + body, name="a.ply")
    assert (len(mesh.faces), area(mesh)) == (3, pytest.approx(1.5))


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_colors_of_polygons_in_plys(tmp_path, order):
    head = f"ply\nformat {order} 1.0\nelement vertex 5\n{POINTS}element face 2\n{LISTS}{BYTES}"
    rows = [((0, 1, 2, 3), (255, 0, 0)), ((1, 4, 2), (0, 0, 255))]
    points = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]]
    if order == "ascii":
        lines = [" ".join(map(str, p)) for p in points]
        lines += [" ".join(map(str, (len(p), *p, *color))) for p, color in rows]
        body = ("\n".join(lines) + "\n").encode()
    else:
        end = "<" if order == "binary_little_endian" else ">"
        body = struct.pack(f"{end}15f", *np.ravel(points))
        for p, color in rows:
            body += struct.pack(f"{end}B{len(p)}i3B", len(p), *p, *color)
    mesh = read(tmp_path, (head + "end_header\n").encode() + body, name="a.ply")
    assert sorted(mesh.face_colors.tolist()) == [[0, 0, 255], [255, 0, 0], [255, 0, 0]]
    assert area(mesh) == pytest.approx(1.5)


def test_wide_colors_in_plys_are_shares_of_their_range(tmp_path):
    wide = BYTES.replace("uchar", "ushort")
    head = f"ply\nformat ascii 1.0\nelement vertex 4\n{POINTS}{wide}element face 1\n{LISTS}"
    rows = "".join(f"{line[2:]} 65535 32768 0\n" for line in CORNERS.splitlines())
    mesh = read(tmp_path, f"{head}end_header\n{rows}4 0 1 2 3\n", name="a.ply")
    assert mesh.vertex_colors.tolist() == [[255, 128, 0]] * 4


@pytest.mark.parametrize("prefix", ["", "diffuse_"])
def test_colors_of_vertices_in_plys_by_either_name(tmp_path, prefix):
    bytes_ = BYTES.replace("uchar ", f"uchar {prefix}")
    head = f"ply\nformat ascii 1.0\nelement vertex 4\n{POINTS}{bytes_}element face 1\n{LISTS}"
    rows = "".join(f"{line[2:]} 255 128 0\n" for line in CORNERS.splitlines())
    mesh = read(tmp_path, f"{head}end_header\n{rows}4 0 1 2 3\n", name="a.ply")
    assert mesh.vertex_colors.tolist() == [[255, 128, 0]] * 4


def test_lists_strips_and_fans_side_by_side(tmp_path):
    writer = Writer()
    parts = []
    for number, (mode, order) in enumerate(((4, [0, 1, 2, 0, 2, 3]), (5, [0, 1, 3, 2]),
                                            (6, [0, 1, 2, 3]))):  # fmt: skip
        places = (SQUARE + np.array([3 * number, 0, 0])).astype("f4")
        parts.append({
            "attributes": {"POSITION": writer.accessor(places)}, "mode": mode,
            "indices": writer.accessor(np.array(order, "u1")),
        })  # fmt: skip
    path = writer.save(tmp_path / "a.gltf", parts[0])
    writer.document["meshes"][0]["primitives"] = parts
    path.write_text(json.dumps(writer.document))
    mesh = decode(path, name="a")
    assert len(mesh.faces) == 6 and area(mesh) == pytest.approx(12.0)


def test_sparse_positions_without_a_view_start_at_zero(tmp_path):
    writer = Writer()
    number = writer.accessor(SQUARE)
    entry = writer.document["accessors"][number]
    rows = writer.view(np.array([1, 2], "u4").tobytes())
    entry["sparse"] = {
        "count": 2, "indices": {"bufferView": rows, "componentType": 5125},
        "values": {"bufferView": entry.pop("bufferView"), "byteOffset": 12},
    }  # fmt: skip
    primitive = {
        "attributes": {"POSITION": number}, "indices": writer.accessor(np.array([0, 1, 2], "u1"))
    }  # fmt: skip
    mesh = decode(writer.save(tmp_path / "a.gltf", primitive), name="a")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, -1, 0], [1, 1, 0], [0, 0, 0]]


def test_a_class_may_be_called_like_a_split(tmp_path):
    for label in ("chair", "train"):
        for split in ("train", "test"):
            (tmp_path / label / split).mkdir(parents=True)
            (tmp_path / label / split / f"{label}_{split}.off").touch()
    found = {(entry.label, entry.object_id, entry.split) for entry in scan(tmp_path)}
    assert found == {
        (label, f"{label}_{name}", split)
        for label in ("chair", "train") for name, split in (("train", "train"), ("test", "val"))
    }  # fmt: skip


def test_scenes_in_folders_of_their_own(tmp_path):
    for uid, file in (("a", "scene.gltf"), ("b", "scene.glb")):
        (tmp_path / "chair" / uid).mkdir(parents=True)
        (tmp_path / "chair" / uid / file).touch()
    assert [entry.object_id for entry in scan(tmp_path)] == ["a", "b"]


def test_normals_around_a_vertex_of_thousands_of_faces():
    """A cone's tip: all its faces are one surface, whose mean is the axis."""
    count = 4000
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles), np.full(count, -0.2)], 1)
    rows = np.arange(count)
    faces = np.stack([0 * rows, 1 + rows, 1 + (rows + 1) % count], 1).astype(np.int32)
    flat = corner_normals(np.concatenate([np.zeros((1, 3)), ring * [1, 1, 0]]), faces)
    assert np.abs(flat - [0, 0, 1]).max() < 1e-6
    tip = corner_normals(np.concatenate([np.zeros((1, 3)), ring]), faces)[:, 0]
    assert np.abs(tip - [0, 0, 1]).max() < 2e-2
