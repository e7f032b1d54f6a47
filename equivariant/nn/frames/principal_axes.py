"""Principal axes of clouds, with the derivative that survives equal eigenvalues."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from equivariant.shapes import Float, Matrix, Rotation


def principal_axes(centered: Float[Tensor, "batch points 3"]) -> Rotation:
    """Eigenvectors of the covariance of clouds, by ascending eigenvalue.

        C = (1/N) Σ_i x_i x_iᵀ = V diag(λ) Vᵀ,   λ_1 <= λ_2 <= λ_3

    The derivative of V divides by differences of eigenvalues; where a difference is within
    rounding of zero, the axes are not determined and that component of the gradient is zero.

    Args:
        centered: Clouds whose mean is zero, shape (batch, points, 3).

    Returns:
        Columns are unit axes, each up to its sign, shape (batch, 3, 3), float64 of float64 and
        float32 of all else, autocast or not. Differentiable once.

    Example:
        >>> cloud = torch.tensor([[[3.0, 0, 0], [-3, 0, 0], [0, 0, 2], [0, 0, -2], [0, 1, 0]]])
        >>> principal_axes(cloud - cloud.mean(1, keepdim=True)).abs().round().argmax(1).tolist()
        [[1, 2, 0]]
    """
    with torch.autocast(centered.device.type, enabled=False):
        wide = centered if centered.dtype == torch.float64 else centered.float()
        covariance = wide.transpose(1, 2) @ wide / wide.shape[1]
    return symmetric_axes(covariance)


def symmetric_axes(symmetric: Matrix) -> Rotation:
    """Orthonormal eigenvectors of symmetric matrices, by ascending eigenvalue.

    Their derivative is that of :func:`principal_axes`: components between eigenvalues that agree
    within rounding are left out.

    Args:
        symmetric: Shape (..., 3, 3), float32 or float64.

    Returns:
        Columns are unit axes, each up to its sign. Differentiable once.

    Example:
        >>> symmetric_axes(torch.diag(torch.tensor([2.0, 1.0, 3.0]))).abs()
        tensor([[0., 1., 0.],
                [1., 0., 0.],
                [0., 0., 1.]])
    """
    axes: Tensor = _Eigenvectors.apply(symmetric)  # type: ignore[no-untyped-call]
    return axes


class _Eigenvectors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, symmetric: Matrix) -> Tensor:
        values, vectors = torch.linalg.eigh(symmetric)
        ctx.save_for_backward(values, vectors)
        axes: Tensor = vectors
        return axes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        # dV = V (F ∘ Vᵀ dA V) with F_ij = 1 / (λ_j - λ_i) off the diagonal.
        gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
        floor = 32 * torch.finfo(values.dtype).eps * values.abs().amax(-1)[..., None, None]
        usable = gaps.abs() > floor
        inner = vectors.transpose(-1, -2) @ grad
        inner = torch.where(usable, inner / torch.where(usable, gaps, 1.0), 0.0)
        result: Tensor = vectors @ inner @ vectors.transpose(-1, -2)
        return 0.5 * (result + result.transpose(-1, -2))
