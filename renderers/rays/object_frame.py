"""A scene as its object sees it, which is what rays are traced in."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from renderers.color import linear_from_srgb
from renderers.rays.kernels import Position, View
from renderers.scene import Scene, Triple, camera_axes

REFERENCE_DISTANCE = 4.0
BLACK: Position = (0.0, 0.0, 0.0)


def view_of(scene: Scene, center: NDArray[np.float64], radius: float) -> View:
    """Camera, floor and light of a scene in coordinates of the object about a point of it.

    With the object's scale s, rotation R and translation t, a point x of the world is at

        Rᵀ (x - t) / s - center.

    Lengths are divided by s, and the light's energy by s², so that what arrives is what arrives in
    the world; depths along a ray have to be multiplied by s.

    Args:
        scene: What to show.
        center: Of the bounding sphere, in coordinates of the object, shape (3,).
        radius: Of the bounding sphere.
    """
    right, up, forward = camera_axes(scene.camera)
    slope = math.tan(scene.camera.field_of_view_rad / 2.0)
    rotation, scale = scene.rotation, scene.scale

    def place(point: Triple) -> NDArray[np.float64]:
        moved = np.subtract(point, scene.translation) @ rotation
        return moved / scale - center

    floor, spot, ambient = scene.floor, scene.spot, scene.ambient
    light, axis, cos_outer, cos_inner, energy = np.zeros(3), np.zeros(3), 2.0, 2.0, 0.0
    if spot is not None:
        light = place(spot.position)
        axis = place(spot.target) - light
        axis /= np.linalg.norm(axis)
        cos_outer = math.cos(spot.cone_rad / 2.0)
        cos_inner = math.cos(spot.cone_rad / 2.0 * (1.0 - spot.blend))
        energy = spot.energy * REFERENCE_DISTANCE**2 / scale**2
    sunk = float(rotation[2] @ center)
    return View(
        origin=_point(place(scene.camera.position)),
        right=_point(slope * (right @ rotation)),
        up=_point(slope * (up @ rotation)),
        forward=_point(forward @ rotation),
        zenith=_point(rotation[2]),
        radius=radius,
        offset=1e-3 * radius,
        floor_height=-math.inf
        if floor is None
        else (floor.height - scene.translation[2]) / scale - sunk,
        floor_color=BLACK if floor is None else _point(linear_from_srgb(floor.color)),
        light=_point(light),
        axis=_point(axis),
        cos_outer=cos_outer,
        cos_inner=cos_inner,
        energy=energy,
        spot_color=BLACK if spot is None else _point(linear_from_srgb(spot.color)),
        level=float(ambient.level),
        sky=float(ambient.sky),
    )


def _point(vector: NDArray[np.float64]) -> Position:
    x, y, z = vector.tolist()
    return float(x), float(y), float(z)
