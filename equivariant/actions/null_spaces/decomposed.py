"""Null spaces of few unknowns, by singular values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from equivariant.errors import ConventionError

Matrices = NDArray[np.float64]

_NULL = 1e-9  # singular values below this share of the largest count as zero
_GAP = 1e4  # by how much the first that does not exceeds the last that does


def decomposed(C: Matrices) -> Matrices:
    """Orthonormal basis of the null space of a matrix with a clear gap.

    Args:
        C: Shape (conditions, unknowns), float64, finite.

    Returns:
        Shape (unknowns, rank).

    Raises:
        ConventionError: Between zero and the other singular values there is no gap.

    Example:
        >>> abs(decomposed(np.array([[1.0, 0.0], [1.0, 0.0]]))).round(12)
        array([[0.],
               [1.]])
    """
    if C.shape[0] > 2 * C.shape[1]:
        C = np.linalg.qr(C)[1]
    if C.shape[0] < C.shape[1]:
        C = np.concatenate([C, np.zeros((C.shape[1] - C.shape[0], C.shape[1]))])
    _, s, vh = np.linalg.svd(C, full_matrices=False)
    rank = _count_zeros(s)
    found: Matrices = vh[len(s) - rank :].T
    return found


def unclear(first: float, last: float) -> ConventionError:
    """That a rank cannot be told, from two neighbouring singular values over the largest."""
    return ConventionError(
        expected="singular values with a clear gap between zero and the rest",
        got=f"neighbours {first:.1e} and {last:.1e} of the largest", argument="act_in",
        advice="Actions must be exact in float64, and elements no small distance from others.",
    )  # fmt: skip


def _count_zeros(s: Matrices) -> int:
    """How many of descending singular values are zero, relative to the first, with a gap check."""
    if s[0] < 1e-12:
        return len(s)
    relative = s / s[0]
    zeros = int((relative <= _NULL).sum())
    if 0 < zeros < len(s):
        last, first = max(relative[-zeros], len(s) * np.finfo(float).eps), relative[-zeros - 1]
        if first < _GAP * last:
            raise unclear(first, last)
    return zeros
