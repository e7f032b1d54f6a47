"""The objects and views that all engines render, and how they travel to other environments.

Imports nothing but numpy and the renderers' scenes: it runs where Blender is.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from renderers import Floor, Mesh, Scene, Spot
from renderers.color import rgb_from_hsv


def torus(center: float, *, major: float, minor: float, steps: int) -> tuple[NDArray, ...]:
    """Vertices, faces and normals of a torus, moved along z."""
    turn = np.arange(steps) * 2 * np.pi / steps
    a, b = np.meshgrid(turn, turn, indexing="ij")
    out = np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], 2)
    ring = np.stack([np.cos(a), np.sin(a), 0 * a], 2)
    vertices = (major * ring + minor * out + [0, 0, center]).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(steps), np.arange(steps), indexing="ij")
    here, next_i = i * steps + j, (i + 1) % steps * steps + j
    here_j, both = i * steps + (j + 1) % steps, (i + 1) % steps * steps + (j + 1) % steps
    faces = np.concatenate(
        [np.stack(t, 2).reshape(-1, 3) for t in ((here, next_i, both), (here, both, here_j))]
    )
    return vertices, faces, out.reshape(-1, 3)


def two_tori() -> Mesh:
    """Two linked-looking tori, 8,650 triangles with smooth normals, radius about 0.5."""
    parts = [
        torus(-0.1, major=0.38, minor=0.09, steps=46),
        torus(0.15, major=0.2, minor=0.12, steps=47),
    ]
    offset = len(parts[0][0])
    faces = np.concatenate([parts[0][1], parts[1][1] + offset]).astype(np.int32)
    normals = np.concatenate([parts[0][2], parts[1][2]])
    colors = np.random.default_rng(0).integers(90, 220, (len(faces), 3)).astype(np.uint8)
    colors[:] = colors[0]
    return Mesh(
        np.concatenate([parts[0][0], parts[1][0]]),
        faces,
        normals[faces].astype(np.float32),
        face_colors=colors,
    )


def views(mesh: Mesh, count: int) -> list[Scene]:
    """The same rotations, lights and colors for everyone, by 3DIEBench's ranges."""
    random = np.random.default_rng(1)
    scenes = []
    for _ in range(count):
        matrix, _ = np.linalg.qr(random.normal(size=(3, 3)))
        polar, turn = random.uniform(0, np.pi / 4), random.uniform(0, 2 * np.pi)
        x, y, z = (
            4 * np.sin(polar) * np.cos(turn),
            4 * np.sin(polar) * np.sin(turn),
            4 * np.cos(polar),
        )
        ground, light = random.uniform(size=2)
        spot = Spot(
            position=(float(x), float(y), float(z)), color=rgb_from_hsv(float(light), 1.0, 0.8)
        )
        floor = Floor(color=rgb_from_hsv(float(ground), 0.6, 0.6))
        rotation = matrix * np.sign(np.linalg.det(matrix))
        scenes.append(Scene(mesh, rotation, floor=floor, spot=spot))
    return scenes


def write_mesh(mesh: Mesh, path: Path) -> None:
    """Write a mesh's arrays as one npz."""
    arrays = {field.name: getattr(mesh, field.name) for field in dataclasses.fields(mesh)}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def read_mesh(path: Path) -> Mesh:
    """Read what :func:`write_mesh` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Mesh(**dict(arrays))
