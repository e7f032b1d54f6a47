"""Log-sum-exp pushes whose positives are whole classes: their pull needs no list of pairs.

With ψ_j the candidates' features, the mean logit of an anchor's positives is its product with the
mean of their features,

    A_i = φ_i · μ_i,   μ_i = (Σ_{j of i's class} ψ_j - Σ_{excluded} ψ_j) / number of these,

which costs O(M E) for the sums of all classes; so does its share of the gradients. What is left
is the push of :mod:`sparse_softmax`, in which only excluded pairs are listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.losses.contrast.pairs import Classes
from equivariant.losses.contrast.sparse_softmax import ListedSoftmax, SelectedPairs, link_of
from equivariant.losses.contrast.statistics import Form, Values
from equivariant.losses.contrast.tiles import Sweep, Swept, blocks, keep_values, room_for_values


@dataclass(frozen=True)
class ClassSoftmax(Sweep):
    """Blocks of anchors against all candidates, positives by class.

    Inputs of the sweep: feature maps (N, E) and (M, E) with 1/τ multiplied in.

    Args:
        classes: Classes of anchors and candidates, and the pairs that do not count.
        form: One that :func:`fits_classes`.
    """

    classes: Classes
    form: Form

    def run(self, inputs: tuple[Tensor, ...], upstream: Tensor, wanted: tuple[bool, ...]) -> Swept:
        left, right = inputs
        d_left = torch.zeros_like(left) if wanted[0] else None
        d_right = torch.zeros_like(right) if wanted[1] else None
        sums = _Sums.of(self.classes, right)
        attracted = torch.zeros_like(sums.features)
        results, room = room_for_values(left, len(left)), None
        for rows in blocks(left.shape[0], right.shape[0]):
            if room is None:
                room = left.new_empty(2, rows.stop, right.shape[0])
            s, share = room[:, : rows.stop - rows.start]
            torch.mm(left[rows], right.T, out=s)
            block = ListedSoftmax(self.classes.excluded, Form(pull="none")).weigh(s, share, rows)
            own = sums.of_anchor[rows]
            inside = own[block.row] == sums.of_candidate[block.column]
            row, column = block.row[inside], block.column[inside]
            mean, count = sums.means(right, own, row, column)
            pushed = share @ right
            values, slope = self._values(block, left[rows], mean, count, pushed)
            values.push_mass.sub_((share @ sums.one_hot).gather(1, own[:, None])[:, 0])
            results = keep_values(results, values, rows)
            factor = (slope * upstream[rows])[:, None]
            if d_left is not None:
                torch.mul(pushed.sub_(mean), factor, out=d_left[rows])
            if d_right is not None:
                scaled = left[rows] * factor
                d_right.addmm_(share.T, scaled)
                scaled /= count.clamp(min=1.0)[:, None]
                attracted.index_add_(0, own, scaled)
                d_right.index_add_(0, column, scaled[row])
        if d_right is not None:
            d_right -= attracted[sums.of_candidate]
        results.push_mass.clamp_(min=0.0)
        return Swept(results, (d_left, d_right))

    def _values(
        self, block: SelectedPairs, left: Tensor, mean: Tensor, count: Tensor, pushed: Tensor
    ) -> tuple[Values, Tensor]:
        """Values of a block, whose push mass still has that of the positives, and the slopes."""
        push = block.less((left * pushed).sum(1))
        pull = (left * mean).sum(1)
        some = count * push.valid > 0
        valid, gap, loss, slope = link_of(push.loss, pull, push.valid, some, self.form)
        counted = valid if self.form.link == "gap" else some
        return Values(loss, counted, gap, push.push_mass, push.entropy), slope


@dataclass(frozen=True)
class _Sums:
    """What is known of the candidates of each class.

    Args:
        of_anchor: Class of each anchor, from 0, shape (N,).
        of_candidate: Class of each candidate, shape (M,).
        one_hot: The same as a matrix, shape (M, C).
        features: Sums of the candidates' features, shape (C, E).
        counts: Numbers of candidates, shape (C,).
    """

    of_anchor: Tensor
    of_candidate: Tensor
    one_hot: Tensor
    features: Tensor
    counts: Tensor

    @staticmethod
    def of(classes: Classes, right: Tensor) -> _Sums:
        """Sums of the candidates' features by class."""
        of_anchor, of_candidate = classes.numbered()
        count = int(torch.cat([of_anchor, of_candidate]).max()) + 1 if len(of_candidate) else 1
        one_hot = right.new_zeros(len(right), count).scatter_(1, of_candidate[:, None], 1.0)
        return _Sums(of_anchor, of_candidate, one_hot, one_hot.T @ right, one_hot.sum(0))

    def means(
        self, right: Tensor, own: Tensor, row: Tensor, column: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean features of each anchor's positives, and their number.

        Args:
            right: Features of the candidates.
            own: Class of each anchor.
            row: Anchors of the pairs of one class that do not count.
            column: Their candidates.
        """
        mean, count = self.features[own], self.counts[own]
        mean.index_add_(0, row, right[column], alpha=-1.0)
        count.index_add_(0, row, torch.ones_like(count)[row], alpha=-1.0)
        return mean / count.clamp(min=1.0)[:, None], count


def fits_classes(form: Form) -> bool:
    """Whether the form's pull is a mean over a class, all of which stays in the push set."""
    return (
        form.pull == "mean"
        and form.push == "lse"
        and form.keep == 1.0
        and form.link in ("gap", "softplus")
        and form.hardest is None
    )
