"""The measures of likeness with Blender know a shifted outline, another depth, another light."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from handmade import box, rotation, sphere

from benchmarks.rendering.likeness import (
    embree_passes,
    likeness,
    outline,
    outline_distances,
    overlap,
)
from benchmarks.rendering.objects import read_mesh, views, write_mesh
from renderers import RendererUnavailableError, Scene, Spot, get

SIZE = 64
SIDE_SPOT = Spot(position=(1.6, -0.7, 3.5), color=(0.8, 0.7, 0.6))
BOX = Scene(box(), rotation(0), spot=SIDE_SPOT)


def disc(radius: float, *, across: float = 0.0) -> np.ndarray:
    row, column = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    return row**2 + (column - across) ** 2 <= radius**2


def alike(measures: dict[str, float]) -> bool:
    return (
        min(measures["silhouette_iou"], measures["shadow_iou"]) > 0.99
        and max(measures["silhouette_px"], measures["shadow_px"]) < 0.1
        and max(measures["silhouette_px_max"], measures["shadow_px_max"]) < 1.5
        and measures["depth"] < 1e-3
        and measures["lit_floor_levels"] <= 6.0
    )


def test_outlines_of_discs_are_apart_by_their_radii() -> None:
    distances = outline_distances(disc(20), disc(16))
    assert abs(distances.mean() - 4.0) < 0.5 and distances.max() < 5.0
    assert overlap(disc(20), disc(16)) == disc(16).sum() / disc(20).sum()
    np.testing.assert_array_equal(outline_distances(disc(9), disc(9)), 0.0)
    assert outline(disc(9)).sum() < disc(9).sum()
    empty = np.zeros((SIZE, SIZE), np.bool_)
    assert outline_distances(empty, empty).size == 0 and overlap(empty, empty) == 1.0
    assert outline_distances(empty, disc(3)).max() == np.inf


def test_a_rendering_is_like_itself() -> None:
    one, lit = embree_passes(BOX, SIZE)
    measures = likeness(one, one, lit)
    assert alike(measures) and measures["object_levels"] == 0.0
    assert measures["silhouette_iou"] == measures["shadow_iou"] == 1.0
    assert lit.any() and not (lit & one["mask"]).any()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"translation": (0.03, 0.0, 0.0)}, "silhouette_px"),
        ({"spot": dataclasses.replace(SIDE_SPOT, position=(1.7, -0.7, 3.5))}, "shadow_px"),
        ({"scale": 1.05}, "depth"),
        ({"spot": dataclasses.replace(SIDE_SPOT, energy=2.0)}, "lit_floor_levels"),
    ],
)
def test_another_scene_is_told(change: dict[str, Any], what: str) -> None:
    one, lit = embree_passes(BOX, SIZE)
    other, _ = embree_passes(dataclasses.replace(BOX, **change), SIZE)
    measures = likeness(one, other, lit)
    assert not alike(measures), measures
    assert measures[what] > likeness(one, one, lit)[what]


def test_meshes_travel_as_arrays(tmp_path) -> None:
    mesh = sphere()
    write_mesh(mesh, tmp_path / "mesh.npz")
    back = read_mesh(tmp_path / "mesh.npz")
    for field in dataclasses.fields(mesh):
        one, other = getattr(mesh, field.name), getattr(back, field.name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)
    assert views(mesh, 2)[1].spot == views(back, 2)[1].spot


@pytest.mark.blender
def test_embree_is_like_blender() -> None:
    try:
        blender = get("blender", samples=64, bounces=3, denoise=True)
    except RendererUnavailableError as reason:
        pytest.skip(str(reason))
    for scene in [BOX, *views(sphere(rings=16), 2)]:
        one, lit = embree_passes(scene, SIZE)
        measures = likeness(one, vars(blender.render(scene, SIZE)), lit)
        assert alike(measures), measures
