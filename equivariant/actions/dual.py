"""The dual of a linear action: how linear functions of its vectors move."""

from __future__ import annotations

from torch import Tensor

from equivariant.actions.base import Action
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.shapes import Matrix, Vector


class Dual(Action):
    """ρ*(g) = ρ(g⁻¹)ᵀ, so that ⟨ρ*(g) a, ρ(g) z⟩ = ⟨a, z⟩.

    Args:
        action: A linear action of a group.

    Raises:
        ConventionError: The action has no group.

    Example:
        >>> import torch
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import Scaling
        >>> g = Scaling(1).exp(torch.tensor([2.0]).log())
        >>> Dual(Tensors(Scaling(1), 1))(g, torch.tensor([1.0]))
        tensor([0.5000])
    """

    def __init__(self, action: Action) -> None:
        if action.group is None:
            raise ConventionError(
                expected="an action of a group", got="one of any group", argument="action",
                advice="A trivial action is its own dual.",
            )  # fmt: skip
        super().__init__(action.group, action.dim)
        self.action = action
        self._of = action.group

    @property
    def orthogonal(self) -> bool:
        return self.action.orthogonal

    def pieces(self) -> list[tuple[Action, int]]:
        return [(Dual(piece) if piece.group else piece, n) for piece, n in self.action.pieces()]

    def under(self, group: Group) -> Dual:
        return Dual(self.action.under(group))

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        back = self.action.matrix(self._of.inverse(g)).to(z.dtype)
        moved: Tensor = (back.transpose(-1, -2) @ z.unsqueeze(-1)).squeeze(-1)
        return moved
