"""Gaunt coefficients and their antisymmetric twins: by quadrature, and their closed forms."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equivariant.harmonics.real_harmonics import Kind, Normalization, check_degree
from equivariant.harmonics.sphere_grid import grid_tables
from equivariant.shapes import Float

Coefficients = Float[Tensor, "m1 m2 m3"]


def gaunt_coefficients(degree1: int, degree2: int, degree3: int) -> Coefficients:
    """Integrals of products of three real spherical harmonics of given degrees.

        G_abc = ∫ Y_a Y_b Y_c

    over the sphere, with ∫Y² = 1. G is :func:`gaunt_constant` times ``e3nn.o3.wigner_3j`` with
    a plus sign; it vanishes unless the degrees form a triangle and their sum is even.

    Args:
        degree1: l1, at least 0.
        degree2: l2, at least 0.
        degree3: l3, at least 0.

    Returns:
        Shape (2·l1+1, 2·l2+1, 2·l3+1), float64.

    Raises:
        ConventionError: A degree is negative.

    Example:
        >>> gaunt_coefficients(1, 1, 0)[..., 0].mul((4 * torch.pi) ** 0.5).round(decimals=12)
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]], dtype=torch.float64)
    """
    return _block((degree1, degree2, degree3), "even")


def poisson_coefficients(degree1: int, degree2: int, degree3: int) -> Coefficients:
    """Integrals of the Poisson bracket of two real spherical harmonics against a third.

        K_abc = ∫ {Y_a, Y_b} Y_c,  {f, g} = n·(∇f × ∇g) = (∂_β f ∂_α g − ∂_α f ∂_β g) / sin β

    over the sphere, with ∫Y² = 1. K is totally antisymmetric, and :func:`poisson_constant` times
    ``e3nn.o3.wigner_3j`` with a plus sign; it vanishes unless the degrees form a triangle
    and their sum is odd.

    Args:
        degree1: l1, at least 0.
        degree2: l2, at least 0.
        degree3: l3, at least 0.

    Returns:
        Shape (2·l1+1, 2·l2+1, 2·l3+1), float64.

    Raises:
        ConventionError: A degree is negative.

    Example:
        >>> k = poisson_coefficients(1, 1, 1)
        >>> round(float(k[0, 1, 2]), 4), round(float(k[1, 0, 2]), 4)
        (0.4886, -0.4886)
    """
    return _block((degree1, degree2, degree3), "odd")


def gaunt_constant(degree1: int, degree2: int, degree3: int) -> float:
    """What Gaunt coefficients are, divided by Wigner 3j symbols of unit norm.

        c = √((2l1+1)(2l2+1)(2l3+1)/(4π)) |3j(l1 l2 l3; 0 0 0)|

    and with g = (l1+l2+l3)/2 the symbol is g!/Π(g−li)! · √(Π(2g−2li)!/(2g+1)!).

    Args:
        degree1: l1, at least 0.
        degree2: l2, at least 0.
        degree3: l3, at least 0.

    Returns:
        c, positive where l1+l2+l3 is even and the degrees form a triangle, elsewhere 0.

    Raises:
        ConventionError: A degree is negative.

    Example:
        >>> round(gaunt_constant(1, 1, 2), 6), gaunt_constant(1, 1, 1)
        (0.690988, 0.0)
    """
    degrees = _checked(degree1, degree2, degree3)
    total = sum(degrees)
    if total % 2 or 2 * max(degrees) > total:
        return 0.0
    return math.exp(_log_dimensions(degrees) + _log_symbol(degrees, total // 2, total // 2))


def poisson_constant(degree1: int, degree2: int, degree3: int) -> float:
    """What bracket coefficients are, divided by Wigner 3j symbols of unit norm.

        κ = √(l1(l1+1) l2(l2+1)) √((2l1+1)(2l2+1)(2l3+1)/(4π)) |3j(l1 l2 l3; 1 −1 0)|

    For an odd sum J = 2p+1 the first root times the symbol is symmetric in the degrees:
    2 (p+1)!/Π(p−li)! · √(Π(J−2li)!/(J+1)!), never 0 by accident. This product was found by
    inspection and agrees with quadrature to 1e-11 at every triple of degrees that the tests
    visit; it is not proved here.

    Args:
        degree1: l1, at least 0.
        degree2: l2, at least 0.
        degree3: l3, at least 0.

    Returns:
        κ, positive where l1+l2+l3 is odd and the degrees form a triangle, elsewhere 0.

    Raises:
        ConventionError: A degree is negative.

    Example:
        >>> round(poisson_constant(1, 1, 1), 4), poisson_constant(1, 1, 2)
        (1.1968, 0.0)
    """
    degrees = _checked(degree1, degree2, degree3)
    total = sum(degrees)
    if total % 2 == 0 or 2 * max(degrees) > total:
        return 0.0
    low = (total - 1) // 2
    return 2 * math.exp(_log_dimensions(degrees) + _log_symbol(degrees, low + 1, low))


def _log_dimensions(degrees: tuple[int, int, int]) -> float:
    return 0.5 * (sum(math.log(2 * n + 1) for n in degrees) - math.log(4 * math.pi))


def _log_symbol(degrees: tuple[int, int, int], top: int, half: int) -> float:
    """Logarithm of top!/Π(half−l)! · √(Π(J−2l)!/(J+1)!) with J the sum of the degrees."""
    total = sum(degrees)
    roots = sum(math.lgamma(total - 2 * n + 1) for n in degrees) - math.lgamma(total + 2)
    return 0.5 * roots + math.lgamma(top + 1) - sum(math.lgamma(half - n + 1) for n in degrees)


def _block(degrees: tuple[int, int, int], kind: Kind) -> Tensor:
    """Integrals over the harmonics of exactly these degrees, by quadrature."""
    _checked(*degrees)
    integral: Normalization = "integral"
    settings = (sum(degrees), integral, torch.float64, torch.device("cpu"))
    rows = [slice(n * n, (n + 1) ** 2) for n in degrees]
    first, second = (
        [table[rows[i]] for table in grid_tables(degrees[i], *settings)[:3]] for i in (0, 1)
    )
    projection = grid_tables(degrees[2], *settings)[3][:, rows[2]]
    if kind == "even":
        pairs = first[0][:, None] * second[0]
    else:
        pairs = first[1][:, None] * second[2] - first[2][:, None] * second[1]
    return pairs @ projection


def _checked(degree1: int, degree2: int, degree3: int) -> tuple[int, int, int]:
    for position, degree in enumerate((degree1, degree2, degree3), 1):
        check_degree(degree, f"degree{position}")
    return degree1, degree2, degree3
