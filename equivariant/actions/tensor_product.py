"""The tensor product of two actions."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.actions.base import Action
from equivariant.actions.intertwiners import algebra_matrices, common_group
from equivariant.groups import Group
from equivariant.shapes import Float, Matrix, Vector


class TensorProduct(Action):
    """ρ₁ ⊗ ρ₂: matrices Z of ρ₁ rows and ρ₂ columns, written row by row.

        Z ↦ ρ₁(g) Z ρ₂(g)ᵀ,   dρ(X) = dρ₁(X) ⊗ 1 + 1 ⊗ dρ₂(X)

    With :class:`Factor` the two factors of a direct product act on rows and on columns: sets of
    vectors under SO(3) x S_n, say.

    Args:
        left: Linear action on rows.
        right: Linear action on columns, of the same group; a trivial one makes copies.

    Raises:
        ConventionError: The actions have no group or two.

    Example:
        >>> from equivariant.actions import EquivariantMaps, Factor, Tensors
        >>> from equivariant.groups import SO3, Permutation, Product
        >>> both = Product(SO3(), Permutation(5))
        >>> vectors = TensorProduct(
        ...     Factor(Tensors(SO3(), 1), both, 0), Factor(Tensors(Permutation(5), 1), both, 1)
        ... )
        >>> vectors.dim, EquivariantMaps(vectors, vectors).rank
        (15, 2)
    """

    def __init__(self, left: Action, right: Action) -> None:
        self._of = common_group(left, right)
        super().__init__(self._of, left.dim * right.dim)
        self.left, self.right = left, right

    @property
    def orthogonal(self) -> bool:
        return self.left.orthogonal and self.right.orthogonal

    def pieces(self) -> list[tuple[Action, int]]:
        """A piece of the left action with all of the right one: their entries stand together."""
        found: list[tuple[Action, int]] = []
        for piece, count in self.left.pieces():
            if piece.group is None and self.right.group is None:
                return [(self, 1)]
            found.append((TensorProduct(piece, self.right), count))
        return found

    def under(self, group: Group) -> TensorProduct:
        return TensorProduct(self.left.under(group), self.right.under(group))

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        rows = z.unflatten(-1, (self.left.dim, self.right.dim))
        moved: Tensor = self.right(g.unsqueeze(-3), rows)
        moved = self.left(g.unsqueeze(-3), moved.transpose(-1, -2))
        return moved.transpose(-1, -2).flatten(-2)

    def algebra(self) -> Float[Tensor, "d dim dim"]:
        left, right = (
            torch.from_numpy(algebra_matrices(action, self._of))
            if action.group is not None
            else torch.zeros(self._of.dim, action.dim, action.dim, dtype=torch.float64)
            for action in (self.left, self.right)
        )
        eye_left, eye_right = (
            torch.eye(action.dim, dtype=torch.float64) for action in (self.left, self.right)
        )
        found = [
            torch.kron(X.contiguous(), eye_right) + torch.kron(eye_left, Y.contiguous())
            for X, Y in zip(left, right, strict=True)
        ]
        empty = torch.zeros(0, self.dim, self.dim, dtype=torch.float64)
        return torch.stack(found) if found else empty
