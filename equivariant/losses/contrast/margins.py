"""Links of deep metric learning: margins of single pairs, and the circle loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError


@dataclass(frozen=True)
class PairMargin:
    """Each pair on its own, beyond a margin: relu(above - ℓ) for positives, relu(ℓ - below) else.

    L_i = mean or sum over the positives P_ij relu(above - ℓ_ij), plus the same over the others
    of W_ij relu(ℓ_ij - below).

    Args:
        above: Logit from which a positive costs nothing.
        below: Logit up to which a negative costs nothing.
        counted: Whether means are over the pairs that cost something, instead of over all.
    """

    above: float
    below: float
    counted: bool = False


@dataclass(frozen=True)
class Circle:
    """log(1 + Σ_n exp(γ α_n (s_n - m)) Σ_p exp(γ α_p (1 - m - s_p))), of cosines s: τ is 1.

    α_p = relu(1 + m - s_p) and α_n = relu(s_n + m) have no gradient: pairs that are far from where
    they should be move more.

    Args:
        margin: m, in (0, 1).
        gamma: γ > 0.

    Raises:
        ConventionError: m or γ is out of its range.
    """

    margin: float
    gamma: float

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1 or not self.gamma > 0:
            raise ConventionError(
                expected="a margin in (0, 1) and gamma above 0",
                got=f"margin={self.margin}, gamma={self.gamma}", argument="margin",
                advice="Common are 0.25 and 256, or 0.4 and 80.",
            )  # fmt: skip


def pair_margin_loss(
    logits: Tensor, p: Tensor, positive: Tensor, w: Tensor, link: PairMargin
) -> tuple[Tensor, Tensor]:
    """Sums of each row's positives and of its negatives, and what they are to be divided by.

    Args:
        logits: Shape (N, M).
        p: P, 0 where not positive.
        positive: Shape (N, M), bool.
        w: W, 0 where positive or not in the push set.
        link: Margins.

    Returns:
        Means over positives and over negatives, shape (N,) each; 0 of none.
    """
    pull = torch.relu(link.above - torch.where(positive, logits, link.above))
    push = torch.relu(torch.where(w > 0, logits, link.below) - link.below)
    means = []
    for weight, cost in ((p, pull), (w, push)):
        counts = weight * (cost > 0) if link.counted else weight
        total = counts.sum(1)
        means.append((weight * cost).sum(1) / torch.where(total > 0, total, 1.0))
    return means[0], means[1]


def circle_gap(
    s: Tensor, p: Tensor, positive: Tensor, log_w: Tensor, link: Circle
) -> tuple[Tensor, Tensor]:
    """The logarithm of both sums' product, and which rows have a positive and a negative.

    Args:
        s: Cosines, shape (N, M).
        p: P, 0 where not positive.
        positive: Shape (N, M), bool.
        log_w: log W; -inf where not in the push set.
        link: Margin and scale.
    """
    m, gamma = link.margin, link.gamma
    negative = ~positive & (log_w != -math.inf)
    valid = positive.any(1) & negative.any(1)
    far, near = torch.relu(1.0 + m - s).detach(), torch.relu(s + m).detach()
    pulled = gamma * far * (1.0 - m - s) + torch.where(positive, p, 1.0).log()
    pushed = gamma * near * (s - m) + torch.where(negative, log_w, 0.0)
    gap = torch.zeros_like(s[:, 0]) if s.shape[1] else s.sum(1)
    for x, member in ((pulled, positive), (pushed, negative)):
        # A row that does not count takes all pairs: its logsumexp has a gradient, of 0 in the end.
        counted = torch.where(member | ~valid[:, None], x, -math.inf)
        gap = gap + torch.where(valid, counted.logsumexp(1), 0.0) if s.shape[1] else gap
    return gap, valid
