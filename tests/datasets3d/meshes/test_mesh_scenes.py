"""Where glTF puts its meshes, and the text formats OFF and STL however they are written."""

import struct

import numpy as np
import pytest

from benchmarks.meshes.gltf_writer import FACES, SQUARE, Writer
from datasets3d.meshes import read_mesh
from datasets3d.meshes.decode import decode
from datasets3d.meshes.formats.mesh_warning import collected
from equivariant.errors import DataFormatError

IDENTITY = np.eye(4, dtype="f4").reshape(1, 16)


def square(writer, **attributes):
    places = {"POSITION": writer.accessor(SQUARE), **attributes}
    return {"attributes": places, "indices": writer.accessor(FACES)}


def extent(path):
    return np.ptp(decode(path, name=path.name).vertices, axis=0).round(6).tolist()


def test_instances_stand_where_they_are_put(tmp_path):
    writer = Writer()
    half = float(np.sqrt(0.5))
    attributes = {
        "TRANSLATION": writer.accessor(np.array([[0, 0, 0], [3, 0, 0]], "f4")),
        "ROTATION": writer.accessor(np.array([[0, 0, 0, 1], [0, half, 0, half]], "f4")),
        "SCALE": writer.accessor(np.array([[1, 1, 1], [1, 2, 1]], "f4")),
    }
    node = {"mesh": 0, "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}}}
    writer.document |= {"nodes": [node], "extensionsRequired": ["EXT_mesh_gpu_instancing"]}
    # the second is turned about y into the plane x = 3, and twice as high
    assert extent(writer.save(tmp_path / "a.gltf", square(writer))) == [4.0, 4.0, 2.0]


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_skins_are_shown_at_rest(tmp_path, kind):
    writer = Writer()
    full = 1.0 if kind == "f4" else np.iinfo(kind).max
    weights = np.array([[full, 0, 0, 0]] * 4).astype(kind)
    joints = np.array([[0] * 4, [0] * 4, [1, 0, 0, 0], [1, 0, 0, 0]], "u1")
    primitive = square(
        writer, JOINTS_0=writer.accessor(joints),
        WEIGHTS_0=writer.accessor(weights, normalized=kind != "f4"),
    )  # fmt: skip
    bind = writer.accessor(np.concatenate([IDENTITY, IDENTITY]))
    writer.document["accessors"][bind]["type"] = "MAT4"
    writer.document["skins"] = [{"joints": [1, 2], "inverseBindMatrices": bind}]
    # the node's own place counts for nothing: a skin is where its joints are
    nodes = [{"mesh": 0, "skin": 0, "translation": [9, 9, 9], "scale": [5, 5, 5]}, {},
             {"translation": [0, 2, 0]}]  # fmt: skip
    writer.document |= {"nodes": nodes, "scenes": [{"nodes": [0, 1, 2]}]}
    assert extent(writer.save(tmp_path / "a.gltf", primitive)) == [2.0, 4.0, 0.0]


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_morph_targets_are_shown_at_their_weights(tmp_path, weight):
    writer = Writer()
    primitive = square(writer)
    up = np.array([[0, 0, 0], [0, 0, 0], [0, 2, 0], [0, 2, 0]], "f4")
    primitive["targets"] = [{"POSITION": writer.accessor(up)}]
    writer.document["nodes"] = [{"mesh": 0, "weights": [weight]}]
    path = writer.save(tmp_path / "a.gltf", primitive)
    assert extent(path) == [2.0, 2.0 + 2 * weight, 0.0]


def test_matrices_go_from_parent_to_child(tmp_path):
    writer = Writer()
    half = float(np.sqrt(0.5))
    child = {"mesh": 0, "rotation": [0, 0, half, half], "scale": [1, 3, 1]}
    columns = np.diag([2.0, 1, 1, 1]).T.reshape(-1).tolist()
    writer.document["nodes"] = [{"matrix": columns, "children": [1]}, child]
    assert extent(writer.save(tmp_path / "a.gltf", square(writer))) == [12.0, 2.0, 0.0]


def test_only_the_default_scene_and_only_surfaces(tmp_path):
    writer = Writer()
    path = tmp_path / "a.gltf"
    writer.document |= {
        "nodes": [{"mesh": 0}, {"mesh": 0, "translation": [50, 0, 0]}],
        "scenes": [{"nodes": [1]}, {"nodes": [0]}], "scene": 1,
    }  # fmt: skip
    writer.save(path, square(writer) | {"mode": 4})
    lines = square(writer) | {"mode": 1}
    writer.save(path, square(writer))
    writer.document["meshes"][0]["primitives"].append(lines)
    import json  # noqa: PLC0415

    path.write_text(json.dumps(writer.document))
    with collected() as notes:
        assert extent(path) == [2.0, 2.0, 0.0]
    assert notes == ["lines and points are left out"]


QUAD = "0 0 0{0}\n2 0 0{0}\n2 1 0{0}\n0 1 0{0}\n"


@pytest.mark.parametrize(
    "text",
    [
        "OFF\n4 1 4\n" + QUAD.format("") + "4 0 1 2 3\n",
        "OFF 4 1 4 " + QUAD.format("").replace("\n", " ") + " 4 0 1 2 3",
        "OFF4 1\n" + QUAD.format("") + "4 0 1 2 3\n",
        "# made\nOFF # it\n# counts\n4 1 0\n\n" + QUAD.format(" # v") + "4  0 1 2 3 # f\n",
        "NOFF\n4 1 0\n" + QUAD.format(" 0 0 1") + "4 0 1 2 3\n",
        "STNOFF\n4 1 0\n" + QUAD.format(" 0 0 1 .5 .5") + "4 0 1 2 3\n",
        "OFF\r\n4 2 0\r\n" + QUAD.format("").replace("\n", "\r\n") + "3 0 1 2\r\n3 0 2 3\r\n",
    ],
)
def test_offs_however_they_are_written(tmp_path, text):
    (tmp_path / "a.off").write_text(text)
    mesh = decode(tmp_path / "a.off", name="a.off")
    assert len(mesh.faces) == 2 and np.ptp(mesh.vertices, axis=0).tolist() == [2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("COFF\n4 1 0\n" + QUAD.format(" 255 128 0 255") + "4 0 1 2 3\n", "vertex"),
        ("COFF\n4 1 0\n" + QUAD.format(" 1.0 0.5 0.0 1.0") + "4 0 1 2 3\n", "vertex"),
        ("COFF 4 1 0 " + QUAD.format(" 255 128 0 255").replace("\n", " ") + "4 0 1 2 3", "vertex"),
        ("OFF\n4 1 0\n" + QUAD.format(" 255 128 0") + "4 0 1 2 3\n", "vertex"),
        ("STCOFF\n4 1 0\n" + QUAD.format(" 255 128 0 255 .5 .5") + "4 0 1 2 3\n", "vertex"),
        ("OFF\n4 1 0\n" + QUAD.format("") + "4 0 1 2 3 255 128 0\n", "face"),
        ("OFF\n4 1 0\n" + QUAD.format("") + "4 0 1 2 3 1.0 0.5 0.0 1.0\n", "face"),
    ],
)
def test_colors_of_offs(tmp_path, text, color):
    (tmp_path / "a.off").write_text(text)
    mesh = decode(tmp_path / "a.off", name="a.off")
    found = mesh.vertex_colors if color == "vertex" else mesh.face_colors
    assert {tuple(c) for c in found.tolist()} == {(255, 128, 0)}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("4OFF\n1 0 0\n0 0 0 1\n", "4OFF"), ("OFF BINARY\n", "BINARY"), ("nOFF\n2\n", "nOFF"),
        ("OFF\n4 1 0\n0 0 0\n", "4 vertices"), ("OFF\n", "numbers of vertices"),
        ("OFF 3 1 0 0 0 0 1 0 0 0 1 0 3 0 1", "last face"),
        ("OFF 3 1 0 0 0 0 1 0 0 0 1 0 3 0 1 2 9", "after the last face"),
        ("OFF 3 1 0 0 0 0 1 0 0 0 1 0 3 0 1 7", "not there"),
    ],
)  # fmt: skip
def test_offs_that_are_refused(tmp_path, text, word):
    (tmp_path / "a.off").write_text(text)
    with pytest.raises(DataFormatError, match=word):
        decode(tmp_path / "a.off", name="a.off")


FACET = (
    "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
)
STL = f"solid a facet b\n{FACET}{FACET.replace('1 0 0', '1 1 0')}endsolid a\n"


@pytest.mark.parametrize(
    "text", [STL, STL.upper(), STL.title(), STL.replace("\n", "\r\n"), "\n  " + STL, STL + STL]
)
def test_stls_however_they_are_written(tmp_path, text):
    (tmp_path / "a.stl").write_bytes(text.encode())
    count = 4 if text == STL + STL else 2
    assert len(decode(tmp_path / "a.stl", name="a.stl").faces) == count


def test_an_stl_of_bytes_may_call_itself_solid_and_have_colors(tmp_path):
    corners = struct.pack("<12f", 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0)
    for header, attribute, count in ((b"solid", 0, 0), (b"COLOR=abcd", 0, 1), (b"", 0x83FF, 1)):
        data = header.ljust(80) + struct.pack("<I", 1) + corners + struct.pack("<H", attribute)
        (tmp_path / "a.stl").write_bytes(data)
        with collected() as notes:
            assert len(decode(tmp_path / "a.stl", name="a.stl").faces) == 1
        assert len(notes) == count


@pytest.mark.parametrize("cut", [FACET.rindex("vertex"), FACET.rindex(" 0\nendloop"), 20])
def test_stls_that_end_too_early(tmp_path, cut):
    (tmp_path / "a.stl").write_text(f"solid a\n{FACET}{FACET[:cut]}")
    with pytest.raises(DataFormatError):
        decode(tmp_path / "a.stl", name="a.stl")


def test_a_glb_of_version_1_is_refused_as_such(tmp_path):
    body = b'{"asset": {"version": "1.0"}}   '
    head = struct.pack("<4s4I", b"glTF", 1, 20 + len(body), len(body), 0)
    (tmp_path / "a.glb").write_bytes(head + body)
    with pytest.raises(DataFormatError, match="GLB 1; version 2 is read"):
        read_mesh(tmp_path / "a.glb")
