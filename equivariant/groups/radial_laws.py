"""Laws of the singular values of Haar-distributed matrices, by inverse distribution functions.

Haar measure of GL(n) and SL(n) is Π_{i<j} sinh(h_i - h_j) dh in the logarithms h of the singular
values. It is cut off where a deviation |h_i - mean h| exceeds the radius S.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equivariant.groups.numerics import power_series
from equivariant.shapes import Float, Scalar

# Gauss-Legendre rule on [0, 1].
_NODES, _WEIGHTS = (torch.from_numpy(0.5 * row) for row in np.polynomial.legendre.leggauss(10))
_NODES += 0.5
_CELLS = 128  # of a table, on either side of the kink
_STEPS = 60
_ROUNDING = 1e-13
# (sinh x - x) / x³ in x².
_CUBIC = (1 / 6, 1 / 120, 1 / 5040, 1 / 362880, 1 / 39916800)


def plane_deviations(u: Float[Tensor, "... 1"], radius: float) -> Float[Tensor, "... 2"]:
    """(s, -s) with density sinh(2s) on [0, S]: sinh² s = u sinh² S.

    Args:
        u: Uniform numbers in [0, 1], float64.
        radius: S, positive.

    Returns:
        Deviations of h from its mean, shape (..., 2), the larger first.

    Example:
        >>> plane_deviations(torch.tensor([1.0]), 0.5)
        tensor([ 0.5000, -0.5000])
    """
    s = torch.asinh(u.sqrt() * math.sinh(radius))
    return torch.cat([s, -s], -1)


def space_deviations(u: Float[Tensor, "... 2"], radius: float) -> Float[Tensor, "... 3"]:
    """(d₁, d₂, d₃) of sum 0 with density Π_{i<j} sinh(d_i - d_j) where all |d_i| <= S.

    In the gaps a = d₁ - d₂ and b = d₂ - d₃ the density is sinh a sinh b sinh(a + b), on
    2a + b <= 3S and a + 2b <= 3S. The integral over b is closed,

        E(a, b) = ∫₀ᵇ sinh t sinh(a + t) dt = cosh a (sinh 2b - 2b) / 4 + sinh a sinh² b / 2,

    and gives b from a; the law of a, sinh a E(a, largest b), is inverted by a table of its
    integrals and Newton's method inside a cell.

    Args:
        u: Uniform numbers in [0, 1], float64.
        radius: S, positive.

    Returns:
        Deviations of h from its mean, shape (..., 3), in decreasing order.
    """
    a = _first_gap(u[..., 0], radius)
    b = _second_gap(a, u[..., 1], radius)
    return torch.stack([2 * a + b, b - a, -a - 2 * b], -1) / 3


def plane_volume(radius: float) -> float:
    """∫ sinh(h₁ - h₂) over the deviations, in the coordinate of (1, -1) / √2."""
    return math.sqrt(2.0) * math.sinh(radius) ** 2


def space_volume(radius: float) -> float:
    """∫ Π sinh(h_i - h_j) over the deviations, in orthonormal coordinates of the plane of sum 0.

    da db is √3 times their area.
    """
    return float(_table(radius)[1][-1]) / math.sqrt(3.0)


def _first_gap(u: Tensor, radius: float) -> Tensor:
    edges, sums = (torch.from_numpy(row).to(u.device) for row in _table(radius))
    aim = u * sums[-1]
    cell = torch.searchsorted(sums, aim.contiguous(), right=True).clamp(1, len(sums) - 1) - 1
    start, rest = edges[cell], aim - sums[cell]
    low, high = start, edges[cell + 1]
    a = 0.5 * (low + high)
    for _ in range(_STEPS):  # Newton's method, halving where it leaves what encloses the root
        off = _integral(start, a, radius) - rest
        low, high = torch.where(off > 0, low, a), torch.where(off > 0, a, high)
        slope = _first_density(a, radius)
        step = a - off / torch.where(slope > 0, slope, 1.0)
        before, a = a, torch.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        if _settled(before, a, radius):
            break
    return a


def _second_gap(a: Tensor, u: Tensor, radius: float) -> Tensor:
    """Newton's method from above: E(a, b) is convex in b, so it comes down to the root."""
    b = _largest(a, radius)
    aim = u * _inner(a, b)
    for _ in range(_STEPS):
        slope = b.sinh() * (a + b).sinh()
        before = b
        b = (b - (_inner(a, b) - aim) / torch.where(slope > 0, slope, 1.0)).clamp(min=0.0)
        if _settled(before, b, radius):
            break
    return b


def _settled(before: Tensor, after: Tensor, radius: float) -> bool:
    return not bool(((after - before).abs() > _ROUNDING * radius).any())


@functools.lru_cache(maxsize=64)
def _table(radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges of cells of the first gap, with one at its kink a = S, and integrals up to them."""
    below = np.linspace(0.0, radius, _CELLS + 1)
    above = np.linspace(radius, 1.5 * radius, _CELLS + 1)
    edges = np.concatenate([below, above[1:]])
    start, end = torch.from_numpy(edges[:-1]), torch.from_numpy(edges[1:])
    cells = _integral(start, end, radius).numpy()
    return edges, np.concatenate([[0.0], np.cumsum(cells)])


def _integral(start: Tensor, end: Tensor, radius: float) -> Tensor:
    """∫ of the density of the first gap over an interval inside one cell."""
    width = (end - start).unsqueeze(-1)
    nodes, weights = _NODES.to(start.device), _WEIGHTS.to(start.device)
    found: Tensor = _first_density(start.unsqueeze(-1) + width * nodes, radius) @ weights
    return found * width.squeeze(-1)


def _first_density(a: Tensor, radius: float) -> Tensor:
    return a.sinh() * _inner(a, _largest(a, radius))


def _largest(a: Tensor, radius: float) -> Tensor:
    """The largest second gap."""
    return torch.minimum(1.5 * radius - 0.5 * a, 3 * radius - 2 * a).clamp(min=0.0)


def _inner(a: Scalar, b: Scalar) -> Scalar:
    """E(a, b), a sum of positive terms."""
    x = 2 * b
    t = x.square().clamp(max=0.25)
    series = x**3 * power_series(t, _CUBIC)
    cubic = torch.where(x < 0.5, series, x.sinh() - x)
    return 0.25 * a.cosh() * cubic + 0.5 * a.sinh() * b.sinh().square()
