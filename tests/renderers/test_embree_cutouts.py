"""Holes that a texture cuts, against surfaces that are cut in fact and against a plain formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from handmade import box, flat_normals
from scipy.spatial.transform import Rotation

from renderers import Ambient, Camera, Mesh, RendererError, Scene
from renderers.embree import EmbreeRenderer
from renderers.rays import cutouts
from renderers.rays.cutouts import LAYERS, Tracer, solid_at
from renderers.refusals import refuse_holes
from renderers.sight import Sight

SQUARE = np.array([[-0.4, -0.4, 0], [0.4, -0.4, 0], [0.4, 0.4, 0], [-0.4, 0.4, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
BAND = np.array([[0, 255, 255, 0]], np.uint8)  # bilinear: there for u in [1/4, 3/4]
TURNS = Rotation.from_quat(np.random.default_rng(3).normal(size=(6, 4))).as_matrix()


def raised(height: float) -> np.ndarray:
    return SQUARE + np.array([0.0, 0.0, height])


def over_a_box(width: float, **looks: object) -> Mesh:
    """A sheet of some width over a box; vertices at the corners of the whole square."""
    below = box((0.5, 0.5, 0.2))
    sheet = SQUARE * [width, 1, 1] + [0, 0, 0.35]
    vertices = np.concatenate([below.vertices, sheet, raised(0.35)])
    faces = np.concatenate([below.faces, FACES + len(below.vertices)]).astype(np.int32)
    colors = np.tile(np.array([[200, 60, 60]], np.uint8), (len(faces), 1))
    normals = flat_normals(vertices, faces)
    return Mesh(vertices, faces, normals, face_colors=colors, **looks)


def with_holes(cutout: np.ndarray) -> Mesh:
    textured = np.arange(14) >= 12
    uv = np.zeros((14, 3, 2), np.float32)
    uv[12:] = (SQUARE[FACES][..., :2] / 0.8 + 0.5).astype(np.float32)
    texture = np.full((*cutout.shape, 3), (60, 200, 60), np.uint8)
    return over_a_box(
        1.0, texture=texture, corner_uv=uv, face_textured=textured, texture_cutout=cutout
    )


def cut_in_fact() -> Mesh:
    mesh = over_a_box(0.5)
    mesh.face_colors[12:] = (60, 200, 60)
    return mesh


@pytest.mark.parametrize("turn", range(len(TURNS)))
def test_pictures_and_passes_are_those_of_a_surface_that_is_cut(turn):
    renderer = EmbreeRenderer()
    found, wanted = (
        renderer.render(Scene(mesh, TURNS[turn]), 96) for mesh in (with_holes(BAND), cut_in_fact())
    )
    same = np.minimum(found.faces, 12) == np.minimum(wanted.faces, 12)
    for unlike in (found.mask != wanted.mask, found.shadow != wanted.shadow, ~same):
        assert unlike.mean() < 2e-3
    assert np.allclose(found.depth[same], wanted.depth[same], atol=2e-5)
    assert np.allclose(found.normals[same], wanted.normals[same], atol=2e-5)
    assert (np.abs(found.rgb.astype(int) - wanted.rgb).max(2) > 8).mean() < 4e-3
    alone = [
        renderer.render_rgba(Scene(m, TURNS[turn]), 96) for m in (with_holes(BAND), cut_in_fact())
    ]
    assert (np.abs(alone[0].astype(int) - alone[1]).max(2) > 24).mean() < 4e-3


def test_rays_that_stop_at_holes_would_be_found_out(monkeypatch):
    monkeypatch.setattr(cutouts, "holes_of", lambda mesh: None)
    found, wanted = (
        EmbreeRenderer().render(Scene(mesh, TURNS[0]), 96)
        for mesh in (with_holes(BAND), cut_in_fact())
    )
    assert (found.mask != wanted.mask).mean() > 2e-3 or (found.faces != wanted.faces).mean() > 2e-3
    assert (found.shadow != wanted.shadow).mean() > 2e-3


def sheet(cutout: np.ndarray) -> Mesh:
    uv = (SQUARE[FACES][..., :2] / 0.8 + 0.5).astype(np.float32)
    texture = np.full((*cutout.shape, 3), 200, np.uint8)
    normals = flat_normals(SQUARE, FACES)
    return Mesh(SQUARE, FACES, normals, texture=texture, corner_uv=uv, texture_cutout=cutout)


def bilinear(cutout: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Sum over all texels of a hat function, repeated."""
    height, width = cutout.shape
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5

    def hats(place: np.ndarray, middles: np.ndarray, period: int) -> np.ndarray:
        apart = np.abs((place[..., None] - middles + period / 2) % period - period / 2)
        return np.maximum(1.0 - apart, 0.0)

    along, down = hats(u * width, columns, width), hats((1.0 - v) * height, rows, height)
    return np.einsum("...h,...w,hw->...", down, along, cutout.astype(float))


def test_the_rim_is_where_the_bilinear_mean_says():
    cutout = np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.uint8)
    camera = Camera(position=(0.0, 0.0, 2.0), up=(0.0, 1.0, 0.0), field_of_view_rad=0.5)
    scene = Scene(sheet(cutout), camera=camera, floor=None, spot=None, ambient=Ambient(1.0, 0.0))
    size = 200
    mask = EmbreeRenderer().render(scene, size).mask
    steps = ((np.arange(size) + 0.5) / size * 2 - 1) * math.tan(0.25) * 2.0
    x, y = np.broadcast_arrays(steps[None, :], -steps[:, None])
    inside = (np.abs(x) < 0.4) & (np.abs(y) < 0.4)
    level = bilinear(cutout, x / 0.8 + 0.5, y / 0.8 + 0.5)
    sure = np.abs(level - 127.5) > 0.05
    assert (mask == (inside & (level >= 127.5)))[sure].all()
    column = np.floor((x / 0.8 + 0.5) * 8).astype(int) % 8
    row = np.floor((0.5 - y / 0.8) * 8).astype(int) % 8
    nearest = inside & (cutout[row, column] >= 127.5)
    assert (mask != nearest).mean() > 0.02, "a rim of whole texels is another one"


def test_rays_go_through_many_sheets():
    sheets = 60
    cutout = np.zeros((4, 4), np.uint8)
    uv = np.full((FACES.shape[0] * sheets, 3, 2), 0.5, np.float32)
    vertices = np.concatenate([raised(0.005 * k) for k in range(sheets)])
    faces = np.concatenate([FACES + 4 * k for k in range(sheets)]).astype(np.int32)
    solid = np.arange(len(faces)) < 2
    mesh = Mesh(
        vertices, faces, flat_normals(vertices, faces),
        face_colors=np.full((len(faces), 3), 90, np.uint8), face_textured=~solid,
        texture=np.zeros((4, 4, 3), np.uint8), corner_uv=uv, texture_cutout=cutout,
    )  # fmt: skip
    picture = EmbreeRenderer().render(
        Scene(mesh, camera=Camera((0.0, 0.0, 2.0), up=(0.0, 1.0, 0.0)), floor=None), 32
    )
    assert set(np.unique(picture.faces)) == {-1, 0, 1}
    assert not picture.shadow.any(), "what is cut away hides no light"
    point, eye = np.array([[0.1, 0.2, 0.0]]), np.array([0.0, 0.0, 3.0])
    assert Sight(mesh).unhidden(point, np.array([0]), eye).all()
    closed = Mesh(
        vertices, faces, flat_normals(vertices, faces),
        face_colors=np.full((len(faces), 3), 90, np.uint8),
    )  # fmt: skip
    assert not Sight(closed).unhidden(point, np.array([0]), eye).any()


def test_a_ray_goes_through_a_limited_number_of_holes(monkeypatch):
    monkeypatch.setattr(cutouts, "LAYERS", 3)
    vertices = np.concatenate([raised(0.1 * k) for k in range(6)])
    faces = np.concatenate([FACES + 4 * k for k in range(6)]).astype(np.int32)
    mesh = Mesh(
        vertices, faces, flat_normals(vertices, faces), texture=np.zeros((1, 1, 3), np.uint8),
        corner_uv=np.zeros((12, 3, 2), np.float32), texture_cutout=np.zeros((1, 1), np.uint8),
    )  # fmt: skip
    origin, down = np.array([[0.1, 0.2, 3.0]], np.float32), np.array([[0, 0, -1]], np.float32)
    assert Tracer.of(mesh, vertices).first(origin, down)["primID"].tolist() != [-1]
    monkeypatch.setattr(cutouts, "LAYERS", LAYERS)
    assert Tracer.of(mesh, vertices).first(origin, down)["primID"].tolist() == [-1]


def test_a_texture_without_holes_changes_nothing():
    whole, plain = with_holes(np.full((1, 4), 255, np.uint8)), with_holes(BAND)
    object.__setattr__(plain, "texture_cutout", None)
    pictures = [EmbreeRenderer().render_rgb(Scene(mesh, TURNS[1]), 64) for mesh in (whole, plain)]
    assert (pictures[0] == pictures[1]).all()


def test_places_in_holes():
    mesh = sheet(BAND)
    weights = np.random.default_rng(1).dirichlet(np.ones(3), 500)
    faces = np.random.default_rng(2).integers(0, 2, 500)
    points = np.einsum("nk,nki->ni", weights, mesh.vertices[mesh.faces[faces]])
    sure = np.abs(np.abs(points[:, 0]) - 0.2) > 1e-6
    assert (solid_at(mesh, faces, weights) == (np.abs(points[:, 0]) < 0.2))[sure].all()
    with pytest.raises(RendererError, match="faces"):
        solid_at(mesh, np.array([2]), np.eye(3)[:1])


@pytest.mark.parametrize(
    ("looks", "argument"),
    [
        ({"texture_cutout": np.zeros((2, 3), np.uint8)}, "texture_cutout"),
        ({"texture_cutout": np.zeros((1, 3), np.uint8)}, "texture_cutout"),
        ({"texture": None, "face_colors": np.zeros((2, 3), np.uint8)}, "texture_cutout"),
    ],
)
def test_what_cannot_be_a_cutout(looks, argument):
    base = {
        "texture": np.zeros((1, 4, 3), np.uint8), "texture_cutout": BAND,
        "corner_uv": np.zeros((2, 3, 2), np.float32),
    }  # fmt: skip
    with pytest.raises(RendererError, match=argument):
        Mesh(SQUARE, FACES, flat_normals(SQUARE, FACES), **{**base, **looks})


def test_renderers_that_show_no_holes_refuse_them():
    with pytest.raises(RendererError, match="some engine does not show them"):
        refuse_holes(sheet(BAND), "some engine")
    refuse_holes(sheet(np.full((1, 4), 128, np.uint8)), "some engine")
    refuse_holes(box(), "some engine")
