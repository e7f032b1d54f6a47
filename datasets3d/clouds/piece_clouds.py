"""Clouds of objects made of rigid pieces, with the exact motion of every piece between any two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from equivariant.actions import Piecewise
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SE3
from equivariant.shapes import Float, Int, Matrix


@dataclass(frozen=True, eq=False)
class PieceClouds:
    """Objects whose rigid parts were moved, as clouds whose points correspond.

    Each object is sampled once, at rest, with the part of every point. A cloud is the object
    moved by one element of SE3 per part: with p the part of point i,

        x_i = R_p y_i + t_p,    so the motion from cloud a to cloud b is  g_p = e_p(b) e_p(a)⁻¹

    Args:
        rest: Points at rest, shape (objects, points, 3), float64.
        parts: Part of every point, shape (objects, points), int64, in [0, parts).
        object_id: Which object each cloud shows, shape (N,), int64.
        elements: e_p of each cloud, shape (N, parts, 4, 4), float64.
        labels: Class of each cloud, shape (N,), int64.
        part_names: Names of the parts.

    Raises:
        ShapeError: The fields do not fit one another.
        ConventionError: A part or an object is out of its range.

    Example:
        >>> lifted = torch.eye(4, dtype=torch.float64).repeat(2, 2, 1, 1)
        >>> lifted[1, 1, 2, 3] = 1.0
        >>> pieces = PieceClouds(torch.zeros(1, 3, 3, dtype=torch.float64),
        ...     torch.tensor([[0, 0, 1]]), torch.tensor([0, 0]), lifted, torch.tensor([5, 5]),
        ...     ("box", "lid"))
        >>> pieces.clouds[1, :, 2].tolist(), pieces.motion(0, 1).shape
        ([0.0, 0.0, 1.0], torch.Size([8, 8]))
    """

    rest: Float[Tensor, "objects points 3"]
    parts: Int[Tensor, "objects points"]
    object_id: Int[Tensor, " n"]
    elements: Float[Tensor, "n parts 4 4"]
    labels: Int[Tensor, " n"]
    part_names: tuple[str, ...]

    def __post_init__(self) -> None:
        count, rows = len(self.part_names), len(self.object_id)
        if (
            self.parts.shape != self.rest.shape[:2]
            or self.elements.shape != (rows, count, 4, 4)
            or len(self.labels) != rows
        ):
            raise ShapeError(
                expected=f"one part per point, {count} elements and one label per cloud",
                got=f"parts {tuple(self.parts.shape)} of points {tuple(self.rest.shape)}, "
                f"elements {tuple(self.elements.shape)}, {len(self.labels)} labels",
                argument="elements",
                advice="See the documentation of PieceClouds.",
            )
        for name, values, limit in (
            ("parts", self.parts, count), ("object_id", self.object_id, len(self.rest)),
        ):  # fmt: skip
            if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < limit:
                raise ConventionError(
                    expected=f"numbers in [0, {limit})",
                    got=f"{int(values.min())} to {int(values.max())}",
                    argument=name, advice="Count from 0.",
                )  # fmt: skip

    def __len__(self) -> int:
        return len(self.object_id)

    def __getitem__(self, rows: slice | Tensor) -> PieceClouds:
        """Some of the clouds, in the order asked for."""
        return PieceClouds(
            self.rest, self.parts, self.object_id[rows], self.elements[rows], self.labels[rows],
            self.part_names,
        )  # fmt: skip

    @property
    def point_parts(self) -> Int[Tensor, "n points"]:
        """Part of every point of every cloud, shape (N, points), int64."""
        return self.parts[self.object_id]

    @cached_property
    def clouds(self) -> Float[Tensor, "n points 3"]:
        """All clouds, shape (N, points, 3), float64; kept in memory."""
        return self.moved(self.elements, self.object_id)

    def action(self, rows: slice | Tensor | int = slice(None)) -> Piecewise:
        """The action that moves the parts of some clouds, each by an element of its own.

        Args:
            rows: Which clouds; an integer gives the action on that one cloud.

        Returns:
            With labels of shape (len(rows), points), or (points,).
        """
        return Piecewise(SE3(), self.parts[self.object_id[rows]], count=len(self.part_names))

    def motion(self, a: int | Tensor, b: int | Tensor) -> Matrix:
        """The element of the piecewise action that takes one cloud to another.

        Args:
            a: Rows of clouds.
            b: Rows of clouds of the same objects.

        Returns:
            Block-diagonal matrices, an element of SE3 per part, shape (..., 4 parts, 4 parts),
            float64; ``action(a)(motion(a, b), clouds[a])`` is ``clouds[b]``.

        Raises:
            ConventionError: The clouds show different objects.
        """
        if not torch.equal(self.object_id[a], self.object_id[b]):
            raise ConventionError(
                expected="clouds of the same objects",
                got=f"objects {self.object_id[a].tolist()} and {self.object_id[b].tolist()}",
                argument="b",
                advice="Points correspond only within one object.",
            )
        return join(self.elements[b] @ SE3().inverse(self.elements[a]))

    def moved(
        self, elements: Float[Tensor, "n parts 4 4"], object_id: Int[Tensor, " n"]
    ) -> Float[Tensor, "n points 3"]:
        """Objects moved from rest.

        Args:
            elements: One element of SE3 per part, shape (n, parts, 4, 4).
            object_id: Which objects, shape (n,), int64.

        Returns:
            Shape (n, points, 3), float64.
        """
        return move_pieces(elements, self.rest[object_id], self.parts[object_id])


def move_pieces(
    elements: Float[Tensor, "... parts 4 4"],
    points: Float[Tensor, "... points 3"],
    parts: Int[Tensor, "... points"],
) -> Float[Tensor, "... points 3"]:
    """Points moved by the elements of their parts, without block-diagonal matrices.

    Args:
        elements: Elements of SE3, shape (..., parts, 4, 4).
        points: Shape (..., points, 3).
        parts: Shape (..., points), int64.

    Returns:
        Shape (..., points, 3).

    Example:
        >>> up = torch.eye(4).repeat(2, 1, 1)
        >>> up[1, 2, 3] = 1.0
        >>> move_pieces(up, torch.zeros(2, 3), torch.tensor([0, 1]))[:, 2].tolist()
        [0.0, 1.0]
    """
    own = elements.take_along_dim(parts[..., None, None], -3)
    moved: Tensor = (own[..., :3, :3] @ points.unsqueeze(-1)).squeeze(-1) + own[..., :3, 3]
    return moved


def join(elements: Float[Tensor, "... parts 4 4"]) -> Matrix:
    """One block-diagonal matrix per set of parts: an element of ``Product(SE3(), ...)``.

    Args:
        elements: Elements of SE3, shape (..., parts, 4, 4).

    Returns:
        Shape (..., 4 parts, 4 parts).

    Example:
        >>> join(torch.eye(4).expand(3, 4, 4)).equal(torch.eye(12))
        True
    """
    count = elements.shape[-3]
    joined = elements.new_zeros(*elements.shape[:-3], count, 4, count, 4)
    index = torch.arange(count, device=elements.device)
    joined[..., index, :, index, :] = elements.movedim(-3, 0)
    return joined.flatten(-4, -3).flatten(-2, -1)
