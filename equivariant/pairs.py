"""The one batch that objectives, probes and measurements share."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from equivariant.errors import ShapeError


@dataclass(frozen=True)
class PairBatch:
    """Pairs of views: ``b`` shows g applied to what ``a`` shows.

    Args:
        a: First views, shape (batch, ...).
        b: Second views, shape (batch, ...).
        g: Elements of the group as square matrices, shape (batch, n, n).
        object_id: Which object a pair shows, shape (batch,), int64; None if unknown.
        label: Class of that object, shape (batch,), int64; None if unknown.
        pose_a: Absolute rotation ``world_from_object`` of the first view, shape (batch, 3, 3);
            None if unknown.
        pose_b: The same of the second view.
        relative_xyzw: Quaternion of the relative rotation, its sign that of the angles that were
            recorded, shape (batch, 4); None if unknown.
        parts: Of clouds of rigid pieces the piece of every point, shape (batch, points), int64:
            ``Piecewise(group, parts, count=n)(g, a)`` is b; None for everything else.

    Raises:
        ShapeError: The first axes differ, or g is not square.

    Example:
        >>> batch = PairBatch(torch.zeros(4, 2), torch.ones(4, 2), torch.eye(3).expand(4, 3, 3))
        >>> len(batch), batch.to(dtype=torch.float64).a.dtype
        (4, torch.float64)
    """

    a: Tensor
    b: Tensor
    g: Tensor
    object_id: Tensor | None = None
    label: Tensor | None = None
    pose_a: Tensor | None = None
    pose_b: Tensor | None = None
    relative_xyzw: Tensor | None = None
    parts: Tensor | None = None

    def __post_init__(self) -> None:
        for name, value in self.tensors().items():
            if value.ndim < 1 or value.shape[0] != self.a.shape[0]:
                raise ShapeError(
                    expected=f"{self.a.shape[0]} entries along the first axis, as in a",
                    got=f"shape {tuple(value.shape)}",
                    argument=name,
                    advice="One row per pair.",
                )
        if self.g.ndim != 3 or self.g.shape[1] != self.g.shape[2]:
            raise ShapeError(
                expected="one square matrix per pair, shape (batch, n, n)",
                got=f"shape {tuple(self.g.shape)}",
                argument="g",
                advice="Elements of every group are square matrices; see equivariant.groups.",
            )

    def __len__(self) -> int:
        return int(self.a.shape[0])

    def to(
        self, device: torch.device | str | None = None, *, dtype: torch.dtype | None = None
    ) -> PairBatch:
        """The same pairs elsewhere; views and elements take the dtype, all else keeps its own.

        Args:
            device: Where to; None keeps it.
            dtype: Floating dtype of ``a``, ``b`` and ``g``; None keeps it.
        """
        moved = {
            name: value.to(device=device, dtype=dtype if name in ("a", "b", "g") else None)
            for name, value in self.tensors().items()
        }
        return replace(self, **moved)

    def __getitem__(self, rows: slice | Tensor) -> PairBatch:
        """Some of the pairs, in the order asked for."""
        return replace(self, **{name: value[rows] for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """What is known, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
