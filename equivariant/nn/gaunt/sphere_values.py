"""Features as functions on the sphere: their values at points, and back from values."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.harmonics.real_harmonics import (
    Normalization,
    check_degree,
    degree_scales,
    real_harmonics,
)
from equivariant.harmonics.sphere_grid import sphere_grid
from equivariant.nn.gaunt.accumulation import without_autocast, working_dtype
from equivariant.shapes import Float


def to_signal(
    coefficients: Float[Tensor, "... n"],
    points: Float[Tensor, "points 3"],
    *,
    normalization: Normalization = "component",
) -> Float[Tensor, "... points"]:
    """Values of a function on the sphere at points.

        f(p) = Σ_a x_a Y_a(p)

    Args:
        coefficients: x, shape (..., (L+1)²), floating point; entry l² + l + m belongs to Y_lm.
        points: Directions, shape (points, 3), not zero; lengths are divided out. For
            :func:`from_signal` those of :func:`sphere_grid`.
        normalization: Of the harmonics, see :func:`real_harmonics`.

    Returns:
        Shape (..., points), in the dtype of the coefficients.

    Raises:
        ShapeError: The number of coefficients is no square, or points are not (points, 3).
        ConventionError: The normalization is unknown, or coefficients are not floating point.

    Example:
        >>> up = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
        >>> to_signal(torch.tensor([1.0, 0.0, 0.5, 0.0]), up, normalization="norm")
        tensor([1.5000, 0.5000])
    """
    _check_real(coefficients, "coefficients")
    width = coefficients.shape[-1] if coefficients.dim() else 0
    degree = math.isqrt(int(width)) - 1
    if width == 0 or (degree + 1) ** 2 != width:
        raise ShapeError(
            expected="(..., (L+1)²)",
            got=str(tuple(coefficients.shape)),
            argument="coefficients",
            advice="Absent degrees are filled with zeros.",
        )
    if points.dim() != 2 or points.shape[1] != 3:
        raise ShapeError(
            expected="(points, 3)",
            got=str(tuple(points.shape)),
            argument="points",
            advice="One direction per row.",
        )
    dtype, inner = working_dtype(coefficients.dtype)
    harmonics = real_harmonics(degree, points, normalization).to(coefficients.device, inner)
    with without_autocast(coefficients.device):
        return (coefficients.to(inner) @ harmonics.mT).to(dtype)


def from_signal(
    values: Float[Tensor, "... points"],
    degree: int,
    exact: int,
    *,
    normalization: Normalization = "component",
) -> Float[Tensor, "... n"]:
    """Coefficients of a function on the sphere, from its values on a grid.

        x_a = Σ_p w_p f(p) Y_a(p) / ⟨Y_a, Y_a⟩

    With ``exact`` at least twice the degree of f this undoes :func:`to_signal`. Where f has
    higher degrees, d, than those asked for, ``exact`` must be d + degree at least, and
    the result is the projection of f; a smaller grid mixes degrees and turns with the frame.

    Args:
        values: f at the points of ``sphere_grid(exact)``, shape (..., points), floating point.
        degree: Largest l of the result, at least 0.
        exact: Degree that the grid integrates, at least 2·degree.
        normalization: Of the harmonics, see :func:`real_harmonics`.

    Returns:
        Shape (..., (degree+1)²), in the dtype of the values.

    Raises:
        ShapeError: The number of values is not that of the grid.
        ConventionError: The normalization is unknown, values are not floating point, a degree is
            negative, or the grid is too small for its own harmonics.

    Example:
        >>> points, _ = sphere_grid(4)
        >>> squares = to_signal(torch.tensor([0.0, 1.0, 0.0, 0.0]), points).square()
        >>> from_signal(squares, 0, 4).round(decimals=4)
        tensor([1.])
    """
    check_degree(degree, "degree")
    _check_real(values, "values")
    if exact < 2 * degree:
        raise ConventionError(
            expected=f"at least {2 * degree}, twice the degree",
            got=str(exact),
            argument="exact",
            advice="Harmonics are not orthogonal on a smaller grid.",
        )
    points, weights = sphere_grid(exact)
    if values.dim() == 0 or values.shape[-1] != len(points):
        raise ShapeError(
            expected=f"(..., {len(points)}), the points of sphere_grid({exact})",
            got=str(tuple(values.shape)),
            argument="values",
            advice="Evaluate the function at those points, in their order.",
        )
    scales = degree_scales(degree, normalization)
    table = weights[:, None] * real_harmonics(degree, points) / scales
    dtype, inner = working_dtype(values.dtype)
    with without_autocast(values.device):
        return (values.to(inner) @ table.to(values.device, inner)).to(dtype)


def _check_real(x: Tensor, argument: str) -> None:
    if not torch.is_floating_point(x):
        raise ConventionError(
            expected="real floating point numbers",
            got=str(x.dtype),
            argument=argument,
            advice="Real harmonics have real coefficients.",
        )
