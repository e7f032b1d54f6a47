"""Real spherical harmonics of any degree, and quadrature on the sphere that is exact for them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.shapes import Float, Vector3

Normalization = Literal["integral", "component", "norm"]
Kind = Literal["even", "odd"]


def real_harmonics(
    degree: int, directions: Vector3, normalization: Normalization = "integral"
) -> Float[Tensor, "... coefficients"]:
    """Real spherical harmonics of all degrees up to one, in e3nn's basis.

        Y_lm = P_l|m|(cos β) T_m(α),  T_0 = 1, T_m = √2 cos mα, T_-m = √2 sin mα for m > 0

    with x = sin β sin α, y = cos β, z = sin β cos α: the polar axis is y, and there is no
    Condon-Shortley sign, so that degree 1 is proportional to (x, y, z). A recurrence over
    the degree in float64 replaces generated polynomials; it has no largest degree and no pole,
    and gradients flow through it.

    Args:
        degree: Largest l, at least 0.
        directions: Shape (..., 3), floating point, finite and not zero; lengths are divided
            out, however small or large.
        normalization: "integral": ∫Y² = 1 over the sphere. "component": times √(4π), so that
            Σ_m Y_lm² = 2l+1. "norm": times √(4π/(2l+1)), so that Σ_m Y_lm² = 1.

    Returns:
        Shape (..., (degree+1)²), float64; entry l² + l + m is Y_lm.

    Raises:
        ConventionError: The degree is negative or the normalization unknown.

    Example:
        >>> real_harmonics(1, torch.tensor([0.6, 0.8, 0.0]), "norm").round(decimals=4).tolist()
        [1.0, 0.6, 0.8, 0.0]

    Source: the forward column recurrence of fully normalized Legendre functions, Holmes and
    Featherstone 2002.
    """
    check_degree(degree, "degree")
    scaled = _near_one(directions.double())
    x, y, z = (scaled / scaled.norm(dim=-1, keepdim=True)).unbind(-1)
    legendre = _legendre(degree, y)
    cosine, sine = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(degree):
        cosine.append(cosine[-1] * z - sine[-1] * x)
        sine.append(cosine[-2] * x + sine[-1] * z)
    columns = []
    for n in range(degree + 1):
        for m in range(-n, n + 1):
            circle = math.sqrt(2) * (cosine[m] if m > 0 else sine[-m]) if m else cosine[0]
            columns.append(legendre[abs(m)][n - abs(m)] * circle)
    return torch.stack(columns, -1) * degree_scales(degree, normalization).to(scaled.device)


def _near_one(vectors: Tensor) -> Tensor:
    """Vectors times a power of two, so that squares neither overflow nor underflow."""
    largest = vectors.detach().abs().amax(-1, keepdim=True)
    exponent = torch.frexp(largest).exponent
    half = exponent // 2  # two factors: their product may overflow
    one = torch.ones_like(largest)
    return vectors * torch.ldexp(one, -half) * torch.ldexp(one, half - exponent)


def _legendre(degree: int, cosine: Tensor) -> list[list[Tensor]]:
    """P_lm(cos β) / sin^m β with ∫Y² = 1, as a list over m of lists over l = m, m+1, ..."""
    start = torch.full_like(cosine, 1 / math.sqrt(4 * math.pi))
    table = []
    for m in range(degree + 1):
        if m > 0:
            start = start * math.sqrt((2 * m + 1) / (2 * m))
        column = [start]
        if m < degree:
            column.append(math.sqrt(2 * m + 3) * cosine * start)
        for n in range(m + 2, degree + 1):
            a = math.sqrt((4 * n * n - 1) / (n * n - m * m))
            b = math.sqrt(((n - 1) ** 2 - m * m) / (4 * (n - 1) ** 2 - 1))
            column.append(a * (cosine * column[-1] - b * column[-2]))
        table.append(column)
    return table


def degree_scales(degree: int, normalization: Normalization) -> Float[Tensor, " coefficients"]:
    """Factor of every harmonic against the one with ∫Y² = 1.

    Args:
        degree: Largest l, at least 0.
        normalization: See :func:`real_harmonics`.

    Returns:
        Shape ((degree+1)²,), float64.

    Raises:
        ConventionError: The normalization is unknown.

    Example:
        >>> degree_scales(1, "integral").tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    if normalization not in ("integral", "component", "norm"):
        raise ConventionError(
            expected="integral, component or norm",
            got=repr(normalization),
            argument="normalization",
            advice="integral makes the harmonics an orthonormal basis.",
        )
    degrees = _degrees(degree)
    if normalization == "integral":
        return torch.ones_like(degrees)
    whole = torch.full_like(degrees, math.sqrt(4 * math.pi))
    return whole if normalization == "component" else whole / (2 * degrees + 1).sqrt()


def check_degree(degree: int, argument: str) -> None:
    """Refuse a negative degree.

    Args:
        degree: The number.
        argument: Name of the argument that it came in.

    Raises:
        ConventionError: It is negative.

    Example:
        >>> check_degree(3, "degree")
    """
    if degree < 0:
        raise ConventionError(
            expected="a degree of at least 0",
            got=str(degree),
            argument=argument,
            advice="Degree 0 alone is a scalar.",
        )


def _degrees(degree: int) -> Tensor:
    """The degree l of every coefficient, shape ((degree+1)²,), float64."""
    return torch.cat(
        [
            torch.full((2 * n + 1,), float(n), dtype=torch.float64, device="cpu")
            for n in range(degree + 1)
        ]
    )
