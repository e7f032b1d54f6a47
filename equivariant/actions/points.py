"""Points that move, and vectors that turn."""

from __future__ import annotations

from torch import Tensor

from equivariant.actions.base import Action
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.shapes import Float, Matrix, RepresentationMatrix, Vector


def space_dim(group: Group) -> int:
    """Dimension of the space whose points a group moves.

    Raises:
        ConventionError: The group does not act on points.
    """
    found = group.space_dim
    if found is None:
        raise ConventionError(
            expected="a group that moves points by its matrices",
            got=str(group),
            argument="group",
            advice="For one factor of a product group use Factor(Points(SO3()), product, index).",
        )
    return found


class Points(Action):
    """Points of a cloud, x ↦ R x + p, all points of a cloud moved by one element.

    Args:
        group: A group that moves points: its ``space_dim`` is not None.

    Raises:
        ConventionError: The group does not act on points.

    Example:
        >>> import torch
        >>> from equivariant.groups import SE3
        >>> cloud = torch.randn(8, 100, 3)
        >>> g = SE3().sample(8, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        >>> Points(SE3())(g, cloud).shape
        torch.Size([8, 100, 3])
    """

    event_dim: int = 2

    def __init__(self, group: Group) -> None:
        super().__init__(group, space_dim(group))

    @property
    def orthogonal(self) -> bool:
        group = self.group
        return group is not None and group.preserves_lengths and group.matrix_size == self.dim

    def under(self, group: Group) -> Points:
        return Points(group)

    def forward(self, g: Matrix, z: Float[Tensor, "... points dim"]) -> Tensor:
        """Args:
            g: Elements, shape (..., n, n).
            z: Clouds, shape (..., points, dim), in the unit of length of g's translations.

        Returns:
            Shape (..., points, dim).
        """
        self.check_element(g)
        self.check_vector(z)
        d = self.dim
        moved = z @ g[..., :d, :d].transpose(-1, -2)
        return moved + g[..., None, :d, d] if g.shape[-1] > d else moved

    def matrix(self, g: Matrix) -> RepresentationMatrix:
        if self.group is not None and self.group.matrix_size > self.dim:
            raise ConventionError(
                expected="a linear action",
                got=f"{self.group}, which is affine on points",
                argument="g",
                advice="Vectors(group) acts by the linear part.",
            )
        self.check_element(g)
        return g


class Vectors(Action):
    """Channels of vectors (velocities, forces, normals): each turns by the linear part of g.

    Args:
        group: A group that moves points; translations leave vectors alone.
        channels: Number of vectors; z holds them one after another.

    Raises:
        ConventionError: The group does not act on points.

    Example:
        >>> from equivariant.groups import SO3
        >>> Vectors(SO3(), channels=64).dim
        192
    """

    def __init__(self, group: Group, channels: int = 1) -> None:
        super().__init__(group, channels * space_dim(group))
        self.channels = channels

    @property
    def orthogonal(self) -> bool:
        return self.group is not None and self.group.preserves_lengths

    def pieces(self) -> list[tuple[Action, int]]:
        return [(self, 1)] if self.group is None else [(Vectors(self.group), self.channels)]

    def under(self, group: Group) -> Vectors:
        return Vectors(group, self.channels)

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        d = self.dim // self.channels
        vectors = z.reshape(*z.shape[:-1], self.channels, d)
        return (vectors @ g[..., :d, :d].transpose(-1, -2)).flatten(-2)
