"""Tensors over the space that a group's own matrices act on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from equivariant.actions.base import Action
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.groups.numerics import numbers
from equivariant.shapes import Matrix, Vector


class Tensors(Action):
    """T(p, q): tensors with p indices that move by g and q that move by its inverse transposed.

        (g·T)_{i... k...} = Σ g_{ij} ... g⁻ᵀ_{kl} ... T_{j... l...},   dρ(X) = Σ_a 1 ⊗ ... X ... ⊗ 1

    where -Xᵀ stands for X at the q dual indices. T(0, 0) are scalars, T(1, 0) vectors of the
    space of the group's n x n matrices themselves (homogeneous ones for SE(3)), T(1, 1) their
    linear maps. Any group has them. ``+`` is the direct sum, ``k * T(p, q)`` are k channels, one
    after another, and a product of two is the tensor product.

    Args:
        group: Any group.
        p: Number of indices, at least 0.
        q: Number of dual indices, at least 0; they stand behind the others.
        channels: Number of tensors, at least 1; each is written row by row.

    Raises:
        ConventionError: A number is out of range.

    Example:
        >>> from equivariant.groups import SO3
        >>> action = 4 * Tensors(SO3(), 0) + 2 * Tensors(SO3(), 1) + Tensors(SO3(), 1, 1)
        >>> action.dim
        19

    Source: Finzi, Welling, Wilson 2021, section 3.
    """

    def __init__(self, group: Group, p: int, q: int = 0, *, channels: int = 1) -> None:
        if min(p, q) < 0 or channels < 1:
            raise ConventionError(
                expected="p and q of at least 0 and at least 1 channel",
                got=f"p={p}, q={q}, channels={channels}", argument="p",
                advice="Tensors(group, 0) are scalars.",
            )  # fmt: skip
        super().__init__(group, channels * group.matrix_size ** (p + q))
        self.of, self.p, self.q, self.channels = group, p, q, channels
        self._orthogonal = p + q == 0 or has_orthogonal_matrices(group)

    @property
    def orthogonal(self) -> bool:
        return self._orthogonal

    @property
    def dual(self) -> Tensors:
        """T(q, p), the representation of linear functions of these tensors.

        Its indices stand in the order of T(q, p): those of the dual ones first.
        """
        return Tensors(self.of, self.q, self.p, channels=self.channels)

    def pieces(self) -> list[tuple[Action, int]]:
        return [(Tensors(self.of, self.p, self.q), self.channels)]

    def under(self, group: Group) -> Tensors:
        self.check_same_size(group, self.of)
        return Tensors(group, self.p, self.q, channels=self.channels)

    def __mul__(self, other: int | Tensors) -> Tensors:
        """k channels of it, or the tensor product with tensors of the same group.

        The product has the channels of both, and the indices of T(p + r, q + s): those of both
        factors that move by g, then the dual ones.
        """
        if isinstance(other, int):
            return Tensors(self.of, self.p, self.q, channels=self.channels * other)
        if other.of != self.of:
            raise ConventionError(
                expected=f"tensors of {self.of}", got=f"tensors of {other.of}", argument="other",
                advice="A tensor product is of one group.",
            )  # fmt: skip
        channels = self.channels * other.channels
        return Tensors(self.of, self.p + other.p, self.q + other.q, channels=channels)

    __rmul__ = __mul__

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        n = self.of.matrix_size
        matrices = [g.unsqueeze(-3)] * self.p
        if self.q:
            matrices += [self.of.inverse(g).transpose(-1, -2).unsqueeze(-3)] * self.q
        batch = torch.broadcast_shapes(g.shape[:-2], z.shape[:-1])
        rows: Tensor = z.unflatten(-1, (self.channels, n ** (self.p + self.q)))
        for matrix in reversed(matrices):  # the last index moves and becomes the first
            split = rows.unflatten(-1, (n ** (self.p + self.q - 1), n))
            rows = (split @ matrix.to(z.dtype).transpose(-1, -2)).transpose(-1, -2).flatten(-2)
        return rows.flatten(-2).expand(*batch, -1)

    def algebra(self) -> Tensor:
        basis = self.of.basis()
        n, indices, found = self.of.matrix_size, self.p + self.q, []
        for X in basis:
            total = torch.zeros(self.dim // self.channels, self.dim // self.channels).double()
            for k in range(indices):
                moved = X if k < self.p else -X.T
                left = torch.eye(n**k, dtype=torch.float64)
                right = torch.eye(n ** (indices - 1 - k), dtype=torch.float64)
                total = total + torch.kron(torch.kron(left, moved.contiguous()), right)
            found.append(torch.kron(torch.eye(self.channels, dtype=torch.float64), total))
        empty = torch.zeros(0, self.dim, self.dim, dtype=torch.float64)
        return torch.stack(found) if found else empty

    def extra_repr(self) -> str:
        return f"{self.of}, p={self.p}, q={self.q}, channels={self.channels}"


def has_orthogonal_matrices(group: Group) -> bool:
    """Whether all elements are orthogonal: the algebra skew, discrete elements orthogonal.

    Args:
        group: Any group.

    Example:
        >>> from equivariant.groups import SE3, SO3
        >>> has_orthogonal_matrices(SO3()), has_orthogonal_matrices(SE3())
        (True, False)
    """
    basis, discrete = numbers(group.basis), numbers(group.discrete_generators)
    skew = (abs(basis + basis.swapaxes(1, 2)) < 1e-12).all()
    eye = np.eye(group.matrix_size)
    return bool(skew and (abs(discrete @ discrete.swapaxes(1, 2) - eye) < 1e-9).all())
