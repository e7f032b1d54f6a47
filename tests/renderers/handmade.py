"""Small meshes written down by hand, and rotations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from renderers import Mesh, Renderer, Scene


def flat_normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return np.repeat(normals[:, None], 3, axis=1).astype(np.float32)


def painted(vertices: NDArray[np.float64], faces: NDArray[np.int32], seed: int = 0) -> Mesh:
    colors = np.random.default_rng(seed).integers(60, 230, (len(faces), 3)).astype(np.uint8)
    return Mesh(vertices, faces, flat_normals(vertices, faces), face_colors=colors)


def box(size: tuple[float, float, float] = (0.6, 0.4, 0.3)) -> Mesh:
    vertices = np.array(
        [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    ) * np.array(size)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return painted(vertices, np.array(faces, dtype=np.int32))


def sphere(radius: float = 0.5, rings: int = 12, *, shift: float = 0.0) -> Mesh:
    """A sphere with smooth normals, moved along x."""
    around = 2 * rings
    polar = np.linspace(0, math.pi, rings + 1)[:, None]
    turn = np.linspace(0, 2 * math.pi, around + 1)[None]
    grid = np.stack(
        [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar) + 0 * turn], 2
    ).reshape(-1, 3)
    faces = []
    for ring in range(rings):
        for step in range(around):
            a, b = ring * (around + 1) + step, (ring + 1) * (around + 1) + step
            faces += [(a, b, b + 1)] if ring < rings - 1 else []
            faces += [(a, b + 1, a + 1)] if ring > 0 else []
            if ring == rings - 1:
                continue
    index = np.array(faces, dtype=np.int32)
    colors = np.full((len(index), 3), 180, np.uint8)
    vertices = radius * grid + np.array([shift, 0.0, 0.0])
    return Mesh(vertices, index, grid[index].astype(np.float32), face_colors=colors)


def folded_sheet() -> Mesh:
    """Two open triangles and a loose one, wound carelessly: seen from both sides."""
    vertices = np.array(
        [[-0.5, 0, 0.2], [0, -0.4, -0.1], [0, 0.4, -0.1], [0.5, 0, 0.2], [0.1, 0.1, 0.5]]
    )
    return painted(vertices, np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]], dtype=np.int32), 3)


def plate(side: float, height: float, color: int = 200) -> Mesh:
    """A horizontal square."""
    h = side / 2
    vertices = np.array([[-h, -h, height], [h, -h, height], [h, h, height], [-h, h, height]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    mesh = painted(vertices, faces)
    return dataclasses.replace(mesh, face_colors=np.full((2, 3), color, np.uint8))


def rotation(seed: int) -> NDArray[np.float64]:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    turned: NDArray[np.float64] = matrix * np.sign(np.linalg.det(matrix))
    return turned


def check_picture_and_mask(renderer: Renderer) -> None:
    """Both at once are those of the whole rendering."""
    scene = Scene(box(), rotation(4))
    rgb, mask = renderer.render_rgb_and_mask(scene, 32)
    whole = renderer.render(scene, 32)
    np.testing.assert_array_equal(rgb, whole.rgb)
    np.testing.assert_array_equal(mask, whole.mask)
    assert 0 < mask.sum() < mask.size
