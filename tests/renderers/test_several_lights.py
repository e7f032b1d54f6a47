"""Several lights: light and shadow of each as a slow loop has them; other engines refuse them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import slow_rays
from handmade import box, folded_sheet, rotation, sphere
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers import Floor, RendererError, Scene, Spot, get
from renderers.refusals import refuse_lights

GREEN = Spot(position=(2.0, 1.0, 2.6), color=(0.1, 0.8, 0.2), energy=0.9, cone_rad=0.7)
BLUE = Spot(position=(-1.8, 0.8, 2.2), color=(0.1, 0.2, 0.9), energy=0.5, cone_rad=0.6, blend=0.5)
BELOW = Spot(position=(0.3, 0.2, -3.0), color=(0.9, 0.9, 0.9), cone_rad=0.9)
MESHES = (box(), sphere(rings=6), folded_sheet())


def plain(scene, size=32):
    return get("embree", samples_per_side=1).render(scene, size)


def far(scene, truth, size=32):
    """Share of pixels that differ from the slow loop's by more than two levels."""
    difference = np.abs(plain(scene, size).rgb.astype(float) - truth["rgb"]).max(2)
    return float((difference > 2.0).mean())


@pytest.mark.parametrize("lights", [(GREEN,), (GREEN, BLUE), (GREEN, BLUE, BELOW)])
@pytest.mark.parametrize("mesh", range(3))
def test_light_and_shadow_of_each_are_those_of_a_slow_loop(lights, mesh):
    scene = Scene(
        MESHES[mesh], rotation(mesh), spot=Spot(position=(0.5, -0.9, 3.8)), lights=lights,
        translation=(0.1, 0.0, -0.2), scale=1.2,
    )  # fmt: skip
    truth, image = slow_rays.render(scene, 32), plain(scene)
    assert far(scene, truth) < 0.01
    assert image.light_shadows.shape == (len(lights), 32, 32)
    assert (image.light_shadows != truth["light_shadows"]).mean() < 0.01
    assert (image.shadow != truth["shadow"]).mean() < 0.01
    if mesh < 2:  # the box and the sphere hide the light above from the floor
        assert image.light_shadows[0].sum() > 10


@pytest.mark.parametrize(
    "broken",
    [
        lambda scene: dataclasses.replace(scene, lights=()),
        lambda scene: dataclasses.replace(scene, lights=scene.lights[:1]),
        lambda scene: dataclasses.replace(scene, lights=(scene.spot, scene.spot)),
        lambda scene: dataclasses.replace(
            scene, lights=(scene.lights[0], dataclasses.replace(BLUE, color=(0.9, 0.2, 0.1)))
        ),
        lambda scene: dataclasses.replace(
            scene, lights=(scene.lights[0], dataclasses.replace(BLUE, energy=0.2))
        ),
    ],
)
def test_the_comparison_rejects_lights_that_are_missing_or_others(broken):
    scene = Scene(box(), rotation(0), lights=(GREEN, BLUE))
    truth = slow_rays.render(scene, 32)
    assert far(scene, truth) < 0.01 < far(broken(scene), truth)


def test_the_comparison_rejects_a_light_without_its_shadow():
    scene = Scene(box(), rotation(0), lights=(GREEN,))
    truth = slow_rays.render(scene, 32)
    unhidden = {**truth, "light_shadows": np.zeros_like(truth["light_shadows"])}
    assert (plain(scene).light_shadows != unhidden["light_shadows"]).mean() > 0.02


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), turn=st.integers(0, 5))
def test_it_does_not_matter_which_of_the_lights_is_the_spot(seed, turn):
    random = np.random.default_rng(seed)
    lights = [
        Spot((*random.uniform(-2, 2, 2).tolist(), 3.0), color=tuple(random.random(3)), cone_rad=0.8)
        for _ in range(3)
    ]

    def made(order):
        first, *others = (lights[k] for k in order)
        scene = Scene(box(), rotation(seed % 7), spot=first, lights=tuple(others))
        return get("embree").render_rgb(scene, 48).astype(int)

    order = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)][turn]
    difference = np.abs(made((0, 1, 2)) - made(order))
    # Whose fade counts at a cone's rim differs: there single pixels take more samples or fewer.
    assert np.percentile(difference, 99) <= 1


def test_lights_of_no_energy_and_no_lights_are_the_same_picture():
    scene = Scene(sphere(rings=6), rotation(2))
    dark = dataclasses.replace(scene, lights=(dataclasses.replace(GREEN, energy=0.0),))
    one, other = (plain(s, 48) for s in (scene, dark))
    np.testing.assert_array_equal(one.rgb, other.rgb)
    assert one.light_shadows is None and other.light_shadows.any()


def test_a_light_alone_is_a_spot_alone():
    spot = dataclasses.replace(Scene(box(), rotation(3)), spot=GREEN)
    light = dataclasses.replace(spot, spot=None, lights=(GREEN,))
    for renderer in (get("embree", samples_per_side=1), get("embree", adaptive=False)):
        one, other = (renderer.render(s, 40) for s in (spot, light))
        assert np.abs(one.rgb.astype(int) - other.rgb).max() <= 1
        np.testing.assert_array_equal(one.shadow, other.light_shadows[0])
        rgba = [renderer.render_rgba(s, 40).astype(int) for s in (spot, light)]
        assert np.abs(rgba[0] - rgba[1]).max() <= 1


def test_shadow_edges_of_further_lights_are_smoothed_too():
    faint = dataclasses.replace(GREEN, energy=0.02, color=(0.5, 0.5, 0.5))
    scene = Scene(
        box(), rotation(1), spot=None, floor=Floor(color=(0.5, 0.5, 0.5)), lights=(faint,)
    )
    truth = get("embree", samples_per_side=8, adaptive=False).render_rgb(scene, 64).astype(float)
    fine, coarse = (
        np.abs(get("embree", samples_per_side=n).render_rgb(scene, 64) - truth).mean()
        for n in (4, 1)
    )
    assert fine < 0.7 * coarse


def test_other_engines_refuse_further_lights_by_name():
    refuse_lights(Scene(box()), "some engine")
    with pytest.raises(RendererError, match=r"some engine does not show others.*embree"):
        refuse_lights(Scene(box(), lights=(GREEN,)), "some engine")
