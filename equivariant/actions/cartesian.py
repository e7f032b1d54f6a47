"""Cartesian tensors, of which every index turns like a vector."""

from __future__ import annotations

from torch import Tensor

from equivariant.actions.base import Action
from equivariant.actions.points import space_dim
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.shapes import Matrix, Vector


class CartesianTensors(Action):
    """Channels of Cartesian tensors (stress, polarizability): every index turns.

        (g·T)_{ij...} = Σ R_{ik} R_{jl} ... T_{kl...},   R the linear part of g

    Args:
        group: A group that moves points; translations leave tensors alone.
        rank: Number of indices, at least 1; 1 is a vector, 2 a matrix T ↦ R T Rᵀ.
        channels: Number of tensors. z holds them one after another, each row by row, so that
            its last axis has ``channels * d**rank`` entries: a stress of shape (..., 3, 3) is
            ``stress.flatten(-2)``. Motions take it in either shape.

    Raises:
        ConventionError: The group does not act on points, or the rank is below 1.

    Example:
        >>> from equivariant.groups import SO3
        >>> CartesianTensors(SO3(), rank=2).dim
        9
    """

    def __init__(self, group: Group, rank: int = 2, channels: int = 1) -> None:
        if rank < 1:
            raise ConventionError(
                expected="a rank of at least 1",
                got=str(rank),
                argument="rank",
                advice="A scalar is Trivial(1).",
            )
        super().__init__(group, channels * space_dim(group) ** rank)
        self.rank, self.channels = rank, channels

    @property
    def orthogonal(self) -> bool:
        return self.group is not None and self.group.preserves_lengths

    def pieces(self) -> list[tuple[Action, int]]:
        if self.group is None:
            return [(self, 1)]
        return [(CartesianTensors(self.group, self.rank), self.channels)]

    def under(self, group: Group) -> CartesianTensors:
        return CartesianTensors(group, self.rank, self.channels)

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        d = round((self.dim // self.channels) ** (1 / self.rank))
        linear = g[..., None, :d, :d]
        rows: Tensor = z.reshape(*z.shape[:-1], self.channels, -1, d)
        for _ in range(self.rank):  # the last index turns and becomes the first
            turned = rows @ linear.transpose(-1, -2)
            rows = turned.transpose(-1, -2).flatten(-2).unflatten(-1, (-1, d))
        return rows.flatten(-3)

    def extra_repr(self) -> str:
        return f"{self.group}, rank={self.rank}, channels={self.channels}"
