"""Pictures of meshes with several textures, ones that do not repeat, and tints; from the front."""

import numpy as np
import pytest
from PIL import Image

import renderers
from benchmarks.meshes.gltf_writer import FACES, SQUARE, UV, Writer
from datasets3d.meshes import read_mesh
from datasets3d.meshes.formats.mesh_warning import collected
from datasets3d.meshes.surfaces.atlas import TEXELS, Patch, atlas
from datasets3d.meshes.surfaces.pieces import SurfacePiece, join, sample
from renderers.scene import Ambient, Camera, Scene

QUARTERS = np.zeros((64, 64, 3), np.uint8)
QUARTERS[:32, :32], QUARTERS[:32, 32:] = (255, 0, 0), (0, 255, 0)
QUARTERS[32:, :32], QUARTERS[32:, 32:] = (0, 0, 255), (255, 255, 0)
HALVES = np.zeros((8, 8, 3), np.uint8)
HALVES[:, :4], HALVES[:, 4:] = (255, 0, 0), (0, 0, 255)
WRAPS = {"repeat": 10497, "clamp": 33071, "mirror": 33648}


def shown(path, places=((0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8))):
    """Colors of the object's box in the picture, (right, down) in its share."""
    mesh = read_mesh(path, up="z")
    scene = Scene(
        mesh=mesh, camera=Camera(position=(0.0, -0.001, 2.5)), floor=None, spot=None,
        ambient=Ambient(level=1.0, sky=0.0),
    )  # fmt: skip
    picture = renderers.get("embree").render(scene, 96)
    rows, columns = np.nonzero(picture.mask)
    left, top = columns.min(), rows.min()
    wide, high = np.ptp(columns), np.ptp(rows)
    return [
        tuple(picture.rgb[int(top + down * high), int(left + right * wide)].tolist())
        for right, down in places
    ]


def plane(writer, uv, pixels, *, wrap=None, at=(0, 0, 0), **attributes):
    """A textured square; names of wrapping, sideways and down."""
    texture = writer.picture(pixels)
    if wrap:
        sampler = writer.add(samplers={"wrapS": WRAPS[wrap[0]], "wrapT": WRAPS[wrap[1]]})
        writer.document["textures"][texture]["sampler"] = sampler
    base = {"baseColorTexture": {"index": texture}}
    return {
        "attributes": {
            "POSITION": writer.accessor((SQUARE + np.array(at, "f4")).astype("f4")),
            "TEXCOORD_0": writer.accessor(uv.astype("f4")), **attributes,
        },
        "indices": writer.accessor(FACES),
        "material": writer.add(materials={"pbrMetallicRoughness": base}),
    }  # fmt: skip


ROW = [(x, 0.5) for x in (0.06, 0.19, 0.31, 0.44, 0.56, 0.69, 0.81, 0.94)]
RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [  # u goes from -1 to 3; the texture is red, then blue
        ("repeat", [RED, BLUE] * 4),
        ("clamp", [RED] * 3 + [BLUE] * 5),
        ("mirror", [BLUE, RED, RED, BLUE, BLUE, RED, RED, BLUE]),
    ],
)
def test_wrapping_to_the_sides(tmp_path, wrap, expected):
    writer = Writer()
    uv = UV * [4, 1] - [1, 0]
    path = writer.save(tmp_path / "a.gltf", plane(writer, uv, HALVES, wrap=(wrap, "repeat")))
    assert shown(path, ROW) == expected


@pytest.mark.parametrize(("wrap", "expected"), [("clamp", [RED, BLUE]), ("mirror", [BLUE, RED])])
def test_wrapping_up_and_down(tmp_path, wrap, expected):
    writer = Writer()
    pixels = np.ascontiguousarray(HALVES.transpose(1, 0, 2))
    uv = UV * [1, 3] - [0, 1]
    path = writer.save(tmp_path / "a.gltf", plane(writer, uv, pixels, wrap=("repeat", wrap)))
    assert shown(path, [(0.5, 0.1), (0.5, 0.9)]) == expected


def test_two_textures_are_both_shown(tmp_path):
    writer = Writer()
    first = plane(writer, UV, QUARTERS)
    second = plane(writer, UV * 2, np.ascontiguousarray(QUARTERS[::-1, ::-1]), at=(2, 0, 0))
    writer.save(tmp_path / "a.gltf", first)
    writer.document["meshes"][0]["primitives"].append(second)
    path = _again(writer, tmp_path / "a.gltf")
    places = [(0.1, 0.2), (0.4, 0.2), (0.1, 0.8), (0.4, 0.8), (0.56, 0.12), (0.69, 0.12)]
    left = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    assert shown(path, places) == [*left, (255, 255, 0), (0, 0, 255)]


def _again(writer, path):
    import json  # noqa: PLC0415

    path.write_text(json.dumps(writer.document))
    return path


def test_colors_of_vertices_multiply_a_texture(tmp_path):
    writer = Writer()
    color = writer.accessor(np.array([[1, 0, 0]] * 4, "f4"))
    path = writer.save(tmp_path / "a.gltf", plane(writer, UV, QUARTERS, COLOR_0=color))
    assert shown(path) == [(255, 0, 0), (0, 0, 0), (0, 0, 0), (255, 0, 0)]


def test_colors_of_vertices_go_over_a_textured_face_in_linear_light(tmp_path):
    writer = Writer()
    color = writer.accessor(np.array([[0] * 3, [1] * 3, [1] * 3, [0] * 3], "f4"))
    white = np.full((2, 2, 3), 255, np.uint8)
    path = writer.save(tmp_path / "a.gltf", plane(writer, UV, white, COLOR_0=color))
    (middle,) = shown(path, [(0.5, 0.5)])
    assert abs(middle[0] - 188) <= 3


def test_a_piece_with_colors_of_vertices_beside_a_textured_one(tmp_path):
    writer = Writer()
    textured = plane(writer, UV, QUARTERS)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 255, 0], [255, 0, 0]], "u1")
    bare = {
        "attributes": {
            "POSITION": writer.accessor((SQUARE + np.array([2, 0, 0], "f4")).astype("f4")),
            "COLOR_0": writer.accessor(np.pad(colors, ((0, 0), (0, 1))), normalized=True),
        },
        "indices": writer.accessor(FACES),
    }  # fmt: skip
    writer.save(tmp_path / "a.gltf", textured)
    writer.document["meshes"][0]["primitives"].append(bare)
    got = shown(_again(writer, tmp_path / "a.gltf"), [(0.1, 0.2), (0.55, 0.5), (0.95, 0.5)])
    assert got[0] == (255, 0, 0)
    assert got[1][0] > 230 and got[1][1] < 110 and got[2][1] > 230 and got[2][0] < 110


def test_atlas_shows_what_sampling_the_textures_shows():
    generator = np.random.default_rng(0)
    patches = []
    for wrap in (("repeat", "clamp"), ("mirror", "repeat"), ("clamp", "mirror")):
        image = generator.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        patches.append(Patch(image, generator.uniform(-2, 3, (40, 3, 2)), wrap))
    picture, places, _ = atlas(patches)
    for patch, uv in zip(patches, places, strict=True):
        inside = generator.dirichlet(np.ones(3), 40)
        want = sample(patch.image, np.einsum("fk,fki->fi", inside, patch.uv), patch.wrap)
        got = sample(picture, np.einsum("fk,fki->fi", inside, uv.astype(np.float64)))
        assert np.mean(np.all(want == got, axis=1)) > 0.97  # texels' rims, in single precision


def test_large_textures_share_the_room_of_an_atlas():
    image = np.full((1024, 1024, 3), 7, np.uint8)
    corners = np.array([[[0.0, 0], [1, 0], [0, 1]]])
    picture, _, _ = atlas([Patch(image, corners) for _ in range(9)])
    assert 0.5 * TEXELS < picture.shape[0] * picture.shape[1] < 1.4 * TEXELS


def test_a_texture_that_goes_on_without_end_gives_colors_of_faces():
    image, points = np.full((4, 4, 3), 9, np.uint8), np.eye(3)
    face = np.array([[0, 1, 2]], np.int32)
    uv = np.array([[0, 0], [5000, 0], [0, 5000]], np.float32)
    notes = []
    mesh = join(
        [
            SurfacePiece(points, face, image=image, image_key="a", uv=uv),
            SurfacePiece(points, face, image=image + 1, image_key="b", uv=uv / 5000),
        ],
        notes,
    )
    assert len(notes) == 1 and mesh.face_textured.tolist() == [False, True]
    assert mesh.face_colors[0].tolist() == [9, 9, 9]


@pytest.mark.parametrize(("mode", "value"), [("uint16", 32768), ("uint16", 65535), ("uint8", 128)])
def test_greys_of_any_depth(tmp_path, mode, value):
    Image.fromarray(np.full((4, 4), value, mode)).save(tmp_path / "grey.png")
    writer = Writer()
    primitive = plane(writer, UV, QUARTERS)
    writer.document["images"] = [{"uri": "grey.png"}]
    (tmp_path / "a.gltf").write_text("")
    level = round(value / np.iinfo(mode).max * 255)
    assert set(shown(writer.save(tmp_path / "a.gltf", primitive))) == {(level,) * 3}


def test_textures_of_objs_may_be_clamped(tmp_path):
    Image.fromarray(HALVES).save(tmp_path / "t.png")
    (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd -clamp on t.png\n")
    corners = "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt -1 0\nvt 3 0\nvt 3 1\nvt -1 1\n"
    text = f"mtllib a.mtl\n{corners}usemtl m\nf 1/1 2/2 3/3 4/4\n"
    (tmp_path / "a.obj").write_text(text)
    assert shown(tmp_path / "a.obj", ROW) == [RED] * 3 + [BLUE] * 5


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"alphaMode": "BLEND"}, "partial transparency is ignored"),
        ({"alphaMode": "MASK", "alphaCutoff": 0.02}, None),
        ({"emissiveFactor": [1, 1, 0]}, "emitted light is ignored"),
        ({}, None),
    ],
)
def test_what_a_material_asks_for(tmp_path, change, note):
    writer = Writer()
    pixels = np.concatenate([QUARTERS, np.full((64, 64, 1), 7, np.uint8)], 2)
    primitive = plane(writer, UV, pixels)
    writer.document["materials"][0] |= change
    path = writer.save(tmp_path / "a.gltf", primitive)
    with collected() as notes:
        read_mesh(path)
    assert notes == ([note] if note else [])


def test_a_missing_picture_of_a_gltf_is_said(tmp_path):
    writer = Writer()
    primitive = plane(writer, UV, QUARTERS)
    writer.document["images"] = [{"uri": "no%20such.png"}]
    path = writer.save(tmp_path / "a.gltf", primitive)
    with collected() as notes:
        read_mesh(path)
    assert notes == ["texture 'no%20such.png' was not found: the material's color is shown"]


HALF_PLACED = """mtllib a.mtl
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
v 1 0 0
v 1 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vn 0 0 1
usemtl m
{bare}
f 5/1/1 2/2/1 3/3/1 6/4/1
usemtl plain
"""


@pytest.mark.parametrize("bare", ["f 1 5 6 4", "f 1//1 5//1 6//1 4//1", "f 1/1/1 5/2/1 6//1 4//1"])
def test_faces_of_an_obj_without_texture_coordinates_beside_others(tmp_path, bare):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, :4], picture[:, 4:] = (250, 0, 0), (0, 0, 250)
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "a.mtl").write_text("newmtl plain\nKd 0 1 0\nnewmtl m\nmap_Kd a.png\n")
    (tmp_path / "a.obj").write_text(HALF_PLACED.format(bare=bare))
    with collected() as notes:
        left, red, blue = shown(tmp_path / "a.obj", ((0.25, 0.5), (0.6, 0.5), (0.9, 0.5)))
    assert left == (125, 0, 125)  # the texture's mean, as where no face has coordinates
    assert red == (250, 0, 0) and blue == (0, 0, 250)
    assert notes == ["a texture without coordinates: its mean color is shown"]


def test_faces_keep_their_order_where_no_texture_is_at_stake(tmp_path):
    (tmp_path / "a.mtl").write_text("newmtl m\nKd 0 1 0\nnewmtl plain\n")
    (tmp_path / "a.obj").write_text(HALF_PLACED.format(bare="f 1 5 6 4"))
    assert read_mesh(tmp_path / "a.obj", up="z").faces[0].tolist() == [0, 4, 5]
