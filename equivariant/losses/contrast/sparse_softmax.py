"""Log-sum-exp pushes whose pairs are listed, by one matrix product and one softmax a block.

Most pairs just repel with weight 1; only the few that do not (positives, excluded ones, weights)
are listed. With logits ℓ_ij = s_ij / τ, the push of anchor i is

    lse_i = log Σ_j W_ij exp(ℓ_ij),      ∂ lse_i / ∂ ℓ_ij = share_ij = softmax_j(ℓ_ij + log W_ij)

so a block is one product of features, an addition of log W at the listed places, and one softmax
in place. The loss is a function of gap_i = lse_i - pull_i with slope_i = d loss_i / d gap_i, hence

    ∂ loss_i / ∂ ℓ_ij = slope_i (share_ij - entry_share_ij),

entry_share being the derivative of the pull, which is not 0 at listed places alone: the gradient by
an anchor is slope_i (Σ_j share_ij ψ_j - Σ_listed entry_share_ij ψ_j), again one matrix product
and a short sum. Nothing of size N x M is kept beyond the block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.losses.contrast.pairs import Entries
from equivariant.losses.contrast.statistics import Form, Values, softplus
from equivariant.losses.contrast.tiles import (
    Sweep,
    Swept,
    blocks,
    joined,
    keep_values,
    room_for_values,
)

_VANISHES = 1e-30
"""Shares above keep all digits of their logarithm in float32."""
_APART = 16.0
"""Logits so much below the greatest are rounded to a millionth when it is subtracted in float32."""


@dataclass(frozen=True)
class ListedSoftmax:
    """The softmax of each anchor over its push set, and the derivatives of its loss by logits.

    Args:
        entries: The pairs that do not just repel.
        form: A form that :func:`fits`.
    """

    entries: Entries
    form: Form

    @property
    def one_each(self) -> bool:
        """Whether each anchor has one positive, of weight 1 in pull and push."""
        return self.entries.one_each and self.form.keep == 1.0 and self.form.pull != "none"

    def weigh(self, s: Tensor, share: Tensor, rows: slice) -> SelectedPairs:
        """Losses and their derivatives by logits, of a block of rows.

        Args:
            s: Logits of the rows, shape (R, M); log W is added to them.
            share: Room of the same shape, for the softmax over the push set.
            rows: Which rows they are.
        """
        entries, form = self.entries, self.form
        if self.one_each:
            return self._weigh_one_each(s, share, rows)
        ends = torch.tensor([rows.start, rows.stop], device=entries.row.device)
        first, last = (int(i) for i in torch.searchsorted(entries.row, ends))
        listed = slice(first, last)
        row, column = entries.row[listed] - rows.start, entries.column[listed]
        positive = entries.positive[listed]
        logit = s[row, column]
        log_keep = math.log(form.keep) if form.keep > 0 else -math.inf
        log_w = entries.log_repulsion[listed].to(s)
        log_w = torch.where(positive, log_w + log_keep, log_w)
        if entries.bias is not None:
            s.add_(entries.bias.to(s))
        s[row, column] = logit + log_w
        some, lse = _softmax(s, share)
        at_entries = share[row, column]
        attracted, entry_share, has_positive = self._pull(logit, row, listed, s)
        zero = torch.zeros_like(lse)
        mass = some.to(s) - zero.index_add(0, row, torch.where(positive, at_entries, 0.0))
        bias = 0.0 if entries.bias is None else entries.bias.to(s)[column]
        finite = torch.where(at_entries > 0, log_w - bias, 0.0)
        offset = zero.index_add(0, row, at_entries * finite)
        if entries.bias is not None:
            allowed = torch.where(entries.bias > -math.inf, entries.bias, 0.0).to(s)
            offset = offset + share @ allowed
        valid, gap, loss, slope = link_of(lse, attracted, some, has_positive, form)
        counted = valid if form.link == "gap" else has_positive
        entropy = torch.where(some, lse - offset, 0.0)
        values = Values(loss, counted, gap, mass.clamp(min=0.0), entropy)
        return SelectedPairs(values, slope, share, row, column, entry_share, offset)

    def _weigh_one_each(self, s: Tensor, share: Tensor, rows: slice) -> SelectedPairs:
        """The same where every anchor has one positive, of weight 1 in pull and push."""
        row, column = self.entries.row[: len(s)], self.entries.column[rows]
        place = column[:, None]
        logit = s.gather(1, place)[:, 0]
        some, lse = _softmax(s, share, logit, place)
        one = torch.ones_like(lse)
        valid, gap, loss, slope = link_of(lse, logit, some, one > 0, self.form)
        mass = (some.to(s) - share.gather(1, place)[:, 0]).clamp(min=0.0)
        values = Values(loss, valid, gap, mass, lse)
        return SelectedPairs(values, slope, share, row, column, one, torch.zeros_like(lse))

    def _pull(
        self, logit: Tensor, row: Tensor, listed: slice, s: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pull statistic of each row, its derivative by each listed logit, and whether any."""
        zero = s.new_zeros(s.shape[0])
        positive = self.entries.positive[listed]
        p = torch.where(positive, self.entries.attraction[listed].to(s), 0.0)
        has = zero.index_add(0, row, positive.to(s)) > 0
        if self.form.pull == "none":
            return zero, torch.zeros_like(p), ~has | has
        if self.form.pull == "lse":
            scored = torch.where(positive, logit + p.log(), -math.inf)
            top = torch.full_like(zero, -math.inf).scatter_reduce(0, row, scored, "amax")
            top = torch.where(has, top, 0.0)
            total = zero.index_add(0, row, (scored - top[row]).exp())
            value = torch.where(has, top + torch.where(has, total, 1.0).log(), 0.0)
            return value, (scored - value[row]).exp(), has
        if self.form.pull == "mean":
            total = zero.index_add(0, row, p)
            p = p / torch.where(has, total, 1.0)[row]
        return zero.index_add(0, row, p * torch.where(positive, logit, 0.0)), p, has


@dataclass
class SelectedPairs:
    """Losses of one block of anchors and what their gradient needs; the entropy is incomplete.

    Args:
        values: Losses and diagnostics; the entropy still lacks the mean logit, Σ_j share ℓ.
        slope: Derivative of each loss by its gap, shape (R,); 0 where not valid.
        share: Derivatives of the push statistics by logits, shape (R, M).
        row: Rows of the listed pairs, shape (E,).
        column: Their columns.
        entry_share: Derivatives of the pull statistics by the listed logits, shape (E,).
        offset: Σ_j share log W of each row, shape (R,).
    """

    values: Values
    slope: Tensor
    share: Tensor
    row: Tensor
    column: Tensor
    entry_share: Tensor
    offset: Tensor

    def less(self, mean_logit: Tensor) -> Values:
        """The values, with the entropy completed."""
        values = self.values
        entropy = (values.entropy - mean_logit).clamp(min=0.0)
        return Values(values.loss, values.valid, values.gap, values.push_mass, entropy)


@dataclass(frozen=True)
class SparseSoftmax(Sweep):
    """One matrix product and one softmax a block.

    Inputs of the sweep: feature maps (N, E) and (M, E) with 1/τ multiplied in. The average
    Σ_j softmax_ij ψ_j is the gradient by an anchor, and its product with the anchor is the mean
    logit, from which entropy follows.
    """

    rows: ListedSoftmax

    def run(self, inputs: tuple[Tensor, ...], upstream: Tensor, wanted: tuple[bool, ...]) -> Swept:
        left, right = inputs
        d_left = torch.zeros_like(left) if wanted[0] else None
        d_right = torch.zeros_like(right) if wanted[1] else None
        results, room = room_for_values(left, len(left)), None
        for rows in blocks(left.shape[0], right.shape[0]):
            if room is None:
                room = left.new_empty(2, rows.stop, right.shape[0])
            s, share = room[:, : rows.stop - rows.start]
            torch.mm(left[rows], right.T, out=s)
            block = self.rows.weigh(s, share, rows)
            pushed = share @ right
            results = keep_values(results, block.less((left[rows] * pushed).sum(1)), rows)
            factor = (block.slope * upstream[rows])[:, None]
            weight = block.entry_share[:, None]
            if d_left is not None:
                pushed.index_add_(0, block.row, right[block.column] * -weight)
                torch.mul(pushed, factor, out=d_left[rows])
            if d_right is not None:
                scaled = left[rows] * factor
                d_right.addmm_(share.T, scaled)
                d_right.index_add_(0, block.column, scaled[block.row] * -weight)
        return Swept(results, (d_left, d_right))


@dataclass(frozen=True)
class SweepBothWays(Sweep):
    """Anchors against candidates and candidates against anchors, from one matrix of logits.

    The losses are those of the N anchors, then those of the M candidates. All N M logits are
    held twice: for sizes at which they are small.
    """

    there: ListedSoftmax
    back: ListedSoftmax

    def count(self, inputs: tuple[Tensor, ...]) -> int:
        return int(inputs[0].shape[0] + inputs[1].shape[0])

    def run(self, inputs: tuple[Tensor, ...], upstream: Tensor, wanted: tuple[bool, ...]) -> Swept:
        left, right = inputs
        logits = left @ right.T
        found = self._by_one_exponential(logits, upstream)
        values, slopes = self._by_softmax(logits, upstream) if found is None else found
        d_left = slopes @ right if wanted[0] else None
        d_right = slopes.T @ left if wanted[1] else None
        return Swept(values, (d_left, d_right))

    def _by_one_exponential(self, logits: Tensor, upstream: Tensor) -> tuple[Values, Tensor] | None:
        """Values and the gradient by the logits, where each row and column has one positive.

        With one maximum m for all, e_ij = exp(ℓ_ij - m) serves both directions: its row sums are
        Σ_j, its column sums Σ_i. None where the greatest logits of rows and columns lie so far
        apart that float32 would lose digits of some.
        """
        one_each = self.there.one_each and self.back.one_each
        if not one_each or 0 in logits.shape:
            return None
        low, high = _range_of_greatest(logits)
        if not high - low < _APART:  # nor for NaN
            return None
        e = torch.sub(logits, high).exp_()
        room = logits * e
        ways = ((self.there, logits, e, room), (self.back, logits.T, e.T, room.T))
        values, factors, weights = [], [], []
        for (rows, s, weight, moment), u in zip(ways, upstream.split(logits.shape), strict=True):
            place, total = rows.entries.column[:, None], weight.sum(1)
            logit, share = s.gather(1, place)[:, 0], weight.gather(1, place)[:, 0] / total
            vanishes = share <= _VANISHES
            log_share = torch.where(vanishes, logit - high - total.log(), share.log())
            lse, some = logit - log_share, total > 0
            valid, gap, loss, slope = link_of(lse, logit, some, some, rows.form)
            entropy = (lse - moment.sum(1) / total).clamp(min=0.0)
            values.append(Values(loss, valid, gap, (1.0 - share).clamp(min=0.0), entropy))
            factors.append(slope * u)
            weights.append(factors[-1] / total)
        torch.add(weights[0][:, None], weights[1][None, :], out=room)
        slopes = e.mul_(room)
        for (rows, *_), g, factor in zip(ways, (slopes, slopes.T), factors, strict=True):
            g.scatter_add_(1, rows.entries.column[:, None], -factor[:, None])
        return joined(*values), slopes

    def _by_softmax(self, logits: Tensor, upstream: Tensor) -> tuple[Values, Tensor]:
        """The same by a softmax in each direction."""
        n = len(logits)
        # The second direction works on the transposed view of a copy: one layout for both.
        copy, shares = logits.clone(), (torch.empty_like(logits), torch.empty_like(logits))
        first, factor = self._side(self.there, logits, shares[0], upstream[:n])
        second, factor_back = self._side(self.back, copy.T, shares[1].T, upstream[n:])
        slopes = shares[0].mul_(factor[:, None]).addcmul_(shares[1], factor_back[None, :])
        return joined(first, second), slopes

    @staticmethod
    def _side(
        rows: ListedSoftmax, s: Tensor, share: Tensor, upstream: Tensor
    ) -> tuple[Values, Tensor]:
        """Values, and the factor of each row of ``share``, which becomes dL_i / dlogits."""
        block = rows.weigh(s, share, slice(0, len(s)))
        # Σ_j share (ℓ + log W), less what weigh has taken of log W already; 0 · -inf counts as 0.
        if not rows.entries.one_each:
            listed = s[block.row, block.column]
            s[block.row, block.column] = torch.where(listed > -math.inf, listed, 0.0)
        if rows.entries.bias is not None:
            s[:, rows.entries.bias == -math.inf] = 0.0
        mean = s.mul_(share).sum(1) - block.offset
        values = block.less(mean)
        share[block.row, block.column] -= block.entry_share
        return values, block.slope * upstream


def _range_of_greatest(logits: Tensor) -> tuple[float, float]:
    """The least and the greatest of the greatest logits of rows and columns."""
    low, high = torch.cat([logits.amax(1), logits.amax(0)]).aminmax()
    return float(low), float(high)


def _softmax(
    s: Tensor, out: Tensor, logit: Tensor | None = None, place: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Softmax of each row into ``out`` (0 in rows of -inf), whether a row has any, and its lse.

    A logit of each row, shape (R,), and its place, shape (R, 1), spare two searches for the
    greatest: lse = logit - log share, unless a share vanishes.
    """
    if logit is not None and place is not None and s.shape[1]:
        _into(s, out)
        share = out.gather(1, place)[:, 0]
        if bool((share > _VANISHES).all()):
            return share > 0.0, logit - share.log()
    if s.shape[1] == 0:
        none = s.new_zeros(s.shape[0])
        return none > 0, none
    top = s.amax(1)
    some = top != -math.inf  # NaN is some, and goes through
    if not bool(some.all()):
        s[~some] = 0.0
    _into(s, out)
    lse = torch.where(some, top - out.amax(1).log(), 0.0)
    if not bool(some.all()):
        out[~some] = 0.0
    return some, lse


def _into(s: Tensor, out: Tensor) -> None:
    """Softmax of each row, of a matrix or of the transposed view of one."""
    if s.is_contiguous():
        torch.softmax(s, 1, out=out)
    else:
        torch.softmax(s.T, 0, out=out.T)


def link_of(
    lse: Tensor, attracted: Tensor, some: Tensor, has_positive: Tensor, form: Form
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which rows have both a push and a pull, their gaps, losses, and d loss / d gap."""
    valid = some & has_positive
    gap = torch.where(valid, lse - attracted, 0.0)
    if form.link == "softplus":
        loss = torch.where(valid, softplus(gap), 0.0)
        return valid, gap, loss, torch.where(valid, torch.sigmoid(gap), 0.0)
    return valid, gap, gap, valid.to(gap)


def fits(form: Form) -> bool:
    """Whether log-sum-exp pushes and listed pairs suffice for the form."""
    return (
        form.pull in ("mean", "sum", "lse", "none")
        and form.push == "lse"
        and form.link in ("gap", "softplus")
        and form.hardest is None
    )
