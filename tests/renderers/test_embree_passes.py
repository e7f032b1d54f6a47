"""Embree against a slow ray caster and against closed forms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from handmade import box, folded_sheet, plate, rotation, sphere
from slow_rays import render

from renderers import Ambient, Camera, Floor, Mesh, RendererError, Rendering, Scene, Spot, get

SIZE = 48
MESHES = {"box": box(), "sphere": sphere(rings=6), "sheet": folded_sheet()}
SIDE_SPOT = Spot(position=(1.6, -0.7, 3.5), color=(0.9, 0.7, 0.2))


def disagreement(scene: Scene, image: Rendering) -> dict[str, float]:
    """Largest deviation per pass from the slow renderer, where both see the same thing."""
    slow = render(scene, image.mask.shape[0])
    same = (slow["mask"] == image.mask) & np.isclose(slow["depth"], image.depth, atol=0.02, rtol=0)
    alike = same & (slow["shadow"] == image.shadow)
    finite = same & np.isfinite(slow["depth"])
    return {
        "mask": float((slow["mask"] != image.mask).sum()),
        "other": float((~same).sum()),
        "shadow": float((slow["shadow"] != image.shadow)[same].mean()),
        "depth": float(np.abs(slow["depth"][finite] - image.depth[finite]).max(initial=0.0)),
        "normals": float(np.abs(slow["normals"] - image.normals)[same].max(initial=0.0)),
        "rgb": float(np.abs(slow["rgb"] - image.rgb)[alike].max(initial=0.0)),
    }


def accepted(report: dict[str, float]) -> bool:
    return (
        report["mask"] <= 2
        and report["other"] <= 3
        and report["shadow"] <= 0.005
        and report["depth"] <= 1e-4
        and report["normals"] <= 2e-3
        and report["rgb"] <= 1.6
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", MESHES)
def test_agrees_with_the_slow_renderer(name: str, seed: int) -> None:
    scene = Scene(MESHES[name], rotation(seed), spot=SIDE_SPOT)
    image = get("embree", samples_per_side=1).render(scene, SIZE)
    report = disagreement(scene, image)
    assert accepted(report), report
    assert image.shadow.any() and image.mask.any()


@pytest.mark.parametrize(
    "changes",
    [
        {"floor": None},
        {"spot": None},
        {"floor": Floor(height=0.05)},
        {"camera": Camera(position=(0.4, -1.1, 0.9), target=(0.1, 0.0, -0.2))},
        {"camera": Camera(position=(0.1, 0.05, 0.0), target=(1.0, 0.2, -0.3))},
        {"camera": Camera(position=(1.0, 1.0, -2.5)), "spot": SIDE_SPOT},
        {"spot": Spot(position=(0.5, 0.5, -2.0), cone_rad=2.0, blend=1.0)},
        {"spot": Spot(cone_rad=0.3, blend=0.0), "ambient": Ambient(level=0.2, sky=0.0)},
        {"translation": (0.3, -0.2, 0.15), "spot": SIDE_SPOT},
        {"scale": 1.6, "spot": SIDE_SPOT},
        {"scale": 0.4, "translation": (-0.4, 0.3, -0.7), "spot": SIDE_SPOT},
    ],
)
def test_agrees_in_unusual_scenes(changes: dict[str, object]) -> None:
    scene = dataclasses.replace(Scene(box(), rotation(5)), **changes)
    report = disagreement(scene, get("embree", samples_per_side=1).render(scene, SIZE))
    assert accepted(report), report


def test_the_comparison_rejects_a_transposed_rotation() -> None:
    scene = Scene(box(), rotation(1), spot=SIDE_SPOT)
    twin = dataclasses.replace(scene, rotation=np.ascontiguousarray(scene.rotation.T))
    image = get("embree", samples_per_side=1).render(twin, SIZE)
    assert not accepted(disagreement(scene, image))


@pytest.mark.parametrize("wrong", [{"translation": (0.3, 0.2, 0.1)}, {"scale": 1.05}])
def test_the_comparison_rejects_another_place_or_size(wrong: dict[str, object]) -> None:
    scene = Scene(box(), rotation(1), spot=SIDE_SPOT, translation=(0.3, -0.2, 0.1))
    image = get("embree", samples_per_side=1).render(dataclasses.replace(scene, **wrong), SIZE)
    assert not accepted(disagreement(scene, image))


def test_moving_the_object_is_moving_its_vertices() -> None:
    """s R x + t of the scene against a mesh whose vertices were moved."""
    mesh, turn, shift, scale = sphere(rings=7), rotation(4), (0.2, -0.3, 0.25), 0.7
    moved = dataclasses.replace(
        mesh,
        vertices=scale * mesh.vertices @ turn.T + np.array(shift),
        corner_normals=(mesh.corner_normals @ turn.T).astype(np.float32),
    )
    by_scene = get("embree").render(Scene(mesh, turn, translation=shift, scale=scale), 64)
    by_mesh = get("embree").render(Scene(moved), 64)
    assert (by_scene.mask != by_mesh.mask).sum() <= 2
    both = by_scene.mask & by_mesh.mask
    np.testing.assert_allclose(by_scene.depth[both], by_mesh.depth[both], atol=1e-5)
    differ = np.abs(by_scene.rgb.astype(int) - by_mesh.rgb).max(2)
    assert np.mean(differ > 2) < 0.01


@pytest.mark.parametrize(
    "field", [{"scale": 0.0}, {"scale": math.nan}, {"translation": (0.0, math.inf, 0.0)}]
)
def test_places_and_sizes_out_of_range_are_refused(field: dict[str, object]) -> None:
    with pytest.raises(RendererError, match=next(iter(field))):
        Scene(box(), **field)


def test_the_comparison_rejects_a_mirrored_light() -> None:
    scene = Scene(box(), rotation(1), spot=SIDE_SPOT)
    x, y, z = SIDE_SPOT.position
    twin = dataclasses.replace(scene, spot=dataclasses.replace(SIDE_SPOT, position=(-x, y, z)))
    image = get("embree", samples_per_side=1).render(twin, SIZE)
    assert not accepted(disagreement(scene, image))


def test_sphere_in_closed_form() -> None:
    distance, radius, size = 3.0, 0.5, 96
    camera = Camera(position=(0.0, 0.0, distance), up=(0.0, 1.0, 0.0))
    scene = Scene(sphere(radius, 96), camera=camera, floor=None)
    image = get("embree").render(scene, size)
    steps = ((np.arange(size) + 0.5) / size * 2 - 1) * math.tan(camera.field_of_view_rad / 2)
    square = steps[:, None] ** 2 + steps[None, :] ** 2
    rim = radius**2 / (distance**2 - radius**2)
    inside, outside = square < 0.97 * rim, square > rim
    assert image.mask[inside].all() and not image.mask[outside].any()
    root = np.sqrt(np.maximum(distance**2 - (1 + square) * (distance**2 - radius**2), 0))
    depth = (distance - root) / (1 + square)
    np.testing.assert_allclose(image.depth[inside], depth[inside], atol=2e-3)
    assert np.isinf(image.depth[outside]).all() and (image.rgb[square > 1.3 * rim] == 0).all()


def test_floor_depth_in_closed_form() -> None:
    camera = Camera(position=(0.0, 0.0, 3.0), up=(0.0, 1.0, 0.0))
    image = get("embree").render(Scene(box(), camera=camera, floor=Floor(height=-1.5)), 32)
    assert not image.mask.all()
    np.testing.assert_allclose(image.depth[~image.mask], 4.5, rtol=1e-6)
    np.testing.assert_array_equal(image.normals[~image.mask], [[0, 0, 1]] * (~image.mask).sum())


def test_shadow_of_a_plate_in_closed_form() -> None:
    height, side, light, size = 0.2, 0.3, 4.0, 128
    camera = Camera(position=(0.0, -0.01, 7.0), field_of_view_rad=0.3)
    scene = Scene(plate(side, height), camera=camera, spot=Spot(position=(0.0, 0.0, light)))
    image = get("embree").render(scene, size)
    eye = np.array(camera.position)
    steps = ((np.arange(size) + 0.5) / size * 2 - 1) * math.tan(0.15)
    ahead = -eye / np.linalg.norm(eye)
    up = np.cross([1.0, 0, 0], ahead)
    ways = ahead + steps[None, :, None] * np.array([1.0, 0, 0]) - steps[:, None, None] * up
    points = eye + ((-1 - eye[2]) / ways[..., 2])[..., None] * ways
    half = side / 2 * (light + 1) / (light - height)
    reach = np.abs(points[..., :2]).max(2)
    floor = ~image.mask
    assert image.shadow[floor & (reach < half - 1e-3)].all()
    lit = floor & (reach > half + 1e-3)
    assert lit.any() and not image.shadow[lit].any()


def test_turning_the_object_is_turning_its_vertices() -> None:
    for seed, mesh in enumerate(MESHES.values()):
        turn = rotation(seed)
        turned = Mesh(
            mesh.vertices @ turn.T,
            mesh.faces,
            (mesh.corner_normals @ turn.T).astype(np.float32),
            face_colors=mesh.face_colors,
        )
        renderer = get("embree")
        one, other = renderer.render(Scene(mesh, turn), 64), renderer.render(Scene(turned), 64)
        assert (one.mask != other.mask).sum() <= 2
        assert (np.abs(one.rgb.astype(int) - other.rgb) > 1).any(2).sum() <= 20
        both = one.mask & other.mask
        assert np.median(np.abs(one.depth - other.depth)[both]) < 1e-5


@pytest.mark.parametrize("point", [(0.3, 0.2, -0.1), (-0.4, 0.0, 0.3), (0.0, -0.3, 0.0)])
def test_a_known_point_lands_on_its_pixel(point: tuple[float, float, float]) -> None:
    small = box((0.03, 0.03, 0.03))
    mesh = dataclasses.replace(small, vertices=small.vertices + np.array(point))
    image = get("embree").render(Scene(mesh), 256)
    rows, columns = np.nonzero(image.mask)
    # Default camera at 45°: right is -x, up is (0, -1, 1) / √2, forward (0, -1, -1) / √2.
    x, y, z = point
    depth = 2.5 - (y + z) / math.sqrt(2)
    slope = 36 / 100
    column = 128 * (1 - x / depth / slope)
    row = 128 * (1 - (z - y) / math.sqrt(2) / depth / slope)
    assert abs(columns.mean() + 0.5 - column) < 1.0 and abs(rows.mean() + 0.5 - row) < 1.0


def test_a_mesh_far_from_its_origin_keeps_its_precision() -> None:
    offset = np.array([1000.0, -2000.0, 500.0])
    mesh = dataclasses.replace(box(), vertices=box().vertices + offset)
    near, far = tuple((offset + np.array([0.0, 1.2, 1.2])).tolist()), tuple(offset.tolist())
    camera = Camera(position=near, target=far)
    image = get("embree").render(Scene(mesh, camera=camera, floor=None, spot=None), 32)
    usual = Camera(position=(0.0, 1.2, 1.2))
    expected = get("embree").render(Scene(box(), camera=usual, floor=None, spot=None), 32)
    np.testing.assert_array_equal(image.mask, expected.mask)
    np.testing.assert_allclose(image.depth, expected.depth, atol=1e-5)
