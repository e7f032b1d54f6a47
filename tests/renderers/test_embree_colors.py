"""Colors, textures, both sides of a surface, and broken meshes."""

from __future__ import annotations

import colorsys
import dataclasses

import numpy as np
import pytest
from handmade import box, folded_sheet, plate, rotation, sphere

from renderers import Ambient, Camera, Floor, Mesh, Scene, Spot, get
from renderers.color import linear_from_srgb, rgb_from_hsv, srgb_from_linear

ABOVE = Camera(position=(0.0, 0.0, 2.0), up=(0.0, 1.0, 0.0), field_of_view_rad=0.5)
WHITE_LIGHT = Ambient(level=1.0, sky=0.0)


def from_above(mesh: Mesh, size: int = 32) -> np.ndarray:
    """The object's own colors: white light from everywhere, nothing else."""
    scene = Scene(mesh, camera=ABOVE, floor=None, spot=None, ambient=WHITE_LIGHT)
    return get("embree").render_rgb(scene, size)


def test_face_colors_come_out_as_they_went_in() -> None:
    colors = np.array([[250, 3, 120], [10, 200, 77]], dtype=np.uint8)
    image = from_above(dataclasses.replace(plate(1.0, 0.0), face_colors=colors))
    # The plate's diagonal runs from the lower left to the upper right.
    np.testing.assert_allclose(image[24, 20].astype(int), colors[0], atol=1)
    np.testing.assert_allclose(image[8, 12].astype(int), colors[1], atol=1)


def test_vertex_colors_are_mixed_in_linear_light() -> None:
    colors = np.array([[0, 0, 0], [255, 0, 0], [255, 0, 0], [0, 0, 0]], dtype=np.uint8)
    mesh = dataclasses.replace(plate(1.2, 0.0), face_colors=None, vertex_colors=colors)
    image = from_above(mesh, 33)
    x = (np.arange(33) + 0.5) / 33 * 2 - 1
    linear = x * 2.0 * np.tan(0.25) / 1.2 + 0.5
    np.testing.assert_allclose(image[16, :, 0], 255 * srgb_from_linear(linear), atol=1.5)
    assert (image[..., 1:] == 0).all()


def textured(corner_uv: np.ndarray, **changes: object) -> Mesh:
    texture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    texture = np.repeat(np.repeat(texture, 16, 0), 16, 1)
    mesh = dataclasses.replace(
        plate(2.0, 0.0), texture=texture, corner_uv=corner_uv.astype(np.float32)
    )
    return dataclasses.replace(mesh, **changes)


UV = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], dtype=np.float64)


def test_texture_stands_upright() -> None:
    camera = dataclasses.replace(ABOVE, field_of_view_rad=2 * np.arctan(0.5))
    scene = Scene(textured(UV), camera=camera, floor=None, spot=None, ambient=WHITE_LIGHT)
    image = get("embree").render_rgb(scene, 64)
    assert image[16, 16].tolist() == [255, 0, 0] and image[16, 48].tolist() == [0, 255, 0]
    assert image[48, 16].tolist() == [0, 0, 255] and image[48, 48].tolist() == [255, 255, 255]


def test_texture_repeats() -> None:
    np.testing.assert_array_equal(from_above(textured(UV)), from_above(textured(UV - 3.0)))


def test_only_some_faces_are_textured() -> None:
    partly = np.array([True, False])
    image = from_above(textured(UV, face_textured=partly))
    np.testing.assert_allclose(image[8, 12], 200, atol=1)
    np.testing.assert_array_equal(image[24, 20], from_above(textured(UV))[24, 20])


def test_both_sides_of_a_sheet_are_shaded_alike() -> None:
    sheet = folded_sheet()
    turned = dataclasses.replace(
        sheet,
        faces=np.ascontiguousarray(sheet.faces[:, ::-1]),
        corner_normals=np.ascontiguousarray(-sheet.corner_normals),
    )
    one, other = (get("embree").render(Scene(m, rotation(2)), 48) for m in (sheet, turned))
    np.testing.assert_array_equal(one.rgb, other.rgb)
    view = np.array(Camera().position)
    assert (one.normals[one.mask] @ view > -0.3).all()


@pytest.mark.parametrize("hue", [0.0, 0.15, 0.4, 0.66, 0.9])
def test_the_floor_has_its_hue_and_the_spot_its_own(hue: float) -> None:
    floor = Floor(color=rgb_from_hsv(hue, 0.6, 0.6))
    dark = get("embree").render_rgb(Scene(box(), floor=floor, spot=None), 48)
    measured = colorsys.rgb_to_hsv(*linear_from_srgb(dark[44, 3] / 255).tolist())[0]
    expected = colorsys.rgb_to_hsv(*linear_from_srgb(floor.color).tolist())[0]
    assert abs((measured - expected + 0.5) % 1 - 0.5) < 0.02
    spot = Spot(position=(0.0, 1.5, 3.7), color=rgb_from_hsv(hue, 1.0, 0.8))
    gray = Floor(color=(0.6, 0.6, 0.6))
    lit, unlit = (
        linear_from_srgb(get("embree").render_rgb(Scene(box(), floor=gray, spot=s), 48) / 255)
        for s in (spot, None)
    )
    added = (lit - unlit)[30:].sum((0, 1))
    assert added.max() > 1.0
    measured = colorsys.rgb_to_hsv(*(added / added.max()).tolist())[0]
    expected = colorsys.rgb_to_hsv(*linear_from_srgb(spot.color).tolist())[0]
    assert abs((measured - expected + 0.5) % 1 - 0.5) < 0.02


def test_the_default_scene_is_bright_and_not_saturated() -> None:
    light_gray = np.full((len(sphere().faces), 3), 200, np.uint8)
    ball = dataclasses.replace(sphere(), face_colors=light_gray)
    spot = Spot(position=(1.0, -1.0, 3.7), color=(0.8, 0.8, 0.8))
    image = get("embree").render(Scene(ball, spot=spot), 96)
    dark = get("embree").render(Scene(ball, spot=None), 96)
    assert dark.rgb[dark.mask].mean() > 90
    assert image.rgb.max() < 255
    disc = ~image.mask & (image.rgb[..., 0].astype(int) > dark.rgb[..., 0].astype(int) + 20)
    assert disc.mean() > 0.03


def test_srgb_goes_there_and_back() -> None:
    levels = np.arange(256) / 255
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(levels)), levels, atol=1e-12)
    assert float(linear_from_srgb(1.0)) == 1.0 and float(linear_from_srgb(0.0)) == 0.0


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf])
def test_missing_normals_are_those_of_the_face(fill: float) -> None:
    good = box()
    broken = dataclasses.replace(good, corner_normals=np.full_like(good.corner_normals, fill))
    one, other = (get("embree").render(Scene(m, rotation(4)), 32) for m in (good, broken))
    np.testing.assert_allclose(one.normals, other.normals, atol=1e-5)


def test_opposite_corner_normals_do_no_harm() -> None:
    mesh = plate(1.0, 0.0)
    normals = mesh.corner_normals.copy()
    normals[:, 0] *= -1.0
    image = get("embree").render(Scene(dataclasses.replace(mesh, corner_normals=normals)), 33)
    assert np.isfinite(image.normals).all()
    np.testing.assert_allclose(np.linalg.norm(image.normals[image.mask], axis=1), 1, atol=1e-5)


def test_faces_without_area_are_not_seen() -> None:
    good = box()
    extra = np.array([[0, 0, 0], [0, 1, 1]], dtype=np.int32)
    mesh = dataclasses.replace(
        good,
        faces=np.concatenate([good.faces, extra]),
        corner_normals=np.concatenate([good.corner_normals, np.zeros((2, 3, 3), np.float32)]),
        face_colors=np.concatenate([good.face_colors, np.zeros((2, 3), np.uint8)]),
    )
    one, other = (get("embree").render_rgb(Scene(m, rotation(4)), 32) for m in (good, mesh))
    np.testing.assert_array_equal(one, other)


def test_a_mesh_that_is_a_point_is_not_seen() -> None:
    mesh = Mesh(
        np.zeros((3, 3)),
        np.array([[0, 1, 2]], dtype=np.int32),
        np.zeros((1, 3, 3), np.float32),
        face_colors=np.zeros((1, 3), np.uint8),
    )
    assert not get("embree").render(Scene(mesh), 16).mask.any()
