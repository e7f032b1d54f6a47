"""Nearest orthogonal matrices, with the derivative that survives repeated singular values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

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
        matrix: Shape (..., n, n).
        special: Ask for determinant 1.

    Returns:
        Shape (..., n, n). Differentiable once.

    Example:
        >>> nearest_orthogonal(3.0 * torch.eye(2), special=True)
        tensor([[1., 0.],
                [0., 1.]])
    """
    result: Tensor = _NearestOrthogonal.apply(matrix, special)  # type: ignore[no-untyped-call]
    return result


class _NearestOrthogonal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, special: bool) -> Tensor:
        u, s, vh = torch.linalg.svd(matrix)
        signs = torch.ones_like(s)
        if special:
            signs[..., -1] = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0)
        nearest: Tensor = (u * signs.unsqueeze(-2)) @ vh
        ctx.save_for_backward(nearest, s * signs, vh)
        return nearest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        nearest, s, vh = ctx.saved_tensors
        v = vh.transpose(-1, -2)
        y = vh @ nearest.transpose(-1, -2) @ grad @ v
        sums = s.unsqueeze(-1) + s.unsqueeze(-2)
        floor = torch.finfo(s.dtype).eps * s.abs().amax(-1, keepdim=True).unsqueeze(-1)
        usable = sums.abs() > floor
        skew = torch.where(usable, (y - y.transpose(-1, -2)) / torch.where(usable, sums, 1.0), 0.0)
        result: Tensor = nearest @ v @ skew @ vh
        return result, None
