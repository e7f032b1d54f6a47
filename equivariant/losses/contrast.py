"""The core: every contrastive objective is a pull, a push, and a link between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.pairs import Pairs
from equivariant.losses.sides import Side
from equivariant.losses.similarity import Cosine, Similarity
from equivariant.losses.temperature import Fixed, Temperature

Statistic = Literal["mean", "lse"]
Link = Literal["gap", "softplus"]


@dataclass(frozen=True)
class Contrast:
    """Values of a contrast, one per anchor, before any reduction.

    Args:
        per_anchor: L_i, shape (N,), float32 or float64; 0 with zero gradient where not valid.
        valid: Anchors that have a positive and (for a gap) something to push, shape (N,), bool.
        gap: R_i - A_i, detached, shape (N,); 0 where not valid.
        push_mass: Softmax mass on candidates that are not positives, detached, shape (N,).
        entropy: Entropy in nats of the softmax over the push set, detached, shape (N,).
    """

    per_anchor: Tensor
    valid: Tensor
    gap: Tensor
    push_mass: Tensor
    entropy: Tensor

    def mean(self) -> Tensor:
        """Mean over valid anchors; 0, still connected to the graph, where there is none."""
        return self.per_anchor.sum() / self.valid.sum().clamp(min=1)


def contrast(
    q: Side,
    k: Side,
    pairs: Pairs,
    *,
    tau: float | Temperature = 0.1,
    similarity: Similarity | None = None,
    keep: float = 1.0,
    pull: Statistic = "mean",
    push: Statistic = "lse",
    link: Link = "gap",
) -> Contrast:
    """Attract positives, repel candidates.

    With logits ℓ_ij = s(q_i, k_j) / τ, attraction weights P (rows normalized to sum 1 under a
    mean) and repulsion weights W:

        A_i = Σ_j P_ij ℓ_ij            or  log Σ_j P_ij exp ℓ_ij              (pull)
        R_i = log Σ_j W_ij exp ℓ_ij    or  Σ_j W_ij ℓ_ij / Σ_j W_ij           (push)
        L_i = R_i - A_i                or  softplus(R_i - A_i)                (link)

    where W of a positive is multiplied by ``keep``: 1 is InfoNCE, 0 is the decoupled loss, and
    softplus of the decoupled gap is InfoNCE again.

    Similarities and sums are computed in float32 or wider, outside autocast. Logits are scaled
    first and masked after, so a learned temperature has a finite gradient beside masked pairs.

    Args:
        q: Anchors, N rows.
        k: Candidates, M rows of the same width.
        pairs: Who attracts and who repels whom.
        tau: Temperature, > 0.
        similarity: Cosine by default.
        keep: Share of an anchor's positives in its push set, in [0, 1].
        pull: Statistic of the positives.
        push: Statistic of the push set.
        link: From the gap to the loss.

    Returns:
        Per-anchor values; see :class:`Contrast`.

    Raises:
        ShapeError: The widths of q and k differ.
        ConventionError: ``keep`` is outside [0, 1].

    Example:
        >>> z = Side.views(torch.eye(4), torch.eye(4))
        >>> loss = contrast(z, z, Pairs.same("id").not_self(), tau=0.5).mean()
        >>> round(float(loss), 4)  # -2 + log(e² + 6)
        0.5944

    Source: the common form of van den Oord et al. 2018 (eq. 4), Chen et al. 2020 (eq. 1),
    Khosla et al. 2020 (eq. 2), Yeh et al. 2022 (eq. 6).
    """
    if q.z.shape[1] != k.z.shape[1]:
        raise ShapeError(
            expected=f"candidates of width {q.z.shape[1]}, as the anchors",
            got=f"width {k.z.shape[1]}",
            argument="k",
            advice="Project both sides to one space.",
        )
    if not 0.0 <= keep <= 1.0:
        raise ConventionError(
            expected="a number in [0, 1]", got=str(keep), argument="keep",
            advice="1 keeps the positive in the denominator, 0 leaves it out.",
        )  # fmt: skip
    temperature = tau if isinstance(tau, Temperature) else Fixed(tau)
    similarity = similarity or Cosine()
    with torch.autocast(q.z.device.type, enabled=False):
        wide = torch.promote_types(torch.promote_types(q.z.dtype, k.z.dtype), torch.float32)
        s = similarity.matrix(q.z.to(wide), k.z.to(wide))
        logits = s / temperature().to(s)
        everything = slice(None)
        p, log_w = pairs.tile(q, k, everything, everything)
        return _assemble(logits, p.to(wide), log_w.to(wide), keep, pull, push, link)


def _assemble(
    logits: Tensor,
    p: Tensor,
    log_w: Tensor,
    keep: float,
    pull: Statistic,
    push: Statistic,
    link: Link,
) -> Contrast:
    positive = p > 0
    log_keep = math.log(keep) if keep > 0 else -math.inf
    log_w = torch.where(positive, log_w + log_keep, log_w)
    pushed = log_w > -math.inf
    attracted, has_positive = _statistic(logits, p, positive, pull)
    weight = torch.where(pushed, log_w.exp(), 0.0)
    repelled, has_push = _statistic(logits, weight, pushed, push)
    # An empty push set means R = -inf: softplus of the gap is then exactly 0.
    valid = has_positive & has_push
    gap = torch.where(valid, repelled - attracted, 0.0)
    value = torch.nn.functional.softplus(gap) if link == "softplus" else gap
    per_anchor = torch.where(valid, value, 0.0)
    with torch.no_grad():
        share = torch.softmax(torch.where(pushed, logits + log_w, -math.inf), 1)
        share = torch.where(pushed.any(1, keepdim=True), share, 0.0)
        mass = torch.where(positive, 0.0, share).sum(1)
        entropy = torch.special.entr(share).sum(1)
    counted = has_positive if link == "softplus" else valid
    return Contrast(per_anchor, counted, gap.detach(), mass, entropy)


def _statistic(
    logits: Tensor, weight: Tensor, member: Tensor, kind: Statistic
) -> tuple[Tensor, Tensor]:
    """Statistic of each row's members and whether it has any; 0 for a row without."""
    some = member.any(1)
    if kind == "mean":
        total = torch.where(some, weight.sum(1), 1.0)
        return torch.where(member, weight * logits, 0.0).sum(1) / total, some
    # A row without members is filled with zeros first: its logsumexp must have a gradient.
    log_weight = torch.where(member, torch.where(member, weight, 1.0).log(), -math.inf)
    usable = torch.where(some.unsqueeze(1), torch.where(member, logits, 0.0) + log_weight, 0.0)
    return torch.where(some, torch.logsumexp(usable, 1), 0.0), some
