"""Which rows attract and which repel, answered tile by tile, never stored as N x M."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.losses.sides import Side
from equivariant.shapes import Float


class Pairs(ABC):
    """Attraction weights P ≥ 0 and the logarithm of repulsion weights W ≥ 0 of a tile."""

    @abstractmethod
    def tile(
        self, q: Side, k: Side, rows: slice, columns: slice
    ) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]:
        """P and log W of some anchors against some candidates.

        Args:
            q: Anchors.
            k: Candidates.
            rows: Which anchors.
            columns: Which candidates.

        Returns:
            P, zero where a pair does not attract, not normalized; log W, -inf where a
            candidate does not appear among the anchor's negatives. A positive has its log W
            too: the share with which it stays in the denominator is the core's ``keep``.
        """

    @staticmethod
    def same(key: Literal["id", "label"]) -> Same:
        """Rows with one id (or label) attract, all candidates repel."""
        return Same(key)


@dataclass(frozen=True)
class Same(Pairs):
    """Rows that share a name attract with weight 1; every candidate repels with weight 1.

    Args:
        key: Which name: ``id`` or ``label``.
        drop_self: Whether a row is left out of its own candidates, as needed where anchors
            and candidates are the same rows.

    Raises:
        ConventionError: A side does not know the name (when a tile is asked for).
    """

    key: Literal["id", "label"]
    drop_self: bool = False

    def not_self(self) -> Same:
        """The same pairs without a row's pair with itself."""
        return replace(self, drop_self=True)

    def tile(
        self, q: Side, k: Side, rows: slice, columns: slice
    ) -> tuple[Float[Tensor, "rows columns"], Float[Tensor, "rows columns"]]:
        names_q, names_k = self._names(q, "q")[rows], self._names(k, "k")[columns]
        positive = names_q[:, None] == names_k[None, :]
        log_weight = torch.zeros(positive.shape, dtype=torch.float32, device=positive.device)
        if self.drop_self:
            itself = q.index[rows, None] == k.index[None, columns]
            positive = positive & ~itself
            log_weight = log_weight.masked_fill(itself, -torch.inf)
        return positive.to(torch.float32), log_weight

    def _names(self, side: Side, argument: str) -> Tensor:
        names: Tensor | None = getattr(side, self.key)
        if names is None:
            raise ConventionError(
                expected=f"a side that knows its rows' {self.key}",
                got="None",
                argument=argument,
                advice=f"Pass {self.key}= when making the Side.",
            )
        return names
