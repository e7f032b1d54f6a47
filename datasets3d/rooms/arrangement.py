"""Places of furniture on a floor: drawn at random, nothing overlaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from equivariant.errors import ConventionError

TRIES = 200
RESTARTS = 50


def arrange(
    half_sizes: NDArray[np.float64],
    floor_half_sizes: tuple[float, float],
    *,
    generator: np.random.Generator,
    gap: float = 0.05,
) -> NDArray[np.float64]:
    """Draw a place and a turn for each of some rectangles so that none overlap or stick out.

    Rectangles are placed one after another, each uniform among the places and turns where it fits
    beside those before it; when one does not fit after some tries, all are taken up again.

    Args:
        half_sizes: Half the width and depth of each rectangle, shape (objects, 2), metres.
        floor_half_sizes: Half the floor's extents along x and y, metres.
        generator: Source of the draws.
        gap: Room between any two, at least 0, metres.

    Returns:
        x, y in metres and the turn about z in radians, shape (objects, 3), float64.

    Raises:
        ConventionError: They do not fit on the floor.

    Example:
        >>> places = arrange(np.full((4, 2), 0.3), (2.0, 2.0), generator=np.random.default_rng(0))
        >>> places.shape, bool((abs(places[:, :2]) < 2.0).all())
        ((4, 3), True)
    """
    # large ones first: they are hardest to place
    order = np.argsort(-half_sizes.prod(1), kind="stable")
    limits = np.array(floor_half_sizes)
    for _ in range(RESTARTS):
        placed: dict[int, NDArray[np.float64]] = {}
        for index in order.tolist():
            grown = half_sizes[index] + gap / 2.0
            for _ in range(TRIES):
                u = generator.random(3)
                turn = 2.0 * np.pi * u[2] - np.pi
                free = limits - reach(grown, turn)
                place = np.array([*((2.0 * u[:2] - 1.0) * free), turn])
                others = ((p, half_sizes[k] + gap / 2.0) for k, p in placed.items())
                if (free >= 0.0).all() and not any(
                    overlap(place, grown, p, size) for p, size in others
                ):
                    placed[index] = place
                    break
            if index not in placed:
                break
        if len(placed) == len(half_sizes):
            return np.array([placed[k] for k in range(len(half_sizes))]).reshape(-1, 3)
    raise ConventionError(
        expected=f"furniture that fits on a floor of {2 * limits[0]:.2f} by {2 * limits[1]:.2f} m",
        got=f"{len(half_sizes)} objects on {float(4 * half_sizes.prod(1).sum()):.2f} m²",
        argument="size_m", advice="Make the rooms larger, or put less into them.",
    )  # fmt: skip


def reach(half_size: NDArray[np.float64], turn_rad: float) -> NDArray[np.float64]:
    """How far a turned rectangle reaches along x and y, shape (2,).

    Example:
        >>> reach(np.array([2.0, 1.0]), np.pi / 2).round(6).tolist()
        [1.0, 2.0]
    """
    cosine, sine = abs(np.cos(turn_rad)), abs(np.sin(turn_rad))
    w, d = half_size
    return np.array([cosine * w + sine * d, sine * w + cosine * d])


def overlap(
    a: NDArray[np.float64],
    a_half_size: NDArray[np.float64],
    b: NDArray[np.float64],
    b_half_size: NDArray[np.float64],
) -> bool:
    """Whether two rectangles meet: no side of either separates them.

    Args:
        a: x, y and turn of one, shape (3,).
        a_half_size: Half its extents, shape (2,).
        b: The other.
        b_half_size: Half its extents.

    Example:
        >>> square = np.array([0.5, 0.5])
        >>> overlap(np.zeros(3), square, np.array([1.1, 0.0, np.pi / 4]), square)
        True
        >>> overlap(np.zeros(3), square, np.array([1.3, 0.0, np.pi / 4]), square)
        False
    """
    away = b[:2] - a[:2]
    for turn in (a[2], b[2]):
        for axis in (turn, turn + np.pi / 2.0):
            # seen along the axis: the distance of the centers against the two half shadows
            direction = np.array([np.cos(axis), np.sin(axis)])
            shadows = reach(a_half_size, a[2] - axis)[0] + reach(b_half_size, b[2] - axis)[0]
            if abs(away @ direction) > shadows:
                return False
    return True
