"""A slow renderer as the oracle: it turns the vertices, in float64, one triangle at a time.

It shares no code with the library: its own camera, its own color formulas, its own shadows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers import Scene, Spot

Array = NDArray[np.float64]


def _meet(origins: Array, directions: Array, triangle: Array) -> tuple[Array, Array, Array]:
    """Distance (in units of the direction; inf for a miss) and barycentric coordinates."""
    a, b, c = triangle
    with np.errstate(divide="ignore", invalid="ignore"):
        across = np.cross(directions, c - a)
        inverse = 1.0 / (across @ (b - a))
        offset = origins - a
        u = (offset * across).sum(-1) * inverse
        side = np.cross(offset, b - a)
        v = (directions * side).sum(-1) * inverse
        t = (side @ (c - a)) * inverse
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return np.where(hit, t, np.inf), u, v


def _decode(color: Array) -> Array:
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def _encode(light: Array) -> Array:
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def rays(scene: Scene, size: int) -> tuple[Array, Array]:
    """Eye and directions with component 1 along the view, shape (size, size, 3)."""
    camera = scene.camera
    eye = np.array(camera.position, dtype=float)
    ahead = np.array(camera.target) - eye
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, camera.up)
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    slope = np.tan(camera.field_of_view_rad / 2)
    steps = ((np.arange(size) + 0.5) / size * 2 - 1) * slope
    return eye, ahead + steps[None, :, None] * right - steps[:, None, None] * up


def render(scene: Scene, size: int) -> dict[str, NDArray[np.float64]]:
    """All passes, one sample per pixel; "rgb" in grey levels, not rounded."""
    mesh = scene.mesh
    vertices = scene.scale * mesh.vertices @ scene.rotation.T + np.array(scene.translation)
    eye, directions = rays(scene, size)
    flat_directions = directions.reshape(-1, 3)
    count = size * size
    depth, face = np.full(count, np.inf), np.full(count, -1)
    u, v = np.zeros(count), np.zeros(count)
    for index, corners in enumerate(mesh.faces):
        t, tu, tv = _meet(eye, flat_directions, vertices[corners])
        near = t < depth
        depth[near], face[near], u[near], v[near] = t[near], index, tu[near], tv[near]
    thing = face >= 0
    if scene.floor is not None:
        with np.errstate(divide="ignore"):
            t = (scene.floor.height - eye[2]) / flat_directions[:, 2]
        floor = (t > 0) & (t < depth)
        depth[floor] = t[floor]
        thing &= ~floor
    else:
        floor = np.zeros(count, bool)
    seen = thing | floor
    points = eye + np.where(seen, depth, 0)[:, None] * flat_directions
    weights = np.stack([1 - u - v, u, v], 1)[..., None]
    smooth = (weights * mesh.corner_normals[face]).sum(1) @ scene.rotation.T
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True)
    a, b, c = (vertices[mesh.faces[face, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    flat *= -np.sign((flat * flat_directions).sum(1, keepdims=True))
    smooth *= np.where((smooth * flat).sum(1, keepdims=True) < 0, -1, 1)
    above = scene.floor is None or eye[2] >= scene.floor.height
    upward = np.array([0, 0, 1.0 if above else -1.0])
    flat, smooth = (np.where(thing[:, None], n, upward) for n in (flat, smooth))
    albedo = _decode(mesh.face_colors[face] / 255) if mesh.face_colors is not None else 1.0
    if scene.floor is not None:
        albedo = np.where(thing[:, None], albedo, _decode(np.array(scene.floor.color)))
    light = scene.ambient.level * (1 - scene.ambient.sky + scene.ambient.sky * smooth[:, 2])
    color = albedo * light[:, None]
    hidden = np.zeros(count, bool)
    others = []
    for light in (scene.spot, *scene.lights):
        if light is None:
            continue
        lit, dark = _spot(scene, light, vertices, points, flat, smooth)
        color = color + albedo * lit[:, None] * _decode(np.array(light.color))
        if light is scene.spot:
            hidden = dark
        else:
            others.append((dark & seen).reshape(size, size))
    return {
        "rgb": _encode(np.where(seen[:, None], color, 0)).reshape(size, size, 3),
        "depth": depth.reshape(size, size),
        "normals": np.where(seen[:, None], smooth, 0).reshape(size, size, 3),
        "mask": thing.reshape(size, size),
        "shadow": (hidden & seen).reshape(size, size),
        "light_shadows": np.array(others),
    }


def _spot(
    scene: Scene, spot: Spot, vertices: Array, points: Array, flat: Array, smooth: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Irradiance from a spot, and where it is hidden."""
    way = np.array(spot.position) - points
    distance = np.linalg.norm(way, axis=1)
    axis = np.array(spot.target) - np.array(spot.position)
    cosine = -(way @ (axis / np.linalg.norm(axis))) / distance
    outer, inner = np.cos(spot.cone_rad / 2), np.cos(spot.cone_rad / 2 * (1 - spot.blend))
    x = np.clip((cosine - outer) / max(inner - outer, 1e-12), 0, 1)
    blocked = (way * flat).sum(1) <= 0
    if scene.floor is not None:  # a light on the floor's other side
        apart = (points[:, 2] - scene.floor.height) * (spot.position[2] - scene.floor.height)
        blocked |= apart < -1e-9
    starts = points + 1e-4 * flat
    for corners in scene.mesh.faces:
        t, _, _ = _meet(starts, np.array(spot.position) - starts, vertices[corners])
        blocked |= t < 1
    facing = np.clip((way * smooth).sum(1) / distance, 0, None)
    lit = spot.energy * (4 / distance) ** 2 * x * x * (3 - 2 * x) * facing
    return np.where(blocked, 0, lit), blocked & (cosine > outer)
