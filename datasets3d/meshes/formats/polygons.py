"""Triangles of polygons that are not convex."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
    while len(left) > 3:
        for place in range(len(left)):
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
