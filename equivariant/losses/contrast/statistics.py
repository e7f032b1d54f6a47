"""Pulls, pushes and links: the algebra of one block of anchors against all candidates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.losses.contrast.margins import Circle, PairMargin, circle_gap, pair_margin_loss
from equivariant.losses.contrast.pairs import Tile
from equivariant.shapes import Bool, Float


@dataclass(frozen=True)
class Boltzmann:
    """Σ_j softmax_j(log w_j + t ℓ_j) ℓ_j: the mean at t = 0, the greatest logit as t → ∞.

    Args:
        t: Any finite number; negative weighs low logits more.
    """

    t: float


@dataclass(frozen=True)
class Hinge:
    """relu(margin + R - A)."""

    margin: float


@dataclass(frozen=True)
class PairSigmoid:
    """Each pair on its own: Σ_j P_ij softplus(-(ℓ_ij + b)) + Σ_j W_ij softplus(ℓ_ij + b).

    Args:
        bias: b, a number or a tensor of shape () that may be trained.
    """

    bias: float | Tensor = 0.0


@dataclass(frozen=True)
class PairHinge:
    """Each candidate on its own: Σ_j W_ij relu(margin + ℓ_ij - A_i)."""

    margin: float


@dataclass(frozen=True)
class Hardest:
    """Only an anchor's most similar negatives stay in its push set; ties stay together.

    Args:
        count: How many, at least 1.
        share: Upper quantile of the negatives, in (0, 1].
        above: Smallest similarity (before the temperature).

    Raises:
        ConventionError: Not exactly one of the three is given, or it is out of its range.
    """

    count: int | None = None
    share: float | None = None
    above: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.count, self.share, self.above) if value is not None]
        count_ok = self.count is None or self.count >= 1
        share_ok = self.share is None or 0.0 < self.share <= 1.0
        if len(given) != 1 or not count_ok or not share_ok:
            raise ConventionError(
                expected="one of count >= 1, share in (0, 1], above",
                got=f"count={self.count}, share={self.share}, above={self.above}",
                argument="hardest",
                advice="Hardest(count=64) keeps the 64 most similar negatives.",
            )

    def select(self, s: Tensor, negative: Tensor) -> Tensor:
        """Which negatives stay, shape (N, M), bool."""
        with torch.no_grad():
            if self.above is not None:
                return negative & ~(s < self.above)  # NaN stays, and is seen
            scores = torch.where(negative, s, -math.inf)
            if self.count is not None:
                least = scores.topk(min(self.count, s.shape[1]), 1).values[:, -1:]
            else:
                # 0.3 * 50 is 15, not the 15.000001 of float32, whose ceiling is 16.
                number = negative.sum(1, keepdim=True).double() * float(self.share or 0.0)
                place = (number - 1e-9).ceil().long().clamp(min=1) - 1
                least = scores.sort(1, descending=True).values.gather(1, place)
            return negative & ~(scores < least)


Pull = Literal["mean", "sum", "lse", "lme", "max", "min", "each", "none"] | Boltzmann
Push = Literal["mean", "sum", "lse", "lme", "max", "none"] | Boltzmann
Link = Literal["gap", "softplus"] | Hinge | PairSigmoid | PairHinge | PairMargin | Circle

PULLS = ("mean", "sum", "lse", "lme", "max", "min", "each", "none")
PUSHES = ("mean", "sum", "lse", "lme", "max", "none")
LINKS = ("gap", "softplus")


@dataclass(frozen=True)
class Form:
    """How pulls and pushes become a loss; the arguments of :func:`contrast` of these names.

    Raises:
        ConventionError: A name is unknown, keep is outside [0, 1], or a link lacks the side it
            compares.
    """

    keep: float = 1.0
    pull: Pull = "mean"
    push: Push = "lse"
    link: Link = "gap"
    hardest: Hardest | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.keep <= 1.0:
            raise ConventionError(
                expected="a number in [0, 1]", got=str(self.keep), argument="keep",
                advice="1 keeps the positive in the denominator, 0 leaves it out.",
            )  # fmt: skip
        for argument, known in (("pull", PULLS), ("push", PUSHES), ("link", LINKS)):
            value = getattr(self, argument)
            if isinstance(value, str) and value not in known:
                raise ConventionError(
                    expected=f"one of {', '.join(known)}, or an object that says more",
                    got=repr(value), argument=argument,
                    advice="See the table in the docstring of contrast.",
                )  # fmt: skip
        single = "none" in (self.pull, self.push)
        if self.pull == self.push == "none" or (single and self.link != "gap"):
            raise ConventionError(
                expected="a pull and a push to compare, or the plain gap of one of them",
                got=f"pull={self.pull!r}, push={self.push!r}, link={self.link!r}",
                argument="pull",
                advice="With pull='none' or push='none' keep link='gap'.",
            )


@dataclass(frozen=True)
class Values:
    """Per-anchor values of a block: loss, validity, gap, push mass, entropy."""

    loss: Float[Tensor, n]
    valid: Bool[Tensor, n]
    gap: Float[Tensor, n]
    push_mass: Float[Tensor, n]
    entropy: Float[Tensor, n]


def evaluate(s: Tensor, logits: Tensor, tile: Tile, form: Form) -> Values:
    """The losses of a block of anchors, by plain differentiable tensor algebra.

    Args:
        s: Similarities, shape (N, M).
        logits: Similarities over temperature, shape (N, M).
        tile: Who attracts and repels.
        form: Statistics and link.
    """
    if logits.shape[1] == 0:
        none = logits.sum(1)
        return _values(none, none != 0, none.detach(), logits, logits, logits > 0)
    positive, log_w = tile.positive, tile.log_repulsion.to(logits)
    p = torch.where(positive, tile.attraction.to(logits), 0.0)
    if form.hardest is not None:
        stays = form.hardest.select(s, ~positive & (log_w != -math.inf)) | positive
        log_w = torch.where(stays, log_w, -math.inf)
    log_keep = math.log(form.keep) if form.keep > 0 else -math.inf
    log_w = torch.where(positive, log_w + log_keep, log_w)
    pushed = log_w != -math.inf  # so that NaN is not left out
    if isinstance(form.link, PairSigmoid):
        return _pair_sigmoid(logits, p, positive, log_w, form)
    if isinstance(form.link, PairMargin):
        w = torch.where(pushed & ~positive, log_w, -math.inf).exp()
        pull, push = pair_margin_loss(logits, p, positive, w, form.link)
        valid = positive.any(1) | (w > 0).any(1)
        return _values(pull + push, valid, (push - pull).detach(), logits, log_w, positive)
    if isinstance(form.link, Circle):
        gap, valid = circle_gap(logits, p, positive, log_w, form.link)
        loss = torch.where(valid, softplus(gap), 0.0)
        return _values(loss, valid, gap, logits, log_w, positive)
    repelled, has_push = _push(logits, log_w, pushed, form.push)
    if form.pull == "none":
        valid, gap = has_push, torch.where(has_push, repelled, 0.0)
        return _values(gap, valid, gap, logits, log_w, positive)
    attracted, has_positive = _pull(logits, p, positive, form.pull)
    if form.push == "none":
        gap = torch.where(has_positive, -attracted, 0.0)
        return _values(gap, has_positive, gap, logits, log_w, positive)
    valid = has_positive & has_push
    gap = torch.where(valid, repelled - attracted, 0.0)
    if isinstance(form.link, PairHinge):
        loss = _pair_hinge(logits, attracted, log_w, pushed, form.link.margin, form.push)
    elif form.pull == "each":
        margins = torch.where(positive & valid[:, None], repelled[:, None] - logits, 0.0)
        share = p / torch.where(has_positive, p.sum(1), 1.0)[:, None]
        loss = (share * _link(margins, form.link)).sum(1)
    else:
        loss = _link(gap, form.link)
    # An empty push set means R = -inf: softplus and hinges of the gap are then exactly 0.
    counted = valid if form.link == "gap" else has_positive
    return _values(torch.where(valid, loss, 0.0), counted, gap, logits, log_w, positive)


def _values(
    loss: Tensor, valid: Tensor, gap: Tensor, logits: Tensor, log_w: Tensor, positive: Tensor
) -> Values:
    with torch.no_grad():
        some = (log_w > -math.inf).any(1, keepdim=True)
        share = torch.softmax(torch.where(some, logits + log_w, 0.0), 1) * some
        mass = torch.where(positive, 0.0, share).sum(1)
        entropy = torch.special.entr(share).sum(1)
    return Values(loss, valid, gap.detach(), mass, entropy)


def softplus(x: Tensor) -> Tensor:
    """log(1 + eˣ) to the last digit, where PyTorch's own is linear from x = 20 on."""
    return torch.logaddexp(x, torch.zeros_like(x))


def _link(gap: Tensor, link: Link) -> Tensor:
    if isinstance(link, Hinge):
        return torch.relu(link.margin + gap)
    return softplus(gap) if link == "softplus" else gap


def _pull(logits: Tensor, p: Tensor, positive: Tensor, kind: Pull) -> tuple[Tensor, Tensor]:
    """Pull statistic of each row's positives and whether it has any; 0 for a row without."""
    some = positive.any(1)
    if kind in ("mean", "each", "sum"):
        total = (p * logits).sum(1)
        return (total if kind == "sum" else total / torch.where(some, p.sum(1), 1.0)), some
    if kind == "min":
        lowest = torch.where(positive, logits, math.inf).amin(1)
        return torch.where(some, lowest, 0.0), some
    log_p = torch.where(positive, torch.where(positive, p, 1.0).log(), -math.inf)
    return _statistic(logits, log_p, positive, kind), some


def _push(logits: Tensor, log_w: Tensor, pushed: Tensor, kind: Push) -> tuple[Tensor, Tensor]:
    some = pushed.any(1)
    if kind == "none":
        return torch.zeros_like(logits[:, 0]) if logits.shape[1] else logits.sum(1), some
    if kind in ("mean", "sum"):
        w = torch.where(pushed, log_w, 0.0).exp() * pushed
        total = (w * logits).sum(1)
        return (total if kind == "sum" else total / torch.where(some, w.sum(1), 1.0)), some
    return _statistic(logits, log_w, pushed, kind), some


def _statistic(logits: Tensor, log_weight: Tensor, member: Tensor, kind: str | Boltzmann) -> Tensor:
    some = member.any(1)
    # A row without members weighs all alike: its logsumexp must have a gradient, of 0 in the end.
    weight = torch.where(some[:, None], log_weight, 0.0)
    if isinstance(kind, Boltzmann):
        value = (torch.softmax(weight + kind.t * logits, 1) * logits).sum(1)
    elif kind == "max":
        value = torch.where(weight != -math.inf, logits, -math.inf).amax(1)
    else:
        value = torch.logsumexp(logits + weight, 1)
        if kind == "lme":
            value = value - torch.logsumexp(weight, 1)
    return torch.where(some, value, 0.0)


def _pair_hinge(
    logits: Tensor, attracted: Tensor, log_w: Tensor, pushed: Tensor, margin: float, push: Push
) -> Tensor:
    w = torch.where(pushed, log_w, 0.0).exp() * pushed
    hinge = torch.relu(torch.where(pushed, margin + logits - attracted[:, None], 0.0))
    total = (w * hinge).sum(1)
    return total if push == "sum" else total / torch.where(pushed.any(1), w.sum(1), 1.0)


def _pair_sigmoid(logits: Tensor, p: Tensor, positive: Tensor, log_w: Tensor, form: Form) -> Values:
    link = form.link
    bias = link.bias if isinstance(link, PairSigmoid) else 0.0
    negative = ~positive & (log_w != -math.inf)
    w = torch.where(negative, log_w, 0.0).exp() * negative
    pull = (p * softplus(-(torch.where(positive, logits, 0.0) + bias))).sum(1)
    push = (w * softplus(torch.where(negative, logits, 0.0) + bias)).sum(1)
    if form.pull != "sum":
        pull = pull / torch.where(positive.any(1), p.sum(1), 1.0)
    if form.push != "sum":
        push = push / torch.where(negative.any(1), w.sum(1), 1.0)
    valid = positive.any(1) | negative.any(1)
    return _values(pull + push, valid, (push - pull).detach(), logits, log_w, positive)
