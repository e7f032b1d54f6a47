"""Quadrature on the sphere as matrix products: the plain method in pure PyTorch."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.harmonics.sphere_grid import grid_tables
from equivariant.nn.gaunt.methods.sampling import Samples, Sampling


class Grid(Sampling):
    """Gauss-Legendre points that integrate one degree exactly.

        z = T3ᵀ ((T1ᵀ x) * (T2ᵀ y))

    Args:
        exact: Degree that the grid integrates; a product needs L1 + L2 + L3.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.
        dtype: Of the operands.
        device: Of the operands.
    """

    def __init__(
        self,
        exact: int,
        kind: Kind,
        normalization: Normalization,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.kind = kind
        self.settings = (exact, normalization, dtype, device)
        self.points = ((exact + 2) // 2) * (exact + 1)

    def sample(self, x: Tensor, degree: int) -> Samples:
        """See :class:`Sampling`."""
        values, along, around, _ = grid_tables(degree, *self.settings)
        tables = (values,) if self.kind == "even" else (along, around)
        return tuple(table.T @ x for table in tables)

    def combine(self, first: Samples, second: Samples) -> Samples:
        """See :class:`Sampling`."""
        if self.kind == "even":
            return (first[0] * second[0],)
        return (bracket(first, second),)

    def project(self, samples: Samples, degree: int) -> Tensor:
        """See :class:`Sampling`."""
        return grid_tables(degree, *self.settings)[3].T @ samples[0]


def bracket(first: Samples, second: Samples) -> Tensor:
    """∂_β f ∂_α g − ∂_α f ∂_β g at every point.

    Args:
        first: Derivatives of f along and around the axis.
        second: Derivatives of g.

    Returns:
        The bracket.
    """
    return torch.addcmul(first[0] * second[1], first[1], second[0], value=-1)


@lru_cache(maxsize=256)
def grid(
    exact: int,
    kind: Kind,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> Grid:
    """The method for given sizes; see :class:`Grid` for the arguments.

    Returns:
        One object per set of arguments.

    Example:
        >>> grid(6, "even", "integral", torch.float32, torch.device("cpu")).points
        28
    """
    return Grid(exact, kind, normalization, dtype, device)
