"""Textures smaller than pixels, against many rays per pixel through a formula of the plane."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from handmade import flat_normals

from renderers import Ambient, Camera, Mesh, RendererError, Scene, get
from renderers.color import linear_from_srgb
from renderers.rays import looks, textures

CAMERA = Camera(position=(0.0, 0.0, 2.5), up=(0.0, 1.0, 0.0), field_of_view_rad=0.6)
CORNERS = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
RAYS = 32
SIZE = 24


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


STRIPES = grey(np.tile(np.arange(1024) // 8 % 2 * 255, (1024, 1)))
CHECKER = grey(np.add.outer(np.arange(256) // 4, np.arange(256) // 4) % 2 * 255)
RAMP = grey(np.tile(np.linspace(0, 255, 300), (200, 1)))
TEXTURES = {
    "stripes": STRIPES, "checker": CHECKER, "ramp": RAMP, "noise": noise(256, 256),
    "odd": noise(311, 173), "row": noise(1, 640), "column": noise(640, 1), "texel": noise(1, 1),
}  # fmt: skip


def turned(tilt_deg: float, twist_deg: float) -> np.ndarray:
    tilt, twist = np.radians([tilt_deg, twist_deg])
    about_x = [[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]]
    about_z = [[math.cos(twist), -math.sin(twist), 0], [math.sin(twist), math.cos(twist), 0],
               [0, 0, 1]]  # fmt: skip
    return np.array(about_x) @ np.array(about_z)


POSES = {"frontal": (0, 0), "twisted": (0, 31), "slanted": (60, 20), "grazing": (83, 8)}


def square(texture: np.ndarray, periods: float = 1.0, **looks: object) -> Mesh:
    """A square of side 2 with the texture on it, so many times in each direction."""
    corners = CORNERS[FACES]
    uv = ((corners[..., :2] + 1.0) / 2.0 * periods).astype(np.float32)
    normals = flat_normals(CORNERS, FACES)
    return Mesh(CORNERS, FACES, normals, texture=texture, corner_uv=uv, **looks)


def lit(mesh: Mesh, pose: str) -> Scene:
    return Scene(
        mesh, turned(*POSES[pose]), CAMERA, floor=None, spot=None, ambient=Ambient(1.0, 0.0)
    )


def expected(scene: Scene, size: int, periods: float) -> tuple[np.ndarray, np.ndarray]:
    """Means of RAYS² rays per pixel in sRGB levels, and which pixels see nothing but the square."""
    texture, turn = scene.mesh.texture, scene.rotation
    table = np.arange(256) / 255
    light = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)[texture]
    steps = ((np.arange(size * RAYS) + 0.5) / (size * RAYS) * 2 - 1) * math.tan(0.3)
    ways = np.stack(np.broadcast_arrays(steps[None, :], -steps[:, None], -1.0), 2)
    eye, normal = np.array([0.0, 0.0, 2.5]), turn[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        points = eye - (eye @ normal / (ways @ normal))[..., None] * ways
        place = points @ turn[:, :2]
        whole = (np.abs(place) <= 1.0).all(2)
        place = np.where(np.isfinite(place), place, 0.0)
    height, width = texture.shape[:2]
    x = (place[..., 0] + 1) / 2 * periods * width - 0.5
    y = (1 - (place[..., 1] + 1) / 2 * periods) * height - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros((*x.shape, 3))
    for down in (0, 1):
        for over in (0, 1):
            share = np.abs(1 - over - (x - left)) * np.abs(1 - down - (y - top))
            total += share[..., None] * light[(top + down) % height, (left + over) % width]
    mean = total.reshape(size, RAYS, size, RAYS, 3).mean((1, 3))
    level = 255 * np.where(mean <= 0.0031308, 12.92 * mean, 1.055 * mean ** (1 / 2.4) - 0.055)
    return level, whole.reshape(size, RAYS, size, RAYS).all((1, 3))


def error(scene: Scene, periods: float, **settings: object) -> float:
    """Root mean square difference in levels from many rays."""
    right, inside = expected(scene, SIZE, periods)
    assert inside.sum() > 12
    seen = get("embree", **settings).render_rgb(scene, SIZE)
    return float(np.sqrt(np.mean((seen[inside] - right[inside]) ** 2)))


PERIODS = {"once": 1.0, "often": 7.3}
MOST = {"checker": 13.0, "ramp": 8.0, "row": 9.0, "column": 9.0}  # beats and jumps; others 6


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("periods", PERIODS)
@pytest.mark.parametrize("name", TEXTURES)
def test_pixels_show_the_mean_of_what_they_cover(name: str, periods: str, pose: str) -> None:
    times = PERIODS[periods]
    scene = lit(square(TEXTURES[name], times), pose)
    assert error(scene, times) < MOST.get(name, 6.0)


@pytest.mark.parametrize("pose", POSES)
def test_the_comparison_rejects_textures_without_averages(
    monkeypatch: pytest.MonkeyPatch, pose: str
) -> None:
    """Level 0 alone, which is what a slope of zero makes of a texture."""
    scene = lit(square(STRIPES, 7.3), pose)
    assert error(scene, 7.3) < 1.5
    monkeypatch.setattr(
        looks, "slopes", lambda corners, uv, size: np.zeros((len(uv), 2, 3), np.float32)
    )
    assert error(lit(square(STRIPES, 7.3), pose), 7.3) > 12.0


def test_the_comparison_rejects_means_of_srgb_levels() -> None:
    scene = lit(square(STRIPES, 7.3), "frontal")
    twin = dataclasses.replace(scene, mesh=square(np.full_like(STRIPES, 128), 7.3))
    right, inside = expected(scene, SIZE, 7.3)
    assert np.abs(get("embree").render_rgb(twin, SIZE)[inside] - right[inside]).min() > 50


def test_stripes_of_an_eighth_of_a_pixel_are_their_mean() -> None:
    """Half of the light: 188 of 255."""
    camera = dataclasses.replace(CAMERA, field_of_view_rad=2.0)
    scene = dataclasses.replace(lit(square(STRIPES), "frontal"), camera=camera)
    image = get("embree").render(scene, 64)
    inside = image.rgb[28:36, 28:36, 0]
    assert image.mask[28:36, 28:36].all()
    assert abs(inside.mean() - 188) < 1 and inside.std() < 1


def test_a_magnified_texture_is_bilinear_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    texture = noise(8, 8)
    scene = lit(square(texture), "twisted")
    image = get("embree").render_rgb(scene, 96)
    monkeypatch.setattr(
        looks, "slopes", lambda corners, uv, size: np.zeros((len(uv), 2, 3), np.float32)
    )
    plain = lit(square(texture), "twisted")
    np.testing.assert_array_equal(image, get("embree").render_rgb(plain, 96))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 1), (5, 7), (64, 64), (31, 200)])
def test_every_level_has_the_mean_of_the_texture(shape: tuple[int, int]) -> None:
    texture = noise(*shape)
    found = textures.pyramid(texture)
    light = linear_from_srgb(texture / 255).mean((0, 1))
    assert len(found.coarse) <= texture.shape[0] * texture.shape[1]
    last = int(found.tiles[0, 4])
    assert last == int(math.log2(max(shape)))
    for level in range(1, last + 1):
        start, width, height = found.levels[0, level].tolist()
        assert (height, width) == tuple(max(1, side >> level) for side in shape)
        texels = linear_from_srgb(found.coarse[start : start + width * height] / 255)
        np.testing.assert_allclose(texels.mean(0), light, atol=3e-3)


def test_averages_stay_within_their_tile() -> None:
    """A red and a blue tile side by side, small on screen: neither takes in the other."""
    texture = np.zeros((64, 128, 3), np.uint8)
    texture[:, :64, 0] = texture[:, 64:, 2] = 255
    tiles = np.array([[0, 0, 64, 64], [64, 0, 64, 64]], np.int32)
    uv = (CORNERS[FACES][..., :2] + 1.0) / 2.0 * 0.98 + 0.01
    left = uv * (0.5, 1.0)
    both = np.stack([left[0], left[1] + (0.5, 0.0)]).astype(np.float32)
    mesh = dataclasses.replace(square(texture), corner_uv=both)
    apart = dataclasses.replace(mesh, texture_tiles=tiles)
    far = Camera(position=(0.0, 0.0, 60.0), up=(0.0, 1.0, 0.0), field_of_view_rad=0.3)
    for m, clean in ((apart, True), (mesh, False)):
        scene = dataclasses.replace(lit(m, "frontal"), camera=far)
        image = get("embree", samples_per_side=1).render(scene, 32)
        seen = image.rgb[image.mask]
        assert len(seen) > 2
        assert bool((seen[:, 0].astype(int) * seen[:, 2] == 0).all()) == clean


@pytest.mark.parametrize("tiles", [[[0, 0, 0, 4]], [[-1, 0, 4, 4]], [[0, 1, 4, 8]], []])
def test_tiles_beyond_the_texture_are_refused(tiles: list[list[int]]) -> None:
    rows = np.array(tiles, np.int32).reshape(-1, 4)
    with pytest.raises(RendererError, match="texture_tiles"):
        square(noise(8, 8), texture_tiles=rows)
