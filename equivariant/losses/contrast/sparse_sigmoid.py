"""Every pair judged alone, where few are listed: one matrix product and one exponential a block.

With x_ij = s_ij / τ + b, most pairs cost softplus(x_ij), whose derivative is sigmoid(x_ij); the
listed ones are put right afterwards: positives cost P softplus(-x), others W softplus(x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from equivariant.losses.contrast.pairs import Entries
from equivariant.losses.contrast.statistics import Form, PairSigmoid, Values
from equivariant.losses.contrast.tiles import Sweep, Swept, keep_values, room_for_values

_ENTRIES_PER_BLOCK = 1 << 18
_EXACT = 40.0
"""Where softplus(x) - x is below the rounding of float64."""
_SMALL, _LARGE = 60.0, 10.0
"""Greatest logits of a row between -60 and 10: sums of their exponentials neither vanish nor
overflow in products of eight, in float32."""


@dataclass(frozen=True)
class SparseSigmoid(Sweep):
    """Blocks of anchors against all candidates.

    Inputs of the sweep: feature maps (N, E) and (M, E) with 1/τ multiplied in, and b, shape ().

    Args:
        entries: The pairs that do not just repel, without a bias.
        form: One that :func:`fits_sigmoid`.
    """

    entries: Entries
    form: Form

    def run(self, inputs: tuple[Tensor, ...], upstream: Tensor, wanted: tuple[bool, ...]) -> Swept:
        left, right, bias = inputs
        d_left = torch.empty_like(left) if wanted[0] else None
        d_right = torch.zeros_like(right) if wanted[1] else None
        d_bias = torch.zeros_like(bias) if wanted[2] else None
        results, size = room_for_values(left, len(left)), max(len(right), 1)
        step = min(max(_ENTRIES_PER_BLOCK // size, 64), max(len(left), 1))
        room = left.new_empty(2, step, len(right))
        for start in range(0, len(left), step):
            rows = slice(start, min(start + step, len(left)))
            x, slope = room[:, : rows.stop - start]
            torch.addmm(bias, left[rows], right.T, out=x)
            values, factor = self._block(x, slope, rows)
            results = keep_values(results, values, rows)
            factor = factor * upstream[rows]
            if d_left is not None:
                torch.mm(slope, right, out=d_left[rows]).mul_(factor[:, None])
            if d_right is not None:
                d_right.addmm_(slope.T, left[rows] * factor[:, None])
            if d_bias is not None:
                d_bias += slope.sum(1) @ factor
        return Swept(results, (d_left, d_right, d_bias))

    def _block(self, x: Tensor, slope: Tensor, rows: slice) -> tuple[Values, Tensor]:
        """Values of the rows; ``slope`` times the factors are the derivatives of losses by x."""
        entries, form = self.entries, self.form
        if entries.one_each:
            return self._block_one_each(x, slope, rows)
        ends = torch.tensor([rows.start, rows.stop], device=entries.row.device)
        listed = slice(*(int(i) for i in torch.searchsorted(entries.row, ends)))
        row, column = entries.row[listed] - rows.start, entries.column[listed]
        positive, log_w = entries.positive[listed], entries.log_repulsion[listed].to(x)
        p = torch.where(positive, entries.attraction[listed].to(x), 0.0)
        w = torch.where(positive, 0.0, log_w.exp())
        at, zero = x[row, column], x.new_zeros(len(x))
        log_keep = math.log(form.keep) if form.keep > 0 else -math.inf
        pushing = torch.where(positive, log_w + log_keep, log_w)

        def summed(values: Tensor) -> Tensor:
            return zero.index_add(0, row, values)

        every, mass, entropy = _all_repelling(x, slope, Listed(row, column, positive, pushing))
        push = every + summed((w - 1.0) * softplus(at, 1.0, _EXACT))
        pull = summed(p * softplus(-at, 1.0, _EXACT))
        rest = x.shape[1] - summed(torch.ones_like(at))
        has_positive = summed(positive.to(x)) > 0
        has_negative = rest + summed((w > 0).to(x)) > 0
        of_pull, of_push = zero + 1.0, zero + 1.0
        if form.pull != "sum":
            of_pull = torch.where(has_positive, summed(p), 1.0)
        if form.push != "sum":
            of_push = torch.where(has_negative, rest + summed(w), 1.0)
        # All of a row is multiplied by 1 / of_push in the end.
        pulled = p * torch.sigmoid(-at) * (of_push / of_pull)[row]
        slope[row, column] = w * torch.sigmoid(at) - pulled
        pull, push = pull / of_pull, push / of_push
        valid = has_positive | has_negative
        return Values(pull + push, valid, push - pull, mass, entropy), 1.0 / of_push

    def _block_one_each(self, x: Tensor, slope: Tensor, rows: slice) -> tuple[Values, Tensor]:
        """The same where every anchor has one positive, of weight 1 in pull and push."""
        row, column = self.entries.row[: len(x)], self.entries.column[rows]
        place = column[:, None]
        at = x.gather(1, place)[:, 0]
        one = torch.ones_like(at)
        log_keep = math.log(self.form.keep) if self.form.keep > 0 else -math.inf
        listed = Listed(
            row, column, one > 0, one * log_keep, one_each=True, all_push=self.form.keep == 1.0
        )
        every, mass, entropy = _all_repelling(x, slope, listed)
        of_push = max(x.shape[1] - 1, 1) if self.form.push != "sum" else 1
        repelled = softplus(at, 1.0, _EXACT)
        pull, push = repelled - at, (every - repelled) / of_push
        slope.scatter_(1, place, torch.sigmoid(-at)[:, None] * -of_push)
        return Values(pull + push, one > 0, push - pull, mass, entropy), one / of_push


@dataclass(frozen=True)
class Listed:
    """The listed pairs of a block.

    Args:
        row: Their rows in the block, shape (E,).
        column: Their columns.
        positive: Which attract.
        log_w: Their log W in the push set.
        one_each: Whether pair i is the one of row i.
        all_push: Whether pairs are in the push set like all others.
    """

    row: Tensor
    column: Tensor
    positive: Tensor
    log_w: Tensor
    one_each: bool = False
    all_push: bool = False

    def of(self, x: Tensor) -> Tensor:
        """Entries of a matrix at the pairs."""
        if self.one_each:
            return x.gather(1, self.column[:, None])[:, 0]
        return x[self.row, self.column]

    def added(self, total: Tensor, values: Tensor) -> Tensor:
        """A number of each row, and what its pairs add to it."""
        return total + values if self.one_each else total.index_add(0, self.row, values)

    def attracted(self, values: Tensor, rows: int) -> Tensor:
        """The sum of a row's values at its positive pairs."""
        if self.one_each:
            return values
        mine = torch.where(self.positive, values, 0.0)
        return values.new_zeros(rows).index_add(0, self.row, mine)


def _all_repelling(x: Tensor, slope: Tensor, listed: Listed) -> tuple[Tensor, Tensor, Tensor]:
    """Σ_j softplus(x_ij), softmax mass on no positive, and entropy; slope becomes sigmoid(x)."""
    if x.shape[1] == 0:
        return x.sum(1), x.sum(1), x.sum(1)
    top = x.amax(1)
    low, high = (float(bound) for bound in torch.aminmax(top)) if len(top) else (0.0, 0.0)
    if low > -_SMALL and high < _LARGE:
        return _by_exponentials(x, slope, listed)
    mass, entropy = _softmax_of(x, slope, listed)
    torch.sigmoid(x, out=slope)
    return softplus(x, 1.0, _EXACT).sum(1), mass, entropy


def _by_exponentials(x: Tensor, slope: Tensor, listed: Listed) -> tuple[Tensor, Tensor, Tensor]:
    """The same from one exponential per pair, where none overflows in a product of eight.

    Σ_j log(1 + e_j) needs one logarithm for eight pairs: (1 + a)(1 + b) = 1 + (a + b + ab), and
    the bracket keeps the digits of small a and b.
    """
    at, e = listed.of(x), torch.exp(x, out=slope)
    odd, product = x.new_zeros(len(x)), e
    for _ in range(3):
        half = product.shape[1] // 2
        if product.shape[1] % 2:
            odd = odd + torch.log1p(product[:, -1])
        a, b = product[:, :half], product[:, half : 2 * half]
        product = (a + b).addcmul_(a, b)
    every = torch.log1p(product).sum(1) + odd
    before, log_w = at.exp(), listed.log_w
    allowed, moment = e.sum(1), e.mul_(x).sum(1)
    torch.sigmoid(x, out=slope)
    if listed.one_each and listed.all_push:
        entropy = allowed.log() - moment / allowed
        return every, (1.0 - before / allowed).clamp(min=0.0), entropy.clamp(min=0.0)
    weighed = (at + log_w).exp()
    allowed = listed.added(allowed, weighed - before)
    kept = torch.where(weighed > 0, weighed * (at + log_w), 0.0)
    moment = listed.added(moment, kept - before * at)
    some = allowed > 0
    safe = torch.where(some, allowed, 1.0)
    mass = torch.where(some, 1.0 - listed.attracted(weighed, len(x)) / safe, 0.0)
    entropy = torch.where(some, safe.log() - moment / safe, 0.0)
    return every, mass.clamp(min=0.0), entropy.clamp(min=0.0)


def _softmax_of(x: Tensor, room: Tensor, listed: Listed) -> tuple[Tensor, Tensor]:
    """Softmax mass on candidates that are not positives, and entropy; x is left as it was."""
    row, column, log_w = listed.row, listed.column, listed.log_w
    kept = x[row, column]
    x[row, column] = kept + log_w
    top = x.amax(1)
    some = top != -torch.inf
    torch.softmax(x, 1, out=room)
    lse = top - room.amax(1).log()
    at = room[row, column]
    mass = torch.ones_like(lse).index_add(0, row, torch.where(listed.positive, -at, 0.0))
    x[row, column] = torch.where(log_w > -torch.inf, kept + log_w, 0.0)
    entropy = lse - room.mul_(x).sum(1)
    x[row, column] = kept
    found = (torch.where(some, value, 0.0).clamp(min=0.0) for value in (mass, entropy))
    return next(found), next(found)


def fits_sigmoid(form: Form) -> bool:
    """Whether pairs are judged alone, all of them."""
    return isinstance(form.link, PairSigmoid) and form.hardest is None
