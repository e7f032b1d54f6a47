"""Factors per degree that make a sum of couplings nearly uniform, as Clebsch and Gordan's is."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from equivariant.harmonics.coupling_coefficients import gaunt_constant, poisson_constant
from equivariant.harmonics.real_harmonics import Kind, Normalization, degree_scales

PathNorm = Literal["none", "cg-like"]
ROUNDS = 200


class DegreeFactors(NamedTuple):
    """One factor per degree of both operands and of the result."""

    first: tuple[float, ...]
    second: tuple[float, ...]
    third: tuple[float, ...]


@lru_cache(maxsize=256)
def degree_factors(
    L1: int, L2: int, L3: int, *, kind: Kind, normalization: Normalization, path_norm: PathNorm
) -> DegreeFactors:
    """Factors a, b and d with a_l1 b_l2 d_l3 c(l1, l2, l3) near 1.

    Here c is :func:`gaunt_constant` or :func:`poisson_constant` in the given normalization, so
    that couplings count about as much as Wigner's symbols of unit norm. The factors minimize
    Σ (a b d c − 1)² over the couplings there are, by alternating least squares from ones.

    Args:
        L1: Largest degree of the first operand.
        L2: Of the second.
        L3: Of the result.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.
        path_norm: "cg-like" as above; "none" returns ones.

    Returns:
        The factors; those of degrees without a coupling are 1.

    Example:
        >>> f = degree_factors(1, 1, 0, kind="even", normalization="norm", path_norm="cg-like")
        >>> round(f.first[1] * f.second[1] * f.third[0] / 3**0.5, 6)  # 3j(110;000) = 1/√3
        1.0
    """
    degrees = (L1, L2, L3)
    if path_norm == "none":
        first, second, third = ((1.0,) * (degree + 1) for degree in degrees)
        return DegreeFactors(first, second, third)
    constant = gaunt_constant if kind == "even" else poisson_constant
    table = np.array(
        [constant(*ls) for ls in product(*(range(degree + 1) for degree in degrees))]
    ).reshape([degree + 1 for degree in degrees])
    for axis, degree in enumerate(degrees):
        scale = degree_scales(degree, normalization).numpy()[[n * n for n in range(degree + 1)]]
        table = table * np.expand_dims(scale, tuple({0, 1, 2} - {axis}))
    if normalization != "integral":
        table = table / (4 * np.pi)
    factors = [np.ones(degree + 1) for degree in degrees]
    for _ in range(ROUNDS):
        for axis in range(3):
            one, other = sorted({0, 1, 2} - {axis})
            moved = np.moveaxis(table, axis, 0)
            others = moved * np.multiply.outer(factors[one], factors[other])
            squares = (others**2).sum((1, 2))
            best = others.sum((1, 2)) / np.where(squares > 0, squares, 1.0)
            factors[axis] = np.where(squares > 0, best, 1.0)
    first, second, third = (tuple(map(float, factor)) for factor in factors)
    return DegreeFactors(first, second, third)
