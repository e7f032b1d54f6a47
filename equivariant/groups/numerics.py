"""Functions with removable singularities, precision, random numbers and names of axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from equivariant.errors import ConventionError
from equivariant.shapes import Coordinates, Matrix, Scalar


def safe_norm(x: Coordinates) -> Scalar:
    """Euclidean norm over the last axis whose gradient at zero is zero, not NaN.

    Example:
        >>> x = torch.zeros(3, requires_grad=True)
        >>> safe_norm(x).backward()
        >>> x.grad
        tensor([0., 0., 0.])
    """
    square = x.square().sum(-1)
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)


def near_zero(
    t: Scalar,
    *,
    threshold: float,
    series: tuple[float, ...],
    otherwise: Callable[[Tensor], Tensor],
) -> Scalar:
    """A function with a removable singularity at t = 0, and gradients that know it.

    Below the threshold the power series in t is used; above, the formula, which is never
    evaluated (nor differentiated) near its singularity.

    Args:
        t: Argument, at least 0, shape (...).
        threshold: Where to switch.
        series: Coefficients of t⁰, t¹, t², ...; truncation below rounding at the threshold.
        otherwise: The formula.
    """
    small = t < threshold
    inside = power_series(torch.where(small, t, 0.0), series)
    return torch.where(small, inside, otherwise(torch.where(small, threshold, t)))


def power_series(t: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """``Σ_k coefficients_k tᵏ`` by Horner's rule, shape (...)."""
    value = torch.zeros_like(t)
    for coefficient in reversed(coefficients):
        value = value * t + coefficient
    return value


def at_least_single(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function that half precision does not have, computed in float32 and rounded.

    Example:
        >>> at_least_single(torch.linalg.inv, torch.eye(2, dtype=torch.bfloat16)).dtype
        torch.bfloat16
    """
    return function(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


def inverse_matrix(g: Matrix, *, orthogonal: bool) -> Matrix:
    """The inverse of matrices: transposed where they are orthogonal, solved for where not.

    Args:
        g: Shape (..., n, n).
        orthogonal: Whether all of them are.

    Example:
        >>> inverse_matrix(torch.tensor([[0.0, 2.0], [1.0, 0.0]]), orthogonal=False)
        tensor([[0.0000, 1.0000],
                [0.5000, 0.0000]])
    """
    return g.transpose(-1, -2) if orthogonal else at_least_single(torch.linalg.inv, g)


def random_normal(
    shape: tuple[int, ...],
    *,
    generator: torch.Generator,
) -> Tensor:
    """Standard normal numbers in float64, drawn on the generator's own device, the CPU.

    Raises:
        ConventionError: The generator lives on another device.
    """
    if generator.device.type != "cpu":
        raise ConventionError(
            expected="a generator on the CPU",
            got=f"one on {generator.device}",
            argument="generator",
            advice="Make it with torch.Generator().manual_seed(seed); results move to `device`.",
        )
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def axis_names(size: int) -> tuple[str, ...]:
    """x, y, z of a space of up to three dimensions; numbers beyond.

    Example:
        >>> axis_names(2), axis_names(4)
        (('x', 'y'), ('0', '1', '2', '3'))
    """
    return ("x", "y", "z")[:size] if size <= 3 else tuple(map(str, range(size)))


def numbers(make: Callable[[], Tensor]) -> NDArray[np.float64]:
    """A constant as an array, in plain PyTorch even while a program around it is traced.

    Args:
        make: Returns a tensor on the CPU, of any shape.

    Example:
        >>> numbers(lambda: torch.eye(2)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    with _disable_current_modes():
        return make().double().numpy()
