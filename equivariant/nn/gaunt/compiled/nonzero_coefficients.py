"""The coefficients of a form that are not zero, as a list."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.harmonics.sphere_grid import grid_tables

Integers = NDArray[np.int64]
SMALLEST = 1e-10  # of a coefficient; what is zero comes out of quadrature below 1e-13


@dataclass(frozen=True, eq=False)
class Couplings:
    """The form Σ value · x1[first] x2[second] x3[third], for each channel, and its couplings.

    Args:
        first: Places of the first factors, shape (terms,).
        second: Of the second.
        third: Of the third.
        path: Number of the coupling l1 ⊗ l2 → l3 that each term belongs to.
        value: Coefficients, float64.
        sizes: Numbers of places of the three operands.
        paths: Number of couplings.

    Example:
        >>> len(harmonic_couplings(2, 2, 2, "even", "integral").value)
        83
    """

    first: Integers
    second: Integers
    third: Integers
    path: Integers
    value: NDArray[np.float64]
    sizes: tuple[int, int, int]
    paths: int


@lru_cache(maxsize=64)
def harmonic_couplings(
    L1: int, L2: int, L3: int, kind: Kind, normalization: Normalization
) -> Couplings:
    """All coefficients between functions of given degrees, by quadrature in float64.

    Args:
        L1: Largest degree of the first function, at least 0.
        L2: Of the second.
        L3: Of the third.
        kind: "even", ∫ Y_a Y_b Y_c, or "odd", ∫ {Y_a, Y_b} Y_c.
        normalization: See :func:`real_harmonics`.

    Returns:
        The list; the place of Y_lm is l² + l + m.

    Example:
        >>> len(harmonic_couplings(1, 1, 1, "odd", "integral").value)
        6
    """
    degrees = (L1, L2, L3)
    settings = (sum(degrees), normalization, torch.float64, torch.device("cpu"))
    (y1, b1, a1), (y2, b2, a2) = (
        [table.numpy() for table in grid_tables(degree, *settings)[:3]] for degree in degrees[:2]
    )
    projection = grid_tables(L3, *settings)[3].numpy()
    degree = np.repeat(np.arange(max(degrees) + 1), 2 * np.arange(max(degrees) + 1) + 1)
    found = []
    for one in range((L1 + 1) ** 2):
        if kind == "even":
            block = (y1[one] * y2) @ projection
        else:
            block = (b1[one] * a2 - a1[one] * b2) @ projection
        two, three = np.nonzero(_allowed(int(degree[one]), degree[: len(y2)], L3, degree, kind))
        value = block[two, three]
        keep = np.abs(value) > SMALLEST
        ones = np.full(int(keep.sum()), one)
        found.append((ones, two[keep], three[keep], value[keep]))
    first, second, third, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    code = (degree[first] * (L2 + 1) + degree[second]) * (L3 + 1) + degree[third]
    names, path = np.unique(code, return_inverse=True)
    sizes = ((L1 + 1) ** 2, (L2 + 1) ** 2, (L3 + 1) ** 2)
    return Couplings(first, second, third, path.reshape(-1), value, sizes, len(names))


def _allowed(l1: int, l2: Integers, L3: int, degree: Integers, kind: Kind) -> NDArray[np.bool_]:
    """Which pairs of a second and a third place can meet a first one of degree l1."""
    l3 = degree[: (L3 + 1) ** 2]
    total = l1 + l2[:, None] + l3
    longest = np.maximum(np.maximum(l1, l2[:, None]), l3)
    allowed: NDArray[np.bool_] = (2 * longest <= total) & (total % 2 == (kind == "odd"))
    return allowed


def largest_degree(size: int) -> int:
    """Degree L of (L+1)² coefficients.

    Args:
        size: Number of coefficients.

    Returns:
        L.

    Example:
        >>> largest_degree(16)
        3
    """
    return math.isqrt(size) - 1
