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
        parts: Part of each point, int64, shape (points,), or (..., points) with labels of its
            own for each cloud of a batch. Without ``count`` every number from 0 to the number
            of parts less one occurs in every cloud.
        count: Number of parts, where clouds need not have a point of each; labels lie in
            [0, count). None takes the largest label plus one.

    Raises:
        ConventionError: The group does not act on points, a label is out of its range, or a part
            has no point and ``count`` is not given.
        ShapeError: ``parts`` holds no label.

    Example:
        >>> from equivariant.groups import SO2
        >>> action = Piecewise(SO2(), torch.tensor([0, 0, 1]))
        >>> g = action.group.exp(torch.tensor([0.0, torch.pi]))
        >>> action(g, torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])).round()
        tensor([[ 1.,  0.],
                [ 0.,  1.],
                [-1., -2.]])
        >>> action = Piecewise(SO2(), torch.tensor([[0, 1], [1, 1]]), count=2)
        >>> action(g, torch.ones(2, 2, 2)).round()[1].tolist()
        [[-1.0, -1.0], [-1.0, -1.0]]
    """

    event_dim: int = 2
    parts: Tensor

    def __init__(
        self, group: Group, parts: Int[Tensor, "... points"], *, count: int | None = None
    ) -> None:
        _check_parts(parts, count)
        count = int(parts.max()) + 1 if count is None else count
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
                batch axes of g, z and the labels broadcast.

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
        each = blocks.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)
        own = each[..., self.parts, :, :] if self.parts.ndim == 1 else self._by_cloud(each)
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
        """Raise ShapeError unless the last axes are (points, dim) and the batch fits the labels."""
        *batch, points = self.parts.shape
        if z.ndim < 2 or tuple(z.shape[-2:]) != (points, self.dim) or not _fits(z, batch):
            shape = ", ".join(["...", *map(str, (*batch, points, self.dim))])
            raise ShapeError(
                expected=f"clouds of shape ({shape})",
                got=f"shape {tuple(z.shape)}",
                argument="z",
                advice="Each point needs the one label that `parts` gives it.",
            )

    def _by_cloud(self, each: Float[Tensor, "... parts n n"]) -> Float[Tensor, "... points n n"]:
        """The element of every point, each cloud of a batch with labels of its own."""
        batch = torch.broadcast_shapes(each.shape[:-3], self.parts.shape[:-1])
        rows = self.parts.expand(*batch, -1)[..., None, None]
        own: Tensor = each.expand(*batch, -1, -1, -1).take_along_dim(rows, -3)
        return own


def _fits(z: Tensor, batch: list[int]) -> bool:
    """Whether the batch axes of clouds broadcast with those of their labels."""
    pairs = zip(reversed(z.shape[:-2]), reversed(batch), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)


def _check_parts(parts: Tensor, count: int | None) -> None:
    if parts.ndim < 1 or parts.numel() == 0:
        raise ShapeError(
            expected="one label per point, shape (points,) or (..., points)",
            got=f"shape {tuple(parts.shape)}",
            argument="parts",
            advice="Clouds of one batch may share their labels.",
        )
    if parts.dtype != torch.int64 or (count is None and not _complete(parts)):
        raise ConventionError(
            expected="int64 labels that use every number from 0 up",
            got=f"{parts.dtype} labels {parts.unique().tolist()[:8]}",
            argument="parts",
            advice="Renumber them with labels.unique(return_inverse=True)[1], or, where clouds "
            "lack a part, say count=.",
        )
    if count is not None and not 0 <= int(parts.min()) <= int(parts.max()) < count:
        raise ConventionError(
            expected=f"labels in [0, {count})",
            got=f"labels from {int(parts.min())} to {int(parts.max())}",
            argument="count",
            advice="The number of parts counts those without a point too.",
        )


def _complete(parts: Tensor) -> bool:
    """Whether every cloud has a point of every part."""
    rows, count = parts.flatten(0, -2) if parts.ndim > 1 else parts[None], int(parts.max()) + 1
    if int(parts.min()) < 0:
        return False
    present = torch.zeros(len(rows), count, dtype=torch.bool, device=parts.device)
    return bool(present.scatter(1, rows, torch.ones_like(rows, dtype=torch.bool)).all())
