"""Normals at the corners of triangles, split at creases."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CREASE_RAD = math.radians(30.0)
SLACK_RAD = 1e-4  # a cylinder of twelve sides sits exactly at 30 degrees: count it as smooth
LEVELS = 2**21 - 1  # positions are welded on a grid this fine over the largest extent
BLOCK = 2**21  # most pairs of corners compared at once
CELLS = 64  # per unit of a normal, around vertices of more faces than that


def face_normals(
    vertices: NDArray[np.float64], faces: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit normals and areas of triangles.

    Args:
        vertices: Positions, shape (V, 3).
        faces: Vertex indices, shape (F, 3).

    Returns:
        Normals, shape (F, 3), zero where the area is zero; areas, shape (F,).

    Example:
        >>> normals, areas = face_normals(np.eye(3), np.array([[0, 1, 2]], np.int32))
        >>> bool(np.allclose(normals, 3**-0.5)), round(float(areas[0]), 4)
        (True, 0.866)
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = _cross(b - a, c - a)
    length = np.sqrt(np.einsum("fi,fi->f", cross, cross))
    return cross / np.where(length > 0.0, length, 1.0)[:, None], 0.5 * length


def weld(vertices: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give vertices at the same place the same number.

    Two vertices are at the same place when they fall into one cell of a grid with 2²¹ - 1 steps
    over the largest extent, so those of one position stay together however they are stored.

    Args:
        vertices: Positions, shape (V, 3), finite.

    Returns:
        Numbers 0, 1, ..., shape (V,).

    Example:
        >>> weld(np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 0]])).tolist()
        [0, 1, 0]
    """
    low = vertices.min(0)
    extent = float((vertices.max(0) - low).max())
    step = np.rint((vertices - low) * (LEVELS / extent if extent > 0.0 else 0.0)).astype(np.int64)
    key = (step[:, 0] << 42) | (step[:, 1] << 21) | step[:, 2]
    number: NDArray[np.int64] = np.unique(key, return_inverse=True)[1].reshape(-1)
    return number.astype(np.int64)


def corner_normals(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    *,
    crease_rad: float = CREASE_RAD,
) -> NDArray[np.float32]:
    """Average the normals around each corner, over the faces that continue it smoothly.

    At a corner of face f at vertex v, with θ the angle a face spans at v,

        n ∝ Σ_g θ_g(v) n_g    over the faces g around v with angle(n_f, n_g) ≤ crease

    Vertices at the same place count as one, even where colors or texture coordinates split them.

    Args:
        vertices: Positions, shape (V, 3), finite.
        faces: Vertex indices, shape (F, 3), every area positive.
        crease_rad: Largest angle between faces that are shaded as one surface, in [0, π]. Zero
            gives flat shading.

    Returns:
        Unit normals, shape (F, 3, 3): face, corner, coordinate.

    Example:
        >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
        >>> corner_normals(square, np.array([[0, 1, 2], [0, 2, 3]], np.int32))[1, 2].tolist()
        [0.0, 0.0, 1.0]
    """
    normals, _ = face_normals(vertices, faces)
    weighted = normals[:, None, :] * _corner_angles(vertices, faces)[:, :, None]
    place = weld(vertices)[faces.reshape(-1)]
    order = np.argsort(place, kind="stable")
    valence = np.bincount(place)
    valence = valence[valence > 0]
    start = np.cumsum(valence) - valence
    threshold = math.cos(min(crease_rad + SLACK_RAD, math.pi)) - 1e-12
    own = np.repeat(normals, 3, axis=0)
    total = np.empty_like(own)
    for degree in np.unique(valence):
        corners = order[start[valence == degree][:, None] + np.arange(degree)]
        _gather(own, weighted.reshape(-1, 3), corners, threshold=threshold, total=total)
    length = np.sqrt(np.einsum("ci,ci->c", total, total))[:, None]
    smooth = np.where(length > 1e-9, total / np.where(length > 1e-9, length, 1.0), own)
    return smooth.reshape(-1, 3, 3).astype(np.float32)


def _gather(
    own: NDArray[np.float64],
    weighted: NDArray[np.float64],
    corners: NDArray[np.int64],
    *,
    threshold: float,
    total: NDArray[np.float64],
) -> None:
    """Add up, for vertices of one valence d with corners of shape (k, d), in bounded memory."""
    degree = corners.shape[1]
    if degree * degree > BLOCK:
        for vertex in corners:
            total[vertex] = _gather_around(own[vertex], weighted[vertex], threshold)
        return
    size = max(1, BLOCK // (degree * degree))
    for first in range(0, len(corners), size):
        some = corners[first : first + size]
        direction = own[some]
        near = direction @ direction.transpose(0, 2, 1) >= threshold
        total[some] = near.astype(np.float64) @ weighted[some]


def _gather_around(
    own: NDArray[np.float64], weighted: NDArray[np.float64], threshold: float
) -> NDArray[np.float64]:
    """The same around one vertex of very many faces, whose normals are first put into cells.

    A cell is a degree wide. Pairs of cells are compared in place of pairs of faces, which would
    take minutes where a hundred thousand of them meet.
    """
    cell, member = np.unique(np.rint(own * CELLS).astype(np.int16), axis=0, return_inverse=True)[:2]
    sums = np.zeros((len(cell), 3))
    np.add.at(sums, member.reshape(-1), weighted)
    middle = np.zeros((len(cell), 3))
    np.add.at(middle, member.reshape(-1), own)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    rows = max(1, BLOCK // len(cell))
    found = np.concatenate([
        (middle[first : first + rows] @ middle.T >= threshold).astype(np.float64) @ sums
        for first in range(0, len(cell), rows)
    ])  # fmt: skip
    gathered: NDArray[np.float64] = found[member.reshape(-1)]
    return gathered


def _corner_angles(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """The angle each face spans at each of its corners, shape (F, 3), in (0, π)."""
    points = vertices[faces]
    ahead = points[:, [1, 2, 0]] - points
    back = points[:, [2, 0, 1]] - points
    cross = _cross(ahead.reshape(-1, 3), back.reshape(-1, 3))
    sine = np.sqrt(np.einsum("ci,ci->c", cross, cross)).reshape(-1, 3)
    angles: NDArray[np.float64] = np.arctan2(sine, np.einsum("fki,fki->fk", ahead, back))
    return angles


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cross products of rows; several times faster than numpy's for short rows."""
    out = np.empty_like(a)
    out[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    out[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    out[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return out
