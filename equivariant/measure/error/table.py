"""What one measurement keeps: a few numbers for each item and element, no output."""

from __future__ import annotations

import math
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
        gap: |d|₂, shape (items, samples), float64. NaN where an entry of f(g·x) or g·f(x) that
            counts is not finite, as all that follow but ``count``.
        first: |f(g·x)|₂.
        last: |g·f(x)|₂.
        largest: max|d|.
        total: Σ|d|, entry by entry.
        excess: max(|d| - 1e-5 |g·f(x)|), for comparisons as ``allclose`` makes them.
        count: Entries compared.
        element: Root mean square of the entries of g - 1.
        weights: Importance weights of the elements.
        bias: |mean_g d|₂, shape (items,).
        orbit_variance: mean_g |g⁻¹·f(g·x) - mean_g g⁻¹·f(g·x)|², shape (items,); None where it
            was not asked for.
        deviation: root of the mean of |f(x) - mean f|² over rows and the entries of a row: what
            an error is compared with by ``normalized_mse``.
        logits: Flip, Kullback-Leibler divergence, total variation and change of margin of the
            classes that an output predicts, each (items, samples); empty if not asked for.
        crossed: Whether all items saw the same elements.
    """

    gap: PerDraw
    first: PerDraw
    last: PerDraw
    largest: PerDraw
    total: PerDraw
    excess: PerDraw
    count: PerDraw
    element: PerDraw
    weights: PerDraw
    bias: Float[Tensor, " items"]
    orbit_variance: Float[Tensor, " items"] | None
    deviation: float
    logits: Mapping[str, PerDraw] = field(default_factory=dict)
    crossed: bool = False

    @property
    def difference(self) -> PerDraw:
        """Σ|d|²; overflows where |d|₂ exceeds 1e154."""
        return self.gap.square()


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
        Shape (items,) each, float64, on the CPU. Norms are of entries divided by the item's
        largest, so that no square over- or underflows.
    """
    left, right = left.double(), right.double()
    kept = torch.ones_like(left)
    if mask is not None:
        kept = mask.to(left.device).expand_as(left).to(left)
        left, right = (torch.where(kept > 0, side, 0.0) for side in (left, right))
    size = _by_item(
        torch.maximum(_largest(left.abs()), _largest(right.abs())), item_of_row, items,
        largest=True,
    )  # fmt: skip
    scale = power_of_two(size)
    of_row = (scale if item_of_row is None else scale[item_of_row]).reshape(
        -1, *(1,) * (left.ndim - 1)
    )
    left, right = left / of_row, right / of_row
    distance = (left - right).abs()
    sums = {
        "gap": distance.square(), "first": left.square(), "last": right.square(),
        "total": distance, "count": kept,
    }  # fmt: skip
    found = {
        name: _by_item(value.flatten(1).sum(1), item_of_row, items) for name, value in sums.items()
    }
    for name in ("gap", "first", "last"):
        found[name] = found[name].sqrt()
    for name, value in (
        ("largest", distance),
        ("excess", distance - _ALLCLOSE_RTOL * right.abs()),
    ):
        found[name] = _by_item(_largest(value), item_of_row, items, largest=True)
    finite = torch.isfinite(size)
    return {
        name: (value if name == "count" else torch.where(finite, scale * value, math.nan)).cpu()
        for name, value in found.items()
    }


def power_of_two(size: Tensor) -> Tensor:
    """The power of two next below a number, float64; 1 for zero and what is not finite.

    To divide by it changes no digit.
    """
    usable = (size > 0) & torch.isfinite(size)
    exponent = torch.frexp(torch.where(usable, size, 1.0)).exponent - 1
    return torch.pow(torch.full_like(size, 2.0), exponent.to(size))


def relative_error(numbers: Mapping[str, Tensor]) -> Tensor:
    """2|d|₂ / (|f(g·x)|₂ + |g·f(x)|₂) of what :func:`compare` found; 0 where both vanish."""
    return share(numbers["gap"], numbers["first"] / 2 + numbers["last"] / 2)


def share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole; 0 where the part is 0, NaN where one of them is."""
    return torch.where(part == 0, 0.0 * whole, part / whole)


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
    known = ~(left.isnan() | right.isnan()).any(-1)
    return {name: torch.where(known, value, math.nan).cpu() for name, value in found.items()}


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
