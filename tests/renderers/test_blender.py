"""Cycles sees what Embree sees; its light differs only where light is blocked or bounces."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from handmade import box, check_picture_and_mask, folded_sheet, rotation, sphere
from test_embree_colors import ABOVE, UV, WHITE_LIGHT, textured

from renderers import (
    Ambient,
    Mesh,
    Renderer,
    RendererError,
    RendererUnavailableError,
    Scene,
    Spot,
    get,
)

pytestmark = pytest.mark.blender
MESHES = {"box": box(), "sphere": sphere(rings=16), "sheet": folded_sheet()}
SIZE = 64


@pytest.fixture(scope="module")
def blender() -> Renderer:
    try:
        return get("blender", samples=16, bounces=0)
    except RendererUnavailableError as reason:
        pytest.skip(str(reason))


def band(mask: np.ndarray) -> np.ndarray:
    """Pixels within one step of the mask's edge."""
    near = np.zeros_like(mask)
    for down in (-1, 0, 1):
        for over in (-1, 0, 1):
            near |= np.roll(mask, (down, over), (0, 1)) != mask
    return near


@pytest.mark.parametrize("place", [{}, {"translation": (0.2, -0.3, 0.1), "scale": 0.8}])
@pytest.mark.parametrize("name", MESHES)
def test_passes_agree_with_embree(blender: Renderer, name: str, place: dict[str, object]) -> None:
    scene = Scene(MESHES[name], rotation(0), spot=Spot(position=(1.6, -0.7, 3.5)), **place)
    one, other = get("embree").render(scene, SIZE), blender.render(scene, SIZE)
    clear = ~band(one.mask)
    union = ((one.mask | other.mask) & clear).sum()
    assert (one.mask & other.mask & clear).sum() / union > 0.99
    assert np.abs(one.depth - other.depth)[clear].max() < 1e-3
    assert np.quantile(np.abs(one.normals - other.normals)[clear], 0.999) < 1e-3
    assert one.shadow.any() and (one.shadow != other.shadow)[~band(one.shadow)].mean() < 1e-3


def test_direct_light_agrees_with_embree(blender: Renderer) -> None:
    ambient = Ambient(level=0.4, sky=0.3)
    scene = Scene(box(), rotation(0), floor=None, ambient=ambient)  # convex: nothing is blocked
    one, other = get("embree").render(scene, SIZE), blender.render(scene, SIZE)
    inside = one.mask & ~band(one.mask)
    difference = other.rgb[inside].astype(float) - one.rgb[inside]
    assert np.abs(difference.mean(0)).max() < 1.5 and np.abs(difference).mean() < 6.0
    assert (other.rgb[~other.mask & ~band(one.mask)] == 0).all()
    assert np.isinf(other.depth[~other.mask]).all() and not other.normals[~other.mask].any()
    lit_floor = Scene(box(), rotation(0), ambient=Ambient(level=0.3, sky=0.5))
    one, other = get("embree").render(lit_floor, SIZE), blender.render(lit_floor, SIZE)
    far = ~band(one.mask) & ~one.mask & ~band(one.shadow)
    assert np.median(np.abs(one.rgb.astype(int) - other.rgb)[far]) <= 1


def test_shows_the_same_texture(blender: Renderer) -> None:
    scene = Scene(textured(UV), camera=ABOVE, floor=None, spot=None, ambient=WHITE_LIGHT)
    one, other = get("embree").render_rgb(scene, SIZE), blender.render_rgb(scene, SIZE)
    assert np.median(np.abs(one.astype(int) - other)) <= 1


def test_shows_the_same_tint_of_a_texture(blender: Renderer) -> None:
    tint = np.random.default_rng(0).uniform(0.0, 1.0, (2, 3, 3)).astype(np.float32)
    light = {"camera": ABOVE, "floor": None, "spot": None, "ambient": WHITE_LIGHT}
    scenes = [Scene(mesh, **light) for mesh in (textured(UV, corner_tint=tint), textured(UV))]
    one, twin = (get("embree").render(scene, SIZE) for scene in scenes)
    inside = one.mask & ~band(one.mask)
    difference = np.abs(one.rgb.astype(int) - blender.render_rgb(scenes[0], SIZE))[inside]
    assert np.median(difference) <= 2
    assert np.median(np.abs(one.rgb.astype(int) - twin.rgb)[inside]) > 20


def test_renders_the_same_bytes_again(blender: Renderer) -> None:
    def image(mesh: Mesh, size: int) -> bytes:
        return blender.render_rgb(Scene(mesh, rotation(4)), size).tobytes()

    first = image(box(), 32)
    image(sphere(), 16)
    assert image(box(), 32) == first


def test_pixels_without_noise_take_fewer_paths_at_the_same_brightness(blender: Renderer) -> None:
    scene = Scene(box(), rotation(1))
    full, fewer = (
        get("blender", samples=64, bounces=0, noise_threshold=noise).render_rgb(scene, SIZE)
        for noise in (0.0, 0.05)
    )
    assert not np.array_equal(full, fewer)
    assert np.abs(full.astype(float) - fewer).mean() < 1.0
    with pytest.raises(RendererError, match="noise_threshold"):
        get("blender", noise_threshold=-1.0)


def test_light_bounces(blender: Renderer) -> None:
    scene = Scene(folded_sheet(), rotation(0))
    direct = blender.render_rgb(scene, 32).mean()
    assert get("blender", samples=16, bounces=3).render_rgb(scene, 32).mean() > direct


def test_is_quiet(blender: Renderer, capfd: pytest.CaptureFixture[str]) -> None:
    blender.render(Scene(box()), 8)
    assert capfd.readouterr().out == ""


def test_refuses_settings_out_of_range() -> None:
    with pytest.raises(RendererError, match="samples"):
        get("blender", samples=0)


def test_refuses_a_cone_that_blender_would_widen(blender: Renderer) -> None:
    with pytest.raises(RendererError, match="cone_rad"):
        blender.render_rgb(Scene(box(), spot=Spot(cone_rad=0.01)), 8)


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bpy", None)
    with pytest.raises(RendererUnavailableError, match=r"equivariant\[blender\]"):
        get("blender")


def test_picture_and_mask_are_those_of_the_whole_rendering(blender):
    check_picture_and_mask(blender)
