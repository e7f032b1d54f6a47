"""Logarithms and exponentials of symmetric matrices, differentiable to any order everywhere."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from equivariant.groups.numerics import near_zero
from equivariant.shapes import Matrix, Scalar

# Power series in t = u²: arsinh(√t) / √t and sinh(√t) / √t.
_ASINHC = (1.0, -1 / 6, 3 / 40, -5 / 112, 35 / 1152, -63 / 2816, 231 / 13312)
_SINHC = (1.0, 1 / 6, 1 / 120, 1 / 5040, 1 / 362880)
# log(sinh(√t) / √t)
_LOG_SINHC = (0.0, 1 / 6, -1 / 180, 1 / 2835, -1 / 37800, 1 / 467775)


def symmetric_exp(x: Matrix) -> Matrix:
    """Exponential of symmetric matrices, shape (..., n, n): positive definite.

    Example:
        >>> symmetric_exp(torch.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    p: Tensor = torch.linalg.matrix_exp(x)
    return 0.5 * (p + p.mT)


def symmetric_log(p: Matrix) -> Matrix:
    """Logarithm of symmetric positive definite matrices.

        log P = V diag(log λ) Vᵀ,   d log P = V (F ∘ Vᵀ dP V) Vᵀ,
        F_ij = (log λ_i - log λ_j) / (λ_i - λ_j) = exp(-m) u / sinh(u)

    with m and u the mean and half the difference of the two logarithms (the formula of Daleckii
    and Krein), so that derivatives are finite where eigenvalues repeat. In the plane

        log P = (log det P / 2) I + (arsinh(r) / r) (P - tr P / 2 I) / √det P,

    r the length of the half-difference of the eigenvalues over √det P, which is faster.

    Args:
        p: Shape (..., n, n), float32 or float64; only the symmetric part counts.

    Returns:
        Shape (..., n, n), symmetric. NaN or infinite where a matrix is not positive definite.
        Derivatives of any order exist, in both modes.

    Example:
        >>> symmetric_log(torch.diag(torch.tensor([2.0, 0.5], dtype=torch.float64)))
        tensor([[ 0.6931,  0.0000],
                [ 0.0000, -0.6931]], dtype=torch.float64)

    Source: Daleckii and Krein 1965; Higham 2008, Functions of Matrices, theorem 3.11.
    """
    even = 0.5 * (p + p.mT)
    if p.shape[-1] == 2:
        return _log_in_the_plane(even)
    result: Tensor = _SymmetricLog.apply(even)  # type: ignore[no-untyped-call]
    return result


def log_sinhc(square: Scalar) -> Scalar:
    """log(sinh(u) / u) of t = u² >= 0, shape (...): smooth in t, no overflow.

    Example:
        >>> log_sinhc(torch.tensor([0.0, 4.0]))
        tensor([0.0000, 0.5952])
    """

    def formula(t: Tensor) -> Tensor:
        u = t.sqrt()
        return u + torch.log1p(-(-2 * u).exp()) - (2 * u).log()

    return near_zero(square, threshold=0.01, series=_LOG_SINHC, otherwise=formula)


def log_sinh(u: Scalar) -> Scalar:
    """log sinh(u) of u >= 0, shape (...), without overflow; -inf at 0.

    Example:
        >>> log_sinh(torch.tensor(1000.0))
        tensor(999.3068)
    """
    return u + (-torch.expm1(-2 * u)).log() - math.log(2.0)


def _log_in_the_plane(p: Tensor) -> Tensor:
    a, b, d = p[..., 0, 0], p[..., 0, 1], p[..., 1, 1]
    half, det = 0.5 * (a - d), a * d - b * b
    t = (half.square() + b.square()) / det  # r²
    factor = near_zero(
        t, threshold=0.001, series=_ASINHC, otherwise=lambda t: t.sqrt().asinh() / t.sqrt()
    ) * det.rsqrt()  # fmt: skip
    mean = 0.5 * det.log()
    first, last, mixed = mean + factor * half, mean - factor * half, factor * b
    return torch.stack([first, mixed, mixed, last], -1).reshape(p.shape)


class _SymmetricLog(torch.autograd.Function):
    """X = log P; the derivative is the inverse of that of exp at X."""

    generate_vmap_rule = True

    @staticmethod
    def forward(p: Tensor) -> Tensor:
        values, v = torch.linalg.eigh(p)
        x: Tensor = (v * values.log().unsqueeze(-2)) @ v.mT
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _undo_exp_derivative(x, grad)

    @staticmethod
    def jvp(ctx: Any, change: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _undo_exp_derivative(x, change)


class _UndoExpDerivative(torch.autograd.Function):
    """Y with D exp(X)[Y] = G for symmetric X and G: linear in G and self-adjoint.

    From D exp(X)[Y] = G follows D² exp(X)[dX, Y] + D exp(X)[dY] = dG, and the trilinear form
    tr(D² exp(X)[A, B] C) is symmetric: it is the third derivative of tr exp.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, g: Tensor) -> Tensor:
        values, v = torch.linalg.eigh(x)
        half = 0.5 * (values.unsqueeze(-1) - values.unsqueeze(-2))
        mean = 0.5 * (values.unsqueeze(-1) + values.unsqueeze(-2))
        sinhc = near_zero(
            half.square(), threshold=0.01, series=_SINHC, otherwise=lambda t: _sinhc(t.sqrt())
        )
        y: Tensor = v @ ((v.mT @ g @ v) / (sinhc * mean.exp())) @ v.mT
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        back = _undo_exp_derivative(x, grad)
        return -_second_derivative_of_exp(x, back, 0.5 * (y + y.mT)), back

    @staticmethod
    def jvp(ctx: Any, x_change: Tensor | None, g_change: Tensor | None) -> Tensor:
        x, y = ctx.saved_tensors
        change = torch.zeros_like(y) if g_change is None else g_change
        if x_change is not None:
            change = change - _second_derivative_of_exp(x, x_change, 0.5 * (y + y.mT))
        return _undo_exp_derivative(x, change)


def _undo_exp_derivative(x: Tensor, g: Tensor) -> Tensor:
    result: Tensor = _UndoExpDerivative.apply(x, 0.5 * (g + g.mT))  # type: ignore[no-untyped-call]
    return result


def _second_derivative_of_exp(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """D² exp(X)[A, B]: corners of exp [[X, A, 0], [0, X, B], [0, 0, X]] and with A, B exchanged."""
    n, none = x.shape[-1], torch.zeros_like(x)

    def corner(first: Tensor, last: Tensor) -> Tensor:
        rows = ((x, first, none), (none, x, last), (none, none, x))
        block = torch.cat([torch.cat(row, -1) for row in rows], -2)
        found: Tensor = torch.linalg.matrix_exp(block)[..., :n, 2 * n :]
        return found

    return corner(a, b) + corner(b, a)


def _sinhc(u: Tensor) -> Tensor:
    return u.sinh() / u
