"""Triangles of polygons that are not convex."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def triangulated(
    points: NDArray[np.float64], polygons: Sequence[NDArray[np.integer]] | NDArray[np.integer]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Triangles of polygons: fans where they are convex, cut ears where they are not.

    Args:
        points: Shape (V, 3).
        polygons: Numbers of the corners of each, or an array of triangles; those of fewer than
            three corners are passed over.

    Returns:
        Corners of the triangles, shape (T, 3), and the polygon that each is a part of, shape (T,).

    Raises:
        ValueError: A corner is no point.

    Example:
        >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
        >>> triangulated(square, [np.array([0, 1, 2, 3]), np.array([0, 1, 2])])[1].tolist()
        [0, 0, 1]
    """
    if isinstance(polygons, np.ndarray) and polygons.ndim == 2 and polygons.shape[1] == 3:
        _check(polygons, points)
        return polygons.astype(np.int32), np.arange(len(polygons))
    sizes = np.array([len(polygon) for polygon in polygons], np.int64)
    triangles, owners = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    for size in np.unique(sizes[sizes >= 3]):
        rows = np.flatnonzero(sizes == size)
        corners = np.stack([polygons[int(row)] for row in rows]).astype(np.int64)
        _check(corners, points)
        bent = np.zeros(len(rows), np.bool_) if size == 3 else ~_fan_is_right(points[corners])
        middle = np.arange(1, size - 1)
        fans = corners[~bent][:, np.stack([0 * middle, middle, middle + 1], 1)]
        triangles.append(fans.reshape(-1, 3))
        owners.append(np.repeat(rows[~bent], size - 2))
        for row, polygon in zip(rows[bent], corners[bent], strict=True):
            fan = [(0, k, k + 1) for k in range(1, size - 1)]
            ears = polygon[np.array(ear_clipped(points[polygon]) or fan)]
            triangles.append(ears)
            owners.append(np.full(len(ears), row))
    order = np.argsort(np.concatenate(owners), kind="stable")
    return (
        np.concatenate(triangles)[order].astype(np.int32),
        np.concatenate(owners)[order].astype(np.int64),
    )


def _check(corners: NDArray[np.integer], points: NDArray[np.float64]) -> None:
    if corners.size and not 0 <= corners.min() <= corners.max() < len(points):
        raise ValueError("a face names a vertex that is not there")


def _fan_is_right(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether all triangles of a polygon's fan turn as it does, for polygons of shape (P, n, 3)."""
    with np.errstate(all="ignore"):
        spokes = corners[:, 1:] - corners[:, :1]
        normals = np.cross(spokes[:, :-1], spokes[:, 1:])
        whole = normals.sum(1, keepdims=True)
        scale = np.sqrt((normals**2).sum(-1)) * np.sqrt((whole**2).sum(-1))
        right: NDArray[np.bool_] = ((normals * whole).sum(-1) >= -1e-9 * scale).all(1)
    return right


def ear_clipped(points: NDArray[np.float64]) -> list[tuple[int, int, int]] | None:
    """Triangles of a polygon that is not convex, by cutting off ears; None where a fan is right.

    A corner is an ear where it turns the way the polygon does and no other corner lies in its
    triangle. The polygon is projected along its area vector; one without area gets a fan.

    Args:
        points: Corners in order, shape (n, 3), n >= 4.

    Returns:
        n - 2 triangles of corner numbers, of the polygon's orientation, or None.

    Example:
        >>> arrow = np.array([[2.0, -1, 0], [1, 0, 0], [2, 1, 0], [0, 0, 0]])
        >>> ear_clipped(arrow)
        [(3, 0, 1), (1, 2, 3)]
        >>> ear_clipped(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])) is None
        True
    """
    ahead = np.roll(points, -1, axis=0)
    normal = np.cross(points, ahead).sum(0)
    if not np.isfinite(normal).all() or not normal.any():
        return None
    drop = int(np.abs(normal).argmax())
    first, second = (drop + 1) % 3, (drop + 2) % 3
    plane = points[:, [first, second]] * np.sign(normal[drop]) ** np.array([0, 1])
    if _convex(plane):
        return None
    return _clip(plane)


def _clip(plane: NDArray[np.float64]) -> list[tuple[int, int, int]]:
    left, found = list(range(len(plane))), []
    start = 0  # ears are looked for from the last one on: beside it there often is another
    while len(left) > 3:
        for step in range(len(left)):
            place = (start + step) % len(left)
            a, b, c = left[place - 1], left[place], left[(place + 1) % len(left)]
            others = [k for k in left if k not in (a, b, c)]
            turns = _turn(plane[a], plane[b], plane[c]) > 0
            if turns and not _inside(plane[[a, b, c]], plane[others]):
                break
        else:  # it crosses itself: no ear is left, and any triangles are as good
            place = 0
            a, b, c = left[-1], left[0], left[1]
        found.append((a, b, c))
        left.pop(place)
        start = max(place - 1, 0)
    return [*found, (left[0], left[1], left[2])]


def _convex(plane: NDArray[np.float64]) -> bool:
    ahead = np.roll(plane, -1, axis=0) - plane
    further = np.roll(ahead, -1, axis=0)
    turns = ahead[:, 0] * further[:, 1] - ahead[:, 1] * further[:, 0]
    scale = np.abs(ahead).max() ** 2
    return bool((turns >= -1e-9 * scale).all())


def _turn(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> float:
    return float((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]))


def _inside(triangle: NDArray[np.float64], points: NDArray[np.float64]) -> bool:
    """Whether any point lies in the triangle, which turns counter-clockwise, or on its edges."""
    if not len(points):
        return False
    edges = np.roll(triangle, -1, axis=0) - triangle
    apart = points[:, None] - triangle
    sides = edges[:, 0] * apart[..., 1] - edges[:, 1] * apart[..., 0]
    corner = (apart == 0).all(-1).any(1)
    return bool(((sides >= 0).all(1) & ~corner).any())
