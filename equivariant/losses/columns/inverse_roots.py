"""Inverse square roots of covariances, with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from equivariant.shapes import Float

NEWTON_STEPS = 40
"""Enough for a ratio of 1e8 between trace and smallest eigenvalue."""


def inverse_root(a: Float[Tensor, "... n n"], *, floor: float = 0.0) -> Float[Tensor, "... n n"]:
    """A^(-1/2) of symmetric positive matrices, differentiable once also at repeated eigenvalues.

        dF = U (Γ ∘ (Uᵀ dA U)) Uᵀ,   Γ_ij = -1 / (√λ_i √λ_j (√λ_i + √λ_j))

    Γ is the divided difference of λ^(-1/2) with the gap λ_i - λ_j cancelled by hand. A second
    differentiation raises RuntimeError.

    Args:
        a: Shape (..., n, n), symmetric with eigenvalues above 0; only the symmetric part of
            the gradient is returned.
        floor: Eigenvalues below it, which only rounding can have made, count as it.

    Returns:
        Shape (..., n, n).

    Example:
        >>> inverse_root(4.0 * torch.eye(2))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])

    Source: Daleckii & Krein 1965; Higham 2008, Functions of Matrices, theorem 3.11.
    """
    result: Tensor = _InverseRoot.apply(a, floor)  # type: ignore[no-untyped-call]
    return result


class _InverseRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, floor: float) -> Tensor:
        values: Tensor
        vectors: Tensor
        values, vectors = torch.linalg.eigh(a)
        roots = values.clamp_min(floor).sqrt()
        ctx.save_for_backward(roots, vectors)
        return (vectors / roots[..., None, :]) @ vectors.transpose(-1, -2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        roots, vectors = ctx.saved_tensors
        a, b = roots[..., :, None], roots[..., None, :]
        inner = vectors.transpose(-1, -2) @ (grad + grad.transpose(-1, -2)) @ vectors
        return vectors @ (inner / (-2.0 * a * b * (a + b))) @ vectors.transpose(-1, -2), None


def newton_root(a: Float[Tensor, "... n n"]) -> Float[Tensor, "... n n"]:
    """A^(-1/2) of symmetric positive matrices by matrix products alone, differentiable twice.

        Y ← Y T, Z ← T Z, T = (3 I - Z Y)/2,   from Y = A/tr A, Z = I;   A^(-1/2) = Z/√(tr A)

    The number of steps is fixed; gradients keep all of them in memory.

    Args:
        a: Shape (..., n, n), symmetric, with tr A / λ_min up to about 1e8 in float64 and 1e5 in
            float32.

    Returns:
        Shape (..., n, n).

    Example:
        >>> torch.allclose(newton_root(4.0 * torch.eye(2)), 0.5 * torch.eye(2))
        True

    Source: Higham 2008, Functions of Matrices, chapter 6.
    """
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    trace = a.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    y, z = a / trace, eye.expand_as(a)
    for _ in range(NEWTON_STEPS):
        t = 1.5 * eye - 0.5 * z @ y
        y, z = y @ t, t @ z
    return z * trace.rsqrt()
