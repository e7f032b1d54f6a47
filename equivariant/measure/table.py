"""What one measurement keeps: a few numbers for each item and element, no output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from equivariant.shapes import Float

_ALLCLOSE_RTOL = 1e-5  # of escnn's check

PerDraw = Float[Tensor, "items samples"]


@dataclass(frozen=True)
class ErrorTable:
    """Numbers about d = f(g·x) - g·f(x) for one output, from which every metric follows.

    Args:
        difference: Σ|d|², shape (items, samples), float64.
        moved_first: Σ|f(g·x)|².
        moved_last: Σ|g·f(x)|².
        largest: max|d|.
        total: Σ|d|, entry by entry.
        excess: max(|d| - 1e-5 |g·f(x)|), for comparisons as ``allclose`` makes them.
        count: Entries compared.
        element: Root mean square of the entries of g - 1.
        weights: Importance weights of the elements.
        bias: |mean_g d|₂, shape (items,).
        orbit_variance: mean_g |g⁻¹·f(g·x) - mean_g g⁻¹·f(g·x)|², shape (items,); None where it
            was not asked for.
        spread: mean over rows of |f(x) - mean f|², and the entries of a row: what an error is
            compared with by ``normalized_mse``.
        logits: Flip, Kullback-Leibler divergence, total variation and change of margin of the
            classes that an output predicts, each (items, samples); empty if not asked for.
        crossed: Whether all items saw the same elements.
    """

    difference: PerDraw
    moved_first: PerDraw
    moved_last: PerDraw
    largest: PerDraw
    total: PerDraw
    excess: PerDraw
    count: PerDraw
    element: PerDraw
    weights: PerDraw
    bias: Float[Tensor, " items"]
    orbit_variance: Float[Tensor, " items"] | None
    spread: float
    logits: Mapping[str, PerDraw] = field(default_factory=dict)
    crossed: bool = False


def compare(
    left: Tensor, right: Tensor, *, mask: Tensor | None, item_of_row: Tensor | None, items: int
) -> dict[str, Tensor]:
    """The numbers of :class:`ErrorTable` for one element per item.

    Args:
        left: f(g·x), shape (rows, ...).
        right: g·f(x), same shape.
        mask: Entries that count, broadcastable; None for all.
        item_of_row: Item of each row; None where row and item are the same.
        items: Number of items.

    Returns:
        Shape (items,) each, float64, on the CPU.
    """
    left, right = left.double(), right.double()
    if mask is not None:
        left, right = left * mask, right * mask
    difference = left - right
    distance = difference.abs()
    kept = torch.ones_like(left) if mask is None else mask.to(left).expand_as(left)
    sums = {
        "difference": difference.square(),
        "moved_first": left.square(),
        "moved_last": right.square(),
        "total": distance,
        "count": kept,
    }
    found = {
        name: _by_item(value.flatten(1).sum(1), item_of_row, items) for name, value in sums.items()
    }
    for name, value in (
        ("largest", distance),
        ("excess", distance - _ALLCLOSE_RTOL * right.abs()),
    ):
        found[name] = _by_item(_largest(value), item_of_row, items, largest=True)
    return {name: value.cpu() for name, value in found.items()}


def relative_error(numbers: Mapping[str, Tensor]) -> Tensor:
    """2|d|₂ / (|f(g·x)|₂ + |g·f(x)|₂) of what :func:`compare` found; 0 where both vanish."""
    scale = numbers["moved_first"].sqrt() + numbers["moved_last"].sqrt()
    error: Tensor = 2 * numbers["difference"].sqrt() / scale.clamp(min=1e-300)
    return error


def compare_logits(left: Tensor, right: Tensor) -> dict[str, Tensor]:
    """How predictions change, per item: see ``logits`` of :class:`ErrorTable`.

    Args:
        left: Logits f(g·x), shape (items, classes).
        right: Logits f(x).
    """
    p, q = log_softmax(right.double(), -1), log_softmax(left.double(), -1)
    before = right.double().topk(2, -1)
    winner, after = before.indices[:, :1], left.double()
    others = after.scatter(-1, winner, -torch.inf).amax(-1)
    margin = after.gather(-1, winner)[:, 0] - others
    found = {
        "flip": (left.argmax(-1) != winner[:, 0]).double(),
        "kl": (p.exp() * (p - q)).sum(-1),
        "total_variation": 0.5 * (p.exp() - q.exp()).abs().sum(-1),
        "margin_change": (margin - (before.values[:, 0] - before.values[:, 1])).abs(),
    }
    return {name: value.cpu() for name, value in found.items()}


def _largest(value: Tensor) -> Tensor:
    return value.flatten(1).amax(1) if value[0:1].numel() else value.new_zeros(value.shape[0])


def _by_item(
    value: Tensor, item_of_row: Tensor | None, items: int, *, largest: bool = False
) -> Tensor:
    if item_of_row is None:
        return value
    reduce = "amax" if largest else "sum"
    zero = value.new_zeros(items)
    return zero.scatter_reduce(0, item_of_row, value, reduce, include_self=not largest)
