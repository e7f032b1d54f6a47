"""pyrender shows what Embree shows. Run once with PYOPENGL_PLATFORM=egl and once with osmesa."""

from __future__ import annotations

import os

import numpy as np
import pytest
from handmade import box, check_picture_and_mask, folded_sheet, rotation, sphere
from test_embree_colors import UV, textured

from renderers import Floor, Mesh, Renderer, RendererUnavailableError, Scene, Spot, get

pytestmark = [
    pytest.mark.pyrender,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
MESHES = {"box": box(), "sphere": sphere(rings=16), "sheet": folded_sheet()}
SIZE = 128


@pytest.fixture(scope="module")
def pyrender() -> Renderer:
    try:
        return get("pyrender")
    except RendererUnavailableError as reason:
        pytest.skip(str(reason))


def band(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels within so many steps of the mask's edge."""
    near = np.zeros_like(mask)
    for down in range(-width, width + 1):
        for over in range(-width, width + 1):
            near |= np.roll(mask, (down, over), (0, 1)) != mask
    return near


@pytest.mark.parametrize(
    ("seed", "place"), [(0, {}), (1, {}), (1, {"translation": (0.2, -0.3, 0.1), "scale": 0.8})]
)
@pytest.mark.parametrize("name", MESHES)
def test_agrees_with_embree(
    pyrender: Renderer, name: str, seed: int, place: dict[str, object]
) -> None:
    scene = Scene(MESHES[name], rotation(seed), spot=Spot(position=(1.6, -0.7, 3.5)), **place)
    one, other = get("embree").render(scene, SIZE), pyrender.render(scene, SIZE)
    clear = ~band(one.mask, 1)
    union = ((one.mask | other.mask) & clear).sum()
    assert (one.mask & other.mask & clear).sum() / union > 0.99
    assert np.quantile(np.abs(one.depth - other.depth)[clear], 0.999) < 1e-3
    assert np.quantile(np.abs(one.normals - other.normals)[clear], 0.99) < 0.02
    clear_of_shadow = ~band(one.mask, 2) & ~band(one.shadow, 2)
    assert (one.shadow != other.shadow)[clear_of_shadow].mean() < 0.002
    difference = np.abs(one.rgb.astype(int) - other.rgb)[clear_of_shadow]
    assert np.quantile(difference, 0.99) <= 2


def test_shows_the_same_texture(pyrender: Renderer) -> None:
    scene = Scene(textured(UV), rotation(1), spot=None)
    one, other = get("embree").render(scene, SIZE), pyrender.render(scene, SIZE)
    clear = ~band(one.mask, 1)
    assert np.median(np.abs(one.rgb.astype(int) - other.rgb)[clear & one.mask]) <= 6


def test_renders_the_same_bytes_again(pyrender: Renderer) -> None:
    def image(mesh: Mesh, size: int) -> bytes:
        return pyrender.render_rgb(Scene(mesh, rotation(4)), size).tobytes()

    first = image(box(), 64)
    image(sphere(), 32)
    assert image(box(), 64) == first


def test_leaves_out_floor_and_spot(pyrender: Renderer) -> None:
    scene = Scene(box(), rotation(4), floor=None, spot=None)
    one, other = get("embree").render(scene, 64), pyrender.render(scene, 64)
    assert (other.rgb[~other.mask & ~band(other.mask, 1)] == 0).all()
    assert not other.shadow.any() and np.isinf(other.depth[~other.mask]).all()
    assert np.quantile(np.abs(one.rgb.astype(int) - other.rgb)[~band(one.mask, 1)], 0.95) <= 2
    pyrender.render_rgb(Scene(box(), floor=Floor(height=-0.5)), 1)


def test_refuses_another_platform(pyrender: Renderer) -> None:
    other = "osmesa" if os.environ["PYOPENGL_PLATFORM"] == "egl" else "egl"
    with pytest.raises(RendererUnavailableError, match="one platform per process"):
        get("pyrender", platform=other)


def test_picture_and_mask_are_those_of_the_whole_rendering(pyrender):
    check_picture_and_mask(pyrender)


def test_shows_the_same_tint_of_a_texture(pyrender: Renderer) -> None:
    tint = np.random.default_rng(0).uniform(0.0, 1.0, (2, 3, 3)).astype(np.float32)
    plain, tinted = textured(UV), textured(UV, corner_tint=tint)
    scenes = [Scene(mesh, rotation(1), spot=None) for mesh in (tinted, plain)]
    one, twin = (get("embree").render(scene, SIZE) for scene in scenes)
    other = pyrender.render(scenes[0], SIZE)
    inside = one.mask & ~band(one.mask, 1)
    assert np.median(np.abs(one.rgb.astype(int) - other.rgb)[inside]) <= 6
    assert np.median(np.abs(one.rgb.astype(int) - twin.rgb)[inside]) > 20
