"""Nearest orthogonal matrices, with the derivative that survives repeated singular values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from equivariant.shapes import Matrix


def nearest_orthogonal(matrix: Matrix, *, special: bool) -> Matrix:
    """Orthogonal matrix nearest to a square matrix in the Frobenius norm.

        M = U S Vᵀ,   R = U D Vᵀ,   D = diag(1, ..., 1, d)

    with d = det(U Vᵀ) where ``special`` asks for determinant 1, else d = 1. The derivative of
    R solves Ω H + H Ω = Rᵀ dM - dMᵀ R with H = V D S Vᵀ and Ω = Rᵀ dR. Its denominators are
    *sums* of singular values, so it is finite where the derivative of a singular value
    decomposition is not (repeated singular values, the identity among them). Where such a sum
    is zero the nearest matrix is not unique and that component of the gradient is zero.

    Args:
        matrix: Shape (..., n, n); half precision is computed in float32.
        special: Ask for determinant 1.

    Returns:
        Shape (..., n, n), dtype of the input. Differentiable once, backward; works under
        ``torch.vmap`` and ``torch.compile``.

    Example:
        >>> nearest_orthogonal(3.0 * torch.eye(2), special=True)
        tensor([[1., 0.],
                [0., 1.]])
    """
    wide = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    nearest, _, _ = _NearestOrthogonal.apply(wide, special)  # type: ignore[no-untyped-call]
    result: Tensor = nearest.to(matrix.dtype)
    return result


class _NearestOrthogonal(torch.autograd.Function):
    """(R, D S, Vᵀ) of a matrix; the last two are constants."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, special: bool) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vh = torch.linalg.svd(matrix)
        signs = torch.ones_like(s)
        if special:
            last = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0).to(s.dtype)
            signs = torch.cat([signs[..., :-1], last.unsqueeze(-1)], -1)
        return (u * signs.unsqueeze(-2)) @ vh, s * signs, vh

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        nearest, s, vh = output
        ctx.mark_non_differentiable(s, vh)
        ctx.save_for_backward(nearest, s, vh)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, None]:
        return _Derivative.apply(grad, *ctx.saved_tensors), None  # type: ignore[no-untyped-call]


class _Derivative(torch.autograd.Function):
    """The derivative as a linear map, which says that it has no further derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(change: Tensor, nearest: Tensor, s: Tensor, vh: Tensor) -> Tensor:
        return _turned(change, nearest, s, vh)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError("nearest_orthogonal is differentiable once")


def _turned(change: Tensor, nearest: Tensor, s: Tensor, vh: Tensor) -> Tensor:
    """R Ω for a change of the matrix: the derivative is symmetric, so backward is the same."""
    v = vh.transpose(-1, -2)
    y = vh @ nearest.transpose(-1, -2) @ change @ v
    sums = s.unsqueeze(-1) + s.unsqueeze(-2)
    floor = torch.finfo(s.dtype).eps * s.abs().amax(-1, keepdim=True).unsqueeze(-1)
    usable = sums.abs() > floor
    skew = torch.where(usable, (y - y.transpose(-1, -2)) / torch.where(usable, sums, 1.0), 0.0)
    result: Tensor = nearest @ v @ skew @ vh
    return result
