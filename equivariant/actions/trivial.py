"""The action that does nothing: invariance."""

from __future__ import annotations

import torch

from equivariant.actions.base import Action
from equivariant.groups import Group
from equivariant.shapes import Matrix, Vector


class Trivial(Action):
    """ρ(g) z = z. A map whose output carries it is invariant.

    Args:
        dim: Size of the representation.
        group: Group that acts; None for any.

    Example:
        >>> Trivial(2)(torch.eye(3), torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    def __init__(self, dim: int, group: Group | None = None) -> None:
        super().__init__(group, dim)

    @property
    def orthogonal(self) -> bool:
        return True

    def pieces(self) -> list[tuple[Action, int]]:
        return [(Trivial(1, self.group), self.dim)]

    def under(self, group: Group) -> Trivial:
        return Trivial(self.dim, group)

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        return z.expand(*torch.broadcast_shapes(g.shape[:-2], z.shape[:-1]), -1)
