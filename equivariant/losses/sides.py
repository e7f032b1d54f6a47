"""One side of a contrast: embeddings, and what pairs need to know about them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ShapeError


@dataclass(frozen=True)
class Side:
    """Embeddings with their names.

    Args:
        z: Embeddings, shape (N, D), floating point.
        index: Identity of a row, unique over the side (and over all processes), shape (N,),
            int64; rows of two sides with one index are the same vector.
        id: Which object a row shows, shape (N,), int64; None if unknown.
        label: Class of a row, shape (N,), int64; None if unknown.

    Raises:
        ShapeError: z is not a matrix, or an attribute has another length.

    Example:
        >>> side = Side.views(torch.randn(4, 8), torch.randn(4, 8))
        >>> side.z.shape, side.id.tolist()
        (torch.Size([8, 8]), [0, 1, 2, 3, 0, 1, 2, 3])
    """

    z: Tensor
    index: Tensor
    id: Tensor | None = None
    label: Tensor | None = None

    def __post_init__(self) -> None:
        if self.z.ndim != 2:
            raise ShapeError(
                expected="embeddings of shape (N, D)",
                got=f"shape {tuple(self.z.shape)}",
                argument="z",
                advice="Flatten batch axes into one.",
            )
        for name in ("index", "id", "label"):
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != (self.z.shape[0],):
                raise ShapeError(
                    expected=f"one number per embedding, shape ({self.z.shape[0]},)",
                    got=f"shape {tuple(value.shape)}",
                    argument=name,
                    advice="One entry per row of z.",
                )

    @staticmethod
    def of(z: Tensor, *, id: Tensor | None = None, label: Tensor | None = None) -> Side:
        """Rows numbered as they come."""
        return Side(z, torch.arange(z.shape[0], device=z.device), id=id, label=label)

    @staticmethod
    def views(
        a: Tensor, b: Tensor, *, id: Tensor | None = None, label: Tensor | None = None
    ) -> Side:
        """Both views of N objects as 2N rows, first all of a, then all of b.

        Args:
            a: First views, shape (N, D).
            b: Second views, shape (N, D); row i shows the object of a's row i.
            id: Objects, shape (N,); None numbers them as they come, all different.
            label: Classes, shape (N,).
        """
        id = torch.arange(a.shape[0], device=a.device) if id is None else id
        twice = None if label is None else torch.cat([label, label])
        return Side.of(torch.cat([a, b]), id=torch.cat([id, id]), label=twice)

    def __len__(self) -> int:
        return int(self.z.shape[0])
