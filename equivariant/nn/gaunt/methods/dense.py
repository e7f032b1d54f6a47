"""The form as one matrix: for the smallest degrees."""

from __future__ import annotations

from torch import Tensor

from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.harmonics.sphere_grid import dense_table


def multiply_densely(
    x1: Tensor,
    x2: Tensor,
    degrees: tuple[int, int, int],
    *,
    kind: Kind,
    normalization: Normalization,
) -> Tensor:
    """All products of coefficients times the matrix of the form.

    Args:
        x1: Shape (..., (L1+1)²).
        x2: Shape (..., (L2+1)²), of the same dtype.
        degrees: L1, L2 and L3.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.

    Returns:
        Shape (..., (L3+1)²).

    Example:
        >>> import torch
        >>> one = torch.ones(1)
        >>> multiply_densely(one, one, (0, 0, 0), kind="even", normalization="norm")
        tensor([1.])
    """
    table = dense_table(degrees, kind, normalization, x1.dtype, x1.device)
    if min(x1.dim(), x2.dim()) > 1 and min(x1.stride(-1), x2.stride(-1)) > 1:
        pairs = x1.mT.unsqueeze(-2) * x2.mT.unsqueeze(-3)  # channels stay last in memory
        return (table.mT @ pairs.flatten(-3, -2)).mT
    return (x1.unsqueeze(-1) * x2.unsqueeze(-2)).flatten(-2) @ table
