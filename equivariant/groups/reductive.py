"""Groups of matrices that hold the transpose of every element."""

from __future__ import annotations

from abc import abstractmethod
from itertools import combinations

import torch
from torch import Tensor

from equivariant.groups.base import Group
from equivariant.shapes import Float


class Reductive(Group):
    """A group of n x n matrices that holds the transpose of every element.

    Each element is the product

        h = k₁ exp(diag a) k₂,   k₁, k₂ orthogonal elements,   a a *stretch*,

    where stretches form a linear space: all of n-space for GL(n), sums of zero for SL(n), equal
    numbers for scaled rotations, zero for orthogonal groups. Decompositions and the samplers of
    truncated Haar measure ask a group for these two parts and nothing else.
    """

    @property
    @abstractmethod
    def orthogonal_subgroup(self) -> Group:
        """The orthogonal elements: a maximal compact subgroup K.

        Raises:
            ConventionError: There is no class for rotations of this many dimensions.
        """

    @abstractmethod
    def stretches(self) -> Float[Tensor, "k n"]:
        """Orthonormal basis of the stretches a, float64; k may be 0."""

    def roots(self) -> list[tuple[int, int]]:
        """Pairs i < j whose difference a_i - a_j is not zero for all stretches.

        Haar measure has the density Π sinh(a_i - a_j) over these pairs. By default all pairs, or
        none where orthogonal elements and stretches fill the dimension: where all numbers of
        every stretch are equal.

        Example:
            >>> from equivariant.groups import SL
            >>> SL(3).roots()
            [(0, 1), (0, 2), (1, 2)]
        """
        if self.dim == self.orthogonal_subgroup.dim + len(self.stretches()):
            return []
        return list(combinations(range(self.matrix_size), 2))

    def symmetric_basis(self) -> Float[Tensor, "p n n"]:
        """Orthonormal basis of the symmetric matrices of the Lie algebra, float64.

        First the diagonal matrices of :meth:`stretches`, then (E_ij + E_ji) / √2 of every root.
        """
        n = self.matrix_size
        mixed = torch.zeros(len(self.roots()), n, n, dtype=torch.float64)
        for row, (i, j) in zip(mixed, self.roots(), strict=True):
            row[i, j] = row[j, i] = 0.5**0.5
        return torch.cat([torch.diag_embed(self.stretches()), mixed])
