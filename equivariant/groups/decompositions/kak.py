"""The Cartan decomposition KAK: singular values between two rotations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.groups.decompositions.base import (
    Decomposition,
    orientation,
    stretch_of,
    turn_of,
)
from equivariant.groups.decompositions.symmetric import log_sinh
from equivariant.shapes import Coordinates, Matrix, Scalar


@dataclass(frozen=True)
class KAK(Decomposition):
    """h = k₁ exp(diag H) k₂, k₁ and k₂ orthogonal, H₁ >= ... >= H_n: singular values between turns.

        dμ(h) = Π sinh(H_i - H_j) dH dk₁ dk₂     over the roots i < j of the group

    with dH in orthonormal coordinates of the group's stretches, dk of total mass 1. The rotations
    are not unique (signs of the singular vectors), and where singular values repeat not even
    continuous, so this is for sampling and for reading singular values, not a chart.

    Coordinates are those of k₁ in radians, H in ``group.stretches()``, those of k₂: ``group.dim``
    numbers for GL(n) and SL(n), more for the others.

    Args:
        group: A linear group of the plane or of space; see :class:`Decomposition`.

    Raises:
        ConventionError: Another group.

    Example:
        >>> from equivariant.groups import GL
        >>> h = torch.tensor([[0.0, -3.0], [2.0, 0.0]], dtype=torch.float64)
        >>> KAK(GL(2)).split(h)[1].diagonal().tolist()
        [3.0, 2.0]

    Source: Helgason 1984, Groups and Geometric Analysis, theorem I.5.8, for the density.
    """

    @property
    def factors(self) -> tuple[str, ...]:
        return ("k1", "exp H", "k2")

    @property
    def log_constant(self) -> float:
        """log of the c in dX = c Π (H_i - H_j) dH dk, X = k diag(H) kᵀ of ordered H.

        From Gaussian integrals of both sides, the right one by Mehta's formula:
        c = (2π)^(n(n-1)/4) n! Π_j Γ(3/2) / Γ(1 + j/2).
        """
        n = self.group.matrix_size
        if not self.linear_group.roots():
            return 0.0
        gammas = sum(math.lgamma(1.5) - math.lgamma(1 + j / 2) for j in range(1, n + 1))
        return 0.25 * n * (n - 1) * math.log(2 * math.pi) + math.lgamma(n + 1) + gammas

    def split(self, h: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """k₁, exp(diag H) and k₂.

        Args:
            h: Elements, shape (..., n, n).

        Returns:
            Shape (..., n, n) each, in the dtype of h; det k₁ = 1. Derivatives of any order
            exist, in both modes; where singular values repeat the rotations have none, and the
            components that do not exist are zero.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: A matrix is no element.
        """
        self.group.check_member(h, "h")
        u, s, vh = _SingularVectors.apply(h.double())  # type: ignore[no-untyped-call]
        last = orientation(u)
        u = torch.cat([u[..., :-1], u[..., -1:] * last[..., None, None]], -1)
        vh = torch.cat([vh[..., :-1, :], vh[..., -1:, :] * last[..., None, None]], -2)
        return u.to(h.dtype), torch.diag_embed(s).to(h.dtype), vh.to(h.dtype)

    def coordinates(self, h: Matrix) -> Coordinates:
        first, stretch, last = self.split(h.double())
        rows = self.linear_group.stretches().to(h.device)
        parts = [turn_of(self.linear_group, first), stretch_of(stretch) @ rows.mT]
        return torch.cat([*parts, turn_of(self.linear_group, last)], -1).to(h.dtype)

    def from_coordinates(self, c: Coordinates) -> Matrix:
        turns = self.linear_group.orthogonal_subgroup
        rows = self.linear_group.stretches()
        self.check_count(c, 2 * turns.dim + len(rows))
        rows = rows.to(c.device)
        first, stretch, last = c.double().split([turns.dim, len(rows), turns.dim], -1)
        middle = torch.diag_embed((stretch @ rows).exp())
        return (turns.exp(first) @ middle @ turns.exp(last)).to(c.dtype)

    def log_density(self, *factors: Matrix) -> Scalar:
        """Σ log sinh(H_i - H_j) over the roots; -inf where singular values repeat.

        Args:
            *factors: k₁, exp(diag H), k₂, shape (..., n, n) each; only H matters, in any order.

        Returns:
            Shape (...). No derivative exists where singular values repeat.

        Raises:
            ShapeError: There are not three factors, or the shape of one does not fit.
            ConventionError: The second is not diagonal and positive.
        """
        self.check_factors(factors)
        self.check_stretch(factors[1], "exp H", diagonal=True)
        h = stretch_of(factors[1])
        gaps = [(h[..., i] - h[..., j]).abs() for i, j in self.linear_group.roots()]
        density = sum((log_sinh(gap) for gap in gaps), torch.zeros_like(h[..., 0]))
        return density.to(factors[1].dtype)


class _SingularVectors(torch.autograd.Function):
    """U, s and Vᵀ; divisions by a difference of equal singular values give 0 in the derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vh = torch.linalg.svd(h)
        return u, s, vh

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, gu: Tensor, gs: Tensor, gvh: Tensor) -> Tensor:
        u, s, vh = ctx.saved_tensors
        row, column, inverse = _differences(s)
        left, right = u.mT @ gu, vh @ gvh.mT
        left, right = 0.5 * (left - left.mT), 0.5 * (right - right.mT)
        # Ω_ij = (s_j E_ij + s_i E_ji) / (s_j² - s_i²),  Ψ_ij = (s_i E_ij + s_j E_ji) / (same)
        change = 2 * inverse * (left * column + right * row)
        back: Tensor = u @ (change + torch.diag_embed(gs)) @ vh
        return back

    @staticmethod
    def jvp(ctx: Any, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vh = ctx.saved_tensors
        row, column, inverse = _differences(s)
        seen = u.mT @ change @ vh.mT
        left = inverse * (column * seen + row * seen.mT)
        right = inverse * (row * seen + column * seen.mT)
        return u @ left, seen.diagonal(dim1=-2, dim2=-1), -right @ vh


def _differences(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """s_i, s_j and 1 / (s_j² - s_i²), or 0 for that, of dU = U Ω, dV = V Ψ in

    Uᵀ dh V = Ω S + dS - S Ψ
    """
    row, column = s.unsqueeze(-1), s.unsqueeze(-2)
    gap, size = column - row, column + row
    usable = gap.detach().abs() > 64 * torch.finfo(s.dtype).eps * size.detach()
    inverse = torch.where(usable, 1 / torch.where(usable, gap * size, 1.0), 0.0)
    return row, column, inverse
