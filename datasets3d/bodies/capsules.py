"""Closed surfaces of triangles in the shape of capsules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.solids import Solid

AROUND = 20
CAP_ROWS = 5


def capsule(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    *,
    radius: float,
    end_radius: float | None = None,
    depth: float = 1.0,
    front: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> Solid:
    """The surface around a segment: a tube with a half ball on either end.

    Args:
        start: One end of the segment, shape (3,).
        end: The other; where both are the same the capsule is a ball.
        radius: Of the tube and of the half ball at the start, positive, in the unit of the ends.
        end_radius: Of the half ball at the end, to which the tube narrows; None takes ``radius``.
        depth: Factor of the thickness along ``front``, positive: below 1 the capsule is flat.
        front: Direction of the depth; its part across the segment counts.

    Returns:
        Vertices (V, 3), float64, on the surface, and faces (F, 3), int32, counter-clockwise seen
        from outside; every edge belongs to two faces.

    Example:
        >>> vertices, faces = capsule(np.zeros(3), np.array([0.0, 0, 2]), radius=0.5)
        >>> vertices.min(0).round(6).tolist(), vertices.max(0).round(6).tolist()
        ([-0.5, -0.5, -0.5], [0.5, 0.5, 2.5])
    """
    along, side, ahead = _frame(end - start, np.array(front))
    far = radius if end_radius is None else end_radius
    polar = np.linspace(0.0, np.pi / 2.0, CAP_ROWS + 1)
    # rows from the pole at the start to the pole at the end: (place along, radius across)
    low = [(-radius * np.cos(t), radius * np.sin(t)) for t in polar[1:]]
    high = [(far * np.cos(t), far * np.sin(t)) for t in polar[:0:-1]]
    rows = [start + a * along for a, _ in low] + [end + a * along for a, _ in high]
    across = np.array([r for _, r in (*low, *high)])
    angle = np.arange(AROUND) * (2.0 * np.pi / AROUND)
    circle = np.outer(np.cos(angle), side) + depth * np.outer(np.sin(angle), ahead)
    rings = np.array(rows)[:, None, :] + across[:, None, None] * circle[None]
    poles = np.stack((start - radius * along, end + far * along))
    return np.vstack((rings.reshape(-1, 3), poles)), _faces(len(rows))


def inside_capsule(
    points: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    *,
    radius: float,
    end_radius: float | None = None,
    depth: float = 1.0,
    front: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> NDArray[np.bool_]:
    """Which points are inside of a capsule, whose arguments are those of :func:`capsule`.

    Args:
        points: Shape (N, 3).
        start: One end of the segment, shape (3,).
        end: The other.
        radius: At the start.
        end_radius: At the end; None takes ``radius``.
        depth: Factor of the thickness along ``front``.
        front: Direction of the depth.

    Returns:
        Shape (N,), bool; points on the surface of the true capsule are not inside.

    Example:
        >>> middle = np.array([[0.0, 0.4, 1.0], [0.0, 0.6, 1.0]])
        >>> inside_capsule(middle, np.zeros(3), np.array([0.0, 0, 2]), radius=0.5).tolist()
        [True, False]
    """
    along, side, ahead = _frame(end - start, np.array(front))
    far, length = radius if end_radius is None else end_radius, float(np.linalg.norm(end - start))
    away = points - start
    place = away @ along
    across = np.hypot(away @ side, (away @ ahead) / depth)
    share = np.clip(place / length, 0.0, 1.0) if length > 0.0 else np.zeros(len(points))
    # beyond an end the distance to that end counts, between them the distance to the axis
    beyond = place - share * length
    found: NDArray[np.bool_] = np.hypot(across, beyond) < radius + share * (far - radius)
    return found


def _frame(
    axis: NDArray[np.float64], front: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A right-handed frame: sideways, ahead, along; any direction along for a ball."""
    length = float(np.linalg.norm(axis))
    along = axis / length if length > 0.0 else np.array([0.0, 1.0, 0.0])
    ahead = front - (front @ along) * along
    if np.linalg.norm(ahead) < 1e-6:
        other = np.eye(3)[int(np.abs(along).argmin())]
        ahead = other - (other @ along) * along
    ahead /= np.linalg.norm(ahead)
    return along, np.cross(ahead, along), ahead


def _faces(rows: int) -> NDArray[np.int32]:
    i = np.arange(AROUND)
    j = (i + 1) % AROUND
    first, last = rows * AROUND, (rows - 1) * AROUND
    faces = [np.stack((np.full(AROUND, first), j, i), 1)]
    for row in range(0, last, AROUND):
        above = row + AROUND
        faces.append(np.stack((row + i, row + j, above + j), 1))
        faces.append(np.stack((row + i, above + j, above + i), 1))
    faces.append(np.stack((np.full(AROUND, first + 1), last + i, last + j), 1))
    return np.vstack(faces).astype(np.int32)
