"""What a view must hold, from its latent and its mesh alone: SciPy's rotations, a camera matrix
written down here, and every pixel's ray against every triangle in float64. Shares no code with
the library."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

DISTANCE, FOCAL_MM, SENSOR_MM = 2.5, 50.0, 36.0
FLOOR, SPOT_DISTANCE, HALF_CONE = -1.0, 4.0, np.pi / 16


def pose(latent):
    """World from object."""
    return Rotation.from_euler("xyz", latent[:3]).as_matrix()


def camera(size):
    """K for pixel centers at whole numbers, and [R | t] from world to OpenCV's axes."""
    eye = DISTANCE * np.array([0.0, np.sin(np.pi / 4), np.cos(np.pi / 4)])
    ahead = -eye / DISTANCE
    right = np.array([-1.0, 0.0, 0.0])
    down = np.cross(ahead, right)
    R = np.stack([right, down, ahead])
    focal = size * FOCAL_MM / SENSOR_MM
    K = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1]])
    return K, np.column_stack([R, -R @ eye]), eye


def project(points, latent, size):
    """Pixels (u, v) and depths of points of the object."""
    K, W, _ = camera(size)
    world = points @ pose(latent).T
    seen = (world @ W[:, :3].T + W[:, 3]) @ K.T
    return seen[..., :2] / seen[..., 2:], seen[..., 2]


def spot(latent):
    theta, phi = latent[4:6]
    return SPOT_DISTANCE * np.array(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
    )


def cast(origins, ways, triangles):
    """Nearest distance in units of the way, face, and barycentric weights of the hit."""
    best, face = np.full(len(ways), np.inf), np.full(len(ways), -1)
    weights = np.zeros((len(ways), 3))
    for index, (a, b, c) in enumerate(triangles):
        with np.errstate(divide="ignore", invalid="ignore"):
            h = np.cross(ways, c - a)
            scale = 1.0 / (h @ (b - a))
            s = origins - a
            u = (s * h).sum(-1) * scale
            q = np.cross(s, b - a)
            v = (q * ways).sum(-1) * scale
            t = (q @ (c - a)) * scale
            near = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1e-6) & (t < best)
        best[near], face[near] = t[near], index
        weights[near] = np.stack([1 - u - v, u, v], 1)[near]
    return best, face, weights


def view(mesh, latent, size):
    """Depth, mask, faces, coordinates, smooth normals and shadow of every pixel's center."""
    K, W, eye = camera(size)
    R = pose(latent)
    triangles = (mesh.vertices @ R.T)[mesh.faces]
    v, u = np.mgrid[:size, :size]
    rays = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ np.linalg.inv(K).T
    ways = rays @ W[:, :3]
    depth, face, weights = cast(eye, ways, triangles)
    mask = face >= 0
    with np.errstate(divide="ignore"):
        floor = (FLOOR - eye[2]) / ways[:, 2]
    floor = np.where(floor > 0, floor, np.inf)
    mask &= depth <= floor
    depth = np.where(mask, depth, floor)
    x = np.einsum("nk,nki->ni", weights, mesh.vertices[mesh.faces[face]])
    n = np.einsum("nk,nki->ni", weights, mesh.corner_normals[face]) @ R.T
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
    flat = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[face]
    normals = np.where(mask[:, None], n, [0.0, 0.0, 1.0])
    light = spot(latent)
    points = eye + depth[:, None] * ways
    to_light = light - points
    away = -to_light / np.linalg.norm(to_light, axis=1, keepdims=True)
    in_cone = away @ (-light / SPOT_DISTANCE) >= np.cos(HALF_CONE)
    flat = np.where(mask[:, None], flat, [0.0, 0.0, 1.0])
    side = np.sign((flat * -ways).sum(1))  # of the surface, that the camera sees
    lit_side = (flat * to_light).sum(1) * side > 0
    blocked, _, _ = cast(points + 1e-4 * side[:, None] * flat, to_light, triangles)
    shape = (size, size)
    return {
        "depth": depth.reshape(shape),
        "mask": mask.reshape(shape),
        "faces": np.where(mask, face, -1).reshape(shape),
        "coordinates": np.where(mask[:, None], x, np.nan).reshape(*shape, 3),
        "normals": normals.reshape(*shape, 3),
        "shadow": (in_cone & ((blocked < 1.0) | ~lit_side)).reshape(shape),
    }
