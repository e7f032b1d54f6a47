"""Where the ink of a picture lies, and how far it may be shifted inside the frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from equivariant.errors import ConventionError


def ink_corners(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Corners of the outermost non-zero pixels of every row, in coordinates of the plane.

    Their convex hull is that of all non-zero pixels, taken as squares.

    Args:
        pictures: Shape (N, height, width), uint8.

    Returns:
        Points (x, y), shape (N, 4 · height, 2), float64; rows without ink repeat those of
        another row, pictures without ink the centre.

    Example:
        >>> picture = np.zeros((1, 4, 4), np.uint8)
        >>> picture[0, 0, 3] = 9
        >>> np.unique(ink_corners(picture)[0], axis=0).tolist()
        [[0.5, 0.5], [0.5, 1.0], [1.0, 0.5], [1.0, 1.0]]
    """
    height, width = pictures.shape[1:]
    ink: NDArray[np.bool_] = pictures > 0
    filled: NDArray[np.bool_] = np.any(ink, axis=2)
    left = ink.argmax(2)
    right = width - ink[:, :, ::-1].argmax(2)
    row = np.broadcast_to(np.arange(height), filled.shape)
    first = filled.argmax(1)[:, None]
    row = np.where(filled, row, first)
    left, right = (np.where(filled, e, np.take_along_axis(e, first, 1)) for e in (left, right))
    x = np.concatenate([left, right, left, right], 1) - 0.5 * width
    y = 0.5 * height - np.concatenate([row, row, row + 1, row + 1], 1)
    corners: NDArray[np.float64] = np.stack([x, y], 2) / (0.5 * min(height, width))
    corners[~np.any(filled, axis=1)] = 0.0
    return corners


def shift_inside(
    linear: NDArray[np.float64], corners: NDArray[np.float64] | None, uniform: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Shifts that keep A · corners in [-1, 1]², uniform; see :class:`AffineLaw`."""
    if corners is None:
        raise ConventionError(
            expected="corners of what must stay inside the frame", got="None", argument="corners",
            advice='Pass ink_corners(pictures), or a law with translation="none".',
        )  # fmt: skip
    x, y = corners[:, :, 0], corners[:, :, 1]
    moved = np.stack([linear[:, i, :1] * x + linear[:, i, 1:] * y for i in range(2)], 1)
    low, high = -1.0 - moved.min(2), 1.0 - moved.max(2)
    shift: NDArray[np.float64] = 0.5 * (low + high) + np.maximum(high - low, 0.0) * (uniform - 0.5)
    return shift
