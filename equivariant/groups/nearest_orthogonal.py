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
    R solves Ω H + H Ω = Rᵀ dM - dMᵀ R with H = Rᵀ M = V D S Vᵀ and Ω = Rᵀ dR. Its denominators are
    *sums* of singular values, so it is finite where the derivative of a singular value
    decomposition is not (repeated singular values, the identity among them). Where such a sum
    is zero the nearest matrix is not unique and that component of the gradient is zero.

    Args:
        matrix: Shape (..., n, n); half precision is computed in float32.
        special: Ask for determinant 1.

    Returns:
        Shape (..., n, n), dtype of the input. Derivatives of any order exist, in both
        modes; works under ``torch.vmap`` and ``torch.compile``.

    Example:
        >>> nearest_orthogonal(3.0 * torch.eye(2), special=True)
        tensor([[1., 0.],
                [0., 1.]])
    """
    wide = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    nearest: Tensor = _NearestOrthogonal.apply(wide, special)  # type: ignore[no-untyped-call]
    return nearest.to(matrix.dtype)


class _NearestOrthogonal(torch.autograd.Function):
    """R of a matrix."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, special: bool) -> Tensor:
        u, s, vh = torch.linalg.svd(matrix)
        signs = torch.ones_like(s)
        if special:
            last = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0).to(s.dtype)
            signs = torch.cat([signs[..., :-1], last.unsqueeze(-1)], -1)
        nearest: Tensor = (u * signs.unsqueeze(-2)) @ vh
        return nearest

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        matrix, nearest = ctx.saved_tensors
        return _change_of_nearest(matrix, nearest, grad), None

    @staticmethod
    def jvp(ctx: Any, change: Tensor, _: None) -> Tensor:
        matrix, nearest = ctx.saved_tensors
        return _change_of_nearest(matrix, nearest, change)


class _Turning(torch.autograd.Function):
    """Ω with Ω H + H Ω = Z for symmetric H and skew Z: linear in Z and self-adjoint.

    Its own derivative, dΩ = Ω(H, dZ - Ω dH - dH Ω), is of the same kind.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(h: Tensor, z: Tensor) -> Tensor:
        values, v = torch.linalg.eigh(h)
        sums = values.unsqueeze(-1) + values.unsqueeze(-2)
        floor = torch.finfo(h.dtype).eps * values.abs().amax(-1)[..., None, None]
        usable = sums.abs() > floor
        turned = torch.where(usable, (v.mT @ z @ v) / torch.where(usable, sums, 1.0), 0.0)
        turning: Tensor = v @ turned @ v.mT
        return turning

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        h, turning = ctx.saved_tensors
        back = _turning(h, 0.5 * (grad - grad.mT))
        return turning @ back + back @ turning, back

    @staticmethod
    def jvp(ctx: Any, h_change: Tensor | None, z_change: Tensor | None) -> Tensor:
        h, turning = ctx.saved_tensors
        change = torch.zeros_like(turning) if z_change is None else z_change
        if h_change is not None:
            change = change - turning @ h_change - h_change @ turning
        return _turning(h, change)


def _change_of_nearest(matrix: Tensor, nearest: Tensor, change: Tensor) -> Tensor:
    """dR of dM = change; the map is self-adjoint."""
    h = nearest.mT @ matrix
    turned = nearest.mT @ change
    return nearest @ _turning(0.5 * (h + h.mT), turned - turned.mT)


def _turning(h: Tensor, z: Tensor) -> Tensor:
    result: Tensor = _Turning.apply(h, z)  # type: ignore[no-untyped-call]
    return result
