"""What alpha leaves of a surface: mask, blending, and holes beside other textures."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.meshes.gltf_writer import FACES, SQUARE, UV, Writer
from datasets3d import PointClouds
from datasets3d.clouds.surface_points import mesh_places
from datasets3d.meshes import MeshFolder, read_mesh
from datasets3d.meshes.formats.mesh_warning import collected
from datasets3d.meshes.surfaces.pictures import TEXTURE_PX, averaged_down, solidity, texels
from datasets3d.scenes.scene_meshes import SceneOfObjects
from equivariant.errors import DataFormatError
from renderers import Mesh, Scene
from renderers.embree import EmbreeRenderer
from renderers.rays.cutouts import solid_at

PARTLY = "partial transparency is ignored"


def picture(alphas, color=(10, 200, 30)):
    """One row of texels of one color."""
    row = np.array([[[*color, alpha] for alpha in alphas]], np.uint8)
    return np.repeat(row, len(alphas), 0)


def saved(tmp_path, alphas, name="a.gltf", *, factor=1.0, attributes=None, **material):
    writer = Writer()
    base = {"baseColorFactor": [1, 1, 1, factor]}
    if alphas is not None:
        base["baseColorTexture"] = {"index": writer.picture(picture(alphas))}
    primitive = {
        "attributes": {
            "POSITION": writer.accessor(SQUARE.astype("f4")),
            "TEXCOORD_0": writer.accessor(UV.astype("f4")),
        },
        "indices": writer.accessor(FACES),
        "material": writer.add(materials={"pbrMetallicRoughness": base, **material}),
    }  # fmt: skip
    return writer.save(tmp_path / name, primitive)


def read(path):
    with collected() as notes:
        return read_mesh(path), notes


def there(mesh, u):
    """Whether the mesh is there at some u, halfway up."""
    x = np.interp(u, [0, 1], [mesh.vertices[:, 0].min(), mesh.vertices[:, 0].max()])
    flat = mesh.vertices[:, [0, 2]] if np.ptp(mesh.vertices[:, 1]) < 1e-6 else mesh.vertices[:, :2]
    middle = flat[:, 1].mean() + 1e-4
    for face, corners in enumerate(flat[mesh.faces]):
        system = np.concatenate([corners.T, np.ones((1, 3))])
        weights = np.linalg.solve(system, [x, middle, 1.0])
        if (weights >= 0.0).all():
            return bool(solid_at(mesh, np.array([face]), weights[None])[0])
    raise AssertionError(u)


def rim(alphas, cutoff):
    """Places along u, and which of them linear interpolation of the alphas calls solid."""
    width = len(alphas)
    places = np.linspace(0.5 / width, 1 - 0.5 / width, 41)
    level = np.interp(places * width - 0.5, np.arange(width), alphas)
    return places[np.abs(level - cutoff) > 3], (level >= cutoff)[np.abs(level - cutoff) > 3]


@pytest.mark.parametrize("cutoff", [0.2, None, 0.9])
@pytest.mark.parametrize("alphas", [(0, 255, 255, 0), (30, 90, 160, 250), (255, 0, 100, 255)])
def test_a_mask_is_cut_at_its_cutoff(tmp_path, alphas, cutoff):
    asked = {} if cutoff is None else {"alphaCutoff": cutoff}
    mesh, notes = read(saved(tmp_path, alphas, alphaMode="MASK", **asked))
    assert notes == []
    places, solid = rim(alphas, 255 * (0.5 if cutoff is None else cutoff))
    assert [there(mesh, u) for u in places] == solid.tolist()
    if alphas[0] == 30:
        places, solid = rim(alphas, 255 * (0.5 if cutoff is None else cutoff) * 0.7)
        assert [there(mesh, u) for u in places] != solid.tolist(), "another rim"


def test_the_materials_opacity_multiplies_the_pictures(tmp_path):
    alphas = (30, 90, 160, 250)
    mesh, notes = read(saved(tmp_path, alphas, factor=0.8, alphaMode="MASK"))
    places, solid = rim(alphas, 255 * 0.5 / 0.8)
    assert notes == []
    assert [there(mesh, u) for u in places] == solid.tolist()


@pytest.mark.parametrize(
    ("alphas", "factor", "material", "notes"),
    [
        ((0, 255, 0, 255), 1.0, {}, []),
        ((0, 255, 0, 255), 1.0, {"alphaMode": "MASK", "alphaCutoff": 0.0}, []),
        ((255, 255), 1.0, {"alphaMode": "MASK"}, []),
        ((200, 201), 1.0, {"alphaMode": "MASK"}, []),
        ((200, 201), 1.0, {"alphaMode": "BLEND"}, [PARTLY]),
        ((255, 255), 0.4, {"alphaMode": "BLEND"}, [PARTLY]),
        (None, 0.6, {"alphaMode": "MASK"}, []),
    ],
)
def test_what_has_no_holes(tmp_path, alphas, factor, material, notes):
    mesh, said = read(saved(tmp_path, alphas, factor=factor, **material))
    assert mesh.texture_cutout is None
    assert said == notes


@pytest.mark.parametrize(("alphas", "notes"), [((0, 255, 255, 0), []), ((0, 255, 90, 0), [PARTLY])])
def test_what_blends_is_cut_where_nothing_is_seen(tmp_path, alphas, notes):
    mesh, said = read(saved(tmp_path, alphas, alphaMode="BLEND"))
    assert said == notes
    assert [there(mesh, u) for u in (0.2, 0.3, 0.5, 0.7, 0.8)] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("alphas", "factor", "material"),
    [
        (None, 0.4, {"alphaMode": "MASK"}),
        (None, 0.0, {"alphaMode": "BLEND"}),
        ((255, 255), 0.4, {"alphaMode": "MASK"}),
        ((255, 255), 1.0, {"alphaMode": "MASK", "alphaCutoff": 1.01}),
        ((255, 255), 0.0, {"alphaMode": "MASK"}),
    ],
)
def test_a_surface_that_cannot_be_seen_is_left_out(tmp_path, alphas, factor, material):
    path = saved(tmp_path, alphas, factor=factor, **material)
    with pytest.raises(DataFormatError, match="an invisible surface is left out"):
        read_mesh(path)
    document = json.loads(path.read_text())
    del document["meshes"][0]["primitives"][0]["material"]
    document["meshes"].append(
        {"primitives": [{**document["meshes"][0]["primitives"][0], "material": 0}]}
    )
    document["nodes"].append({"mesh": 1, "translation": [9, 0, 0]})
    document["scenes"][0]["nodes"].append(len(document["nodes"]) - 1)
    path.write_text(json.dumps(document))
    mesh, notes = read(path)
    assert len(mesh.faces) == 2
    assert notes == ["an invisible surface is left out"]


@pytest.mark.parametrize("cutoff", ["half", None, [0.5], True])
def test_a_cutoff_that_is_no_number_is_refused(tmp_path, cutoff):
    path = saved(tmp_path, (0, 255), alphaMode="MASK", alphaCutoff=cutoff)
    with pytest.raises(DataFormatError, match=r"alphaCutoff .* that is not a number"):
        read_mesh(path)


def test_holes_beside_another_texture(tmp_path):
    """An atlas of two, one of which has none; and the same as objects of one scene."""
    whole, cut = (0, 255, 0, 255), (0, 255, 255, 0)
    writer = Writer()
    primitives = []
    for number, (alphas, mode) in enumerate([(whole, "OPAQUE"), (cut, "MASK")]):
        base = {"baseColorTexture": {"index": writer.picture(picture(alphas, (40 * number, 9, 9)))}}
        material = writer.add(materials={"pbrMetallicRoughness": base, "alphaMode": mode})
        primitives.append({
            "attributes": {
                "POSITION": writer.accessor((SQUARE + np.array([3 * number, 0, 0])).astype("f4")),
                "TEXCOORD_0": writer.accessor(UV.astype("f4")),
            },
            "indices": writer.accessor(FACES), "material": material,
        })  # fmt: skip
    path = writer.save(tmp_path / "a.gltf", primitives[0])
    writer.document["meshes"][0]["primitives"].append(primitives[1])
    path.write_text(json.dumps(writer.document))
    mesh, notes = read(path)
    assert notes == []
    assert mesh.texture_tiles is not None
    wide = np.ptp(SQUARE[:, 0]) + 3
    share = np.ptp(SQUARE[:, 0]) / wide
    assert all(there(mesh, share * u) for u in (0.1, 0.5, 0.9))
    second = [there(mesh, 1 - share * (1 - u)) for u in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert second == [False, True, True, True, False]
    scene = SceneOfObjects.of(("a/1", "a/2"), [mesh, mesh], []).mesh
    assert len(scene.texture_tiles) == 4
    for first in (0, 4):
        own = slice(first, first + 4)
        part = Mesh(
            scene.vertices, scene.faces[own], scene.corner_normals[own],
            texture=scene.texture, corner_uv=scene.corner_uv[own],
            texture_cutout=scene.texture_cutout,
        )  # fmt: skip
        second = [there(part, 1 - share * (1 - u)) for u in (0.1, 0.3, 0.5, 0.7, 0.9)]
        assert second == [False, True, True, True, False]


def test_tiles_of_a_scenes_object_are_averaged_alone(tmp_path):
    """A red and a blue square seen from afar do not bleed into each other."""
    corners = SQUARE[:, [0, 1, 2]].astype(float)
    texture = np.zeros((8, 16, 3), np.uint8)
    texture[:, :8], texture[:, 8:] = (255, 0, 0), (0, 0, 255)
    square = FACES.reshape(-1, 3)
    faces = np.concatenate([square, square + 4]).astype(np.int32)
    vertices = np.concatenate([corners, corners + np.array([3.0, 0, 0])])
    uv = np.concatenate([UV[square] * [0.5, 1], UV[square] * [0.5, 1] + [0.5, 0]])
    up = np.tile(np.float32([0, 0, 1]), (4, 3, 1))
    tiles = np.array([[0, 0, 8, 8], [8, 0, 8, 8]], np.int32)
    mesh = Mesh(
        vertices, faces, up, texture=texture, corner_uv=uv.astype(np.float32), texture_tiles=tiles
    )
    scene = SceneOfObjects.of(("a/1", "a/2"), [mesh, mesh], []).mesh
    assert len(scene.texture_tiles) == 4
    image = EmbreeRenderer().render(Scene(scene, scale=0.02, floor=None, spot=None), 64)
    seen = image.rgb[image.mask].astype(int)
    assert len(seen)
    assert (np.minimum(seen[:, 0], seen[:, 2]) <= 8).all()


def test_a_large_picture_keeps_its_rim_and_its_colors():
    side = 2 * TEXTURE_PX
    pixels = np.zeros((4, side, 4), np.uint8)  # black where nothing is seen, as exporters write it
    pixels[:, : side // 2 + 1] = (200, 100, 50, 255)
    found, _ = texels(Image.fromarray(pixels), cutoff=127.5)
    assert found.shape == (2, TEXTURE_PX, 4)
    assert (np.abs(found[..., :3].astype(int) - (200, 100, 50)) <= 1).all()
    assert (found[:, : TEXTURE_PX // 2, 3] == 255).all()
    assert (found[:, TEXTURE_PX // 2 + 1 :, 3] == 0).all()
    plain = averaged_down(pixels[..., :3], 0.5)
    assert plain.min() == 0, "without weights the rim would be dark"


@pytest.mark.parametrize("cutoff", [1.5, 40.0, 127.5, 200.3, 255.0])
def test_solidity_keeps_the_order_about_the_cutoff(cutoff):
    alpha = np.arange(256, dtype=np.uint8)
    found = solidity(alpha, cutoff)
    assert ((found >= 127.5) == (alpha >= cutoff)).all()
    assert (np.diff(found.astype(int)) >= 0).all()


def test_points_avoid_holes(tmp_path):
    folder = tmp_path / "meshes" / "leaf"
    folder.mkdir(parents=True)
    path = saved(folder, (0, 255, 255, 0), alphaMode="MASK")
    mesh, _ = read(path)
    faces, weights = mesh_places(mesh, 400, generator=np.random.default_rng(0))
    assert solid_at(mesh, faces, weights).all()
    x = np.einsum("nk,nki->ni", weights, mesh.vertices[mesh.faces[faces]])[:, 0]
    side = np.ptp(mesh.vertices[:, 0])
    assert np.abs(x).max() <= side / 4 + 1e-6
    assert abs(np.abs(x).mean() - side / 8) < 0.02 * side, "uniform over what is there"
    cloud = PointClouds(MeshFolder(tmp_path / "meshes"), points=300, split="all").clouds[0]
    spans = np.sort(np.ptp(cloud.numpy(), axis=0))
    assert abs(spans[1] / spans[2] - 0.5) < 0.05
    nothing = Mesh(
        mesh.vertices, mesh.faces, mesh.corner_normals, texture=mesh.texture,
        corner_uv=mesh.corner_uv, texture_cutout=np.zeros_like(mesh.texture_cutout),
    )  # fmt: skip
    with pytest.raises(DataFormatError, match="holes"):
        mesh_places(nothing, 5, generator=np.random.default_rng(0))
    saved(folder, (0, 0), name="gone.gltf", alphaMode="MASK")
    with pytest.raises(DataFormatError, match=r"leaf/gone\.gltf.*holes"):
        _ = PointClouds(MeshFolder(tmp_path / "meshes"), points=5, split="all").clouds


@pytest.mark.parametrize("mode", ["HASHED", "mask", 3])
def test_a_mode_that_is_not_known_is_named(tmp_path, mode):
    mesh, notes = read(saved(tmp_path, (0, 255), alphaMode=mode))
    assert mesh.texture_cutout is None
    assert notes == [f"an alphaMode {mode!r}, which is not known: shown as opaque"]


@pytest.mark.parametrize("shape", [(1, 7), (5, 3), (64, 33), (300, 200)])
def test_what_is_not_seen_takes_colors_of_what_is(shape):
    generator = np.random.default_rng(0)
    pixels = np.zeros((*shape, 4), np.uint8)
    seen = generator.random(shape) < 0.1
    seen[0, 0] = True
    pixels[seen] = [200, 100, 50, 255]
    pixels[-1, -1] = [100, 200, 50, 255]
    found, _ = texels(Image.fromarray(pixels), cutoff=127.5)
    assert (found[seen, :3] == pixels[seen, :3]).all()
    low, high = found[..., :3].min((0, 1)), found[..., :3].max((0, 1))
    assert (low >= [100, 100, 49]).all()
    assert (high <= [200, 200, 51]).all(), "nothing of the black that was stored there"
    assert ((found[..., 3] >= 128) == (pixels[..., 3] > 0)).all()
