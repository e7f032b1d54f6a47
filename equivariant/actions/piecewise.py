"""Clouds of rigid pieces, each moved by an element of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.actions.base import Action
from equivariant.actions.points import space_dim
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group, Product
from equivariant.shapes import Float, Int, Matrix, RepresentationMatrix


class Piecewise(Action):
    """Points of articulated bodies, ``x_i ↦ R_p x_i + t_p`` with p = parts_i the point's part.

    The element lies in ``Product(group, ..., group)``, one factor per part; equal factors move
    the cloud as ``Points(group)`` does.

    Args:
        group: Group of one part: SO2, SO3, O3 or SE3.
        parts: Part of each point, int64, shape (points,), every number from 0 to the number of
            parts less one occurring.

    Raises:
        ConventionError: The group does not act on points, or a part has no point.
        ShapeError: ``parts`` is not a list of at least one label.

    Example:
        >>> from equivariant.groups import SO2
        >>> action = Piecewise(SO2(), torch.tensor([0, 0, 1]))
        >>> g = action.group.exp(torch.tensor([0.0, torch.pi]))
        >>> action(g, torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])).round()
        tensor([[ 1.,  0.],
                [ 0.,  1.],
                [-1., -2.]])
    """

    event_dim: int = 2
    parts: Tensor

    def __init__(self, group: Group, parts: Int[Tensor, "... points"]) -> None:
        _check_parts(parts)
        count = int(parts.max()) + 1
        super().__init__(Product(*[group] * count), space_dim(group))
        self.part_group = group
        self.register_buffer("parts", parts.clone(), persistent=False)

    @property
    def orthogonal(self) -> bool:
        return self.part_group.compact

    def forward(
        self, g: Matrix, z: Float[Tensor, "... points dim"]
    ) -> Float[Tensor, "... points dim"]:
        """Every point moved by the element of its part.

        Args:
            g: Elements of the product, shape (..., parts * n, parts * n).
            z: Clouds, shape (..., points, dim), in the unit of length of g's translations; the
                batch axes of g and z broadcast.

        Returns:
            Shape (..., points, dim), dtype of z.

        Raises:
            ShapeError: The last axes of g or z do not fit.
        """
        self.check_element(g)
        self.check_vector(z)
        d, n = self.dim, self.part_group.matrix_size
        count = g.shape[-1] // n
        blocks = g.to(z.dtype).unflatten(-2, (count, n)).unflatten(-1, (count, n))
        own = blocks.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)[..., self.parts, :, :]
        moved: Tensor = (own[..., :d, :d] @ z.unsqueeze(-1)).squeeze(-1)
        if n > d:
            moved = moved + own[..., :d, d]
        return moved

    def matrix(self, g: Matrix) -> RepresentationMatrix:
        """Refused: points of different parts move by different matrices.

        Raises:
            ConventionError: Always.
        """
        raise ConventionError(
            expected="an action by one matrix per element",
            got="one matrix per part",
            argument="g",
            advice="action.group.split(g) has the element of each part.",
        )

    def check_vector(self, z: Tensor) -> None:
        """Raise ShapeError unless the last two axes are (points, dim)."""
        event = (len(self.parts), self.dim)
        if z.ndim < 2 or tuple(z.shape[-2:]) != event:
            raise ShapeError(
                expected=f"clouds of shape (..., {event[0]}, {event[1]})",
                got=f"shape {tuple(z.shape)}",
                argument="z",
                advice="Each point needs the one label that `parts` gives it.",
            )


def _check_parts(parts: Tensor) -> None:
    if parts.ndim != 1 or len(parts) == 0:
        raise ShapeError(
            expected="one label per point, shape (points,)",
            got=f"shape {tuple(parts.shape)}",
            argument="parts",
            advice="Clouds of one batch share their labels.",
        )
    if parts.dtype != torch.int64 or not torch.equal(
        parts.unique(), torch.arange(int(parts.max()) + 1, device=parts.device)
    ):
        raise ConventionError(
            expected="int64 labels that use every number from 0 up",
            got=f"{parts.dtype} labels {parts.unique().tolist()[:8]}",
            argument="parts",
            advice="Renumber them with labels.unique(return_inverse=True)[1].",
        )
