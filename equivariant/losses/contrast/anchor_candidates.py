"""Candidates that one anchor alone has: synthetic negatives and positives made for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.contrast.pairs import Tile
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.statistics import Form


@dataclass(frozen=True)
class Own:
    """Similarities to each anchor's own candidates, and how these attract and repel.

    Args:
        similarity: Before the temperature, shape (N, S), floating point.
        tile: Weights, of shape (N, S), as those of shared candidates.

    Raises:
        ShapeError: The weights have another shape than the similarities.

    Example:
        >>> import torch
        >>> from equivariant.losses import Side, contrast
        >>> from equivariant.losses.contrast.pairs import Same
        >>> z = Side.of(torch.eye(2), id=torch.arange(2))
        >>> own = repelling(torch.zeros(2, 3))
        >>> loss = contrast(z, z, Same("id"), tau=1.0, own=own).mean()
        >>> round(float(loss), 4)  # -1 + log(e + 1 + 3)
        0.9048
    """

    similarity: Tensor
    tile: Tile

    def __post_init__(self) -> None:
        if self.similarity.ndim != 2 or self.tile.positive.shape != self.similarity.shape:
            raise ShapeError(
                expected=f"weights of shape {tuple(self.similarity.shape)}, (N, S)",
                got=f"shape {tuple(self.tile.positive.shape)}",
                argument="tile",
                advice="One weight per similarity.",
            )


MakeOwn = Callable[[Side, Side, torch.Generator | None], Own]
"""From anchors, candidates and a source of randomness to the anchors' own candidates."""


def repelling(similarity: Tensor, log_weight: Tensor | None = None) -> Own:
    """Own candidates that are negatives.

    Args:
        similarity: Shape (N, S).
        log_weight: log W, shape (N, S); 0 by default, -inf where there is no candidate.
    """
    zero = torch.zeros_like(similarity)
    return Own(similarity, Tile(zero > 0, zero, zero if log_weight is None else log_weight))


def attracting(similarity: Tensor, weight: Tensor | None = None) -> Own:
    """Own candidates that are positives; each is in the push set with the share ``keep``.

    Args:
        similarity: Shape (N, S).
        weight: P and W, shape (N, S), >= 0; 1 by default, 0 where there is no candidate.
    """
    weight = torch.ones_like(similarity) if weight is None else weight.to(similarity)
    return Own(similarity, Tile(weight > 0, weight, weight.log()))


def both(a: Own, b: Own) -> Own:
    """The candidates of both."""
    return Own(torch.cat([a.similarity, b.similarity], 1), joined(a.tile, b.tile))


def joined(a: Tile, b: Tile) -> Tile:
    """The columns of both."""
    return Tile(
        torch.cat([a.positive, b.positive], 1),
        torch.cat([a.attraction, b.attraction.to(a.attraction)], 1),
        torch.cat([a.log_repulsion, b.log_repulsion.to(a.log_repulsion)], 1),
    )


def with_own(s: Tensor, tile: Tile, own: Own, inverse: Tensor, form: Form) -> tuple[Tensor, Tile]:
    """Similarities and weights of shared and own candidates side by side.

    Args:
        s: Similarities to the shared candidates, shape (N, M).
        tile: Their weights, broadcast to (N, M).
        own: The own ones.
        inverse: 1 / τ, one for all or of each anchor.
        form: Statistics and link.

    Raises:
        ShapeError: Another number of anchors.
        ConventionError: Temperatures differ among candidates, or the hardest negatives were to
            be selected: shared and own ones are not of one kind.
    """
    if len(own.similarity) != len(s):
        raise ShapeError(
            expected=f"candidates of each of the {len(s)} anchors",
            got=f"of {len(own.similarity)}",
            argument="own",
            advice="Row i holds anchor i's own candidates.",
        )
    if (inverse.ndim == 2 and inverse.shape[1] > 1) or form.hardest is not None:
        raise ConventionError(
            expected="one temperature for all or of each anchor, and all negatives",
            got="temperatures of candidates" if form.hardest is None else repr(form.hardest),
            argument="own",
            advice="Leave them out where anchors have candidates of their own.",
        )
    wide = Tile(*(x.expand(s.shape) for x in (tile.positive, tile.attraction, tile.log_repulsion)))
    return torch.cat([s, own.similarity.to(s)], 1), joined(wide, own.tile)
