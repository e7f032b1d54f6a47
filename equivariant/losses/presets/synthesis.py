"""Positives and negatives that no data holds, beside those of the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equivariant.errors import ShapeError
from equivariant.groups import SO3
from equivariant.losses.contrast.anchor_candidates import Own, attracting, both, repelling
from equivariant.losses.contrast.core import contrast
from equivariant.losses.contrast.pairs import NoPositives, Pairs, Same, Tile, safe_log
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Dot, unit
from equivariant.losses.objective.plan import ContrastTerm, Step
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.softmax import VIEWS, queued_keys, with_queue
from equivariant.losses.synthesis.feature_mixtures import (
    Hallucinator,
    extrapolate_positives,
    interpolate_negatives,
)
from equivariant.losses.synthesis.feature_mixtures import mochi as mix_hardest
from equivariant.losses.synthesis.label_distances import (
    absolute_difference,
    angle_difference,
    geodesic_distance,
)
from equivariant.losses.synthesis.label_distances import wrapped as wrap
from equivariant.losses.synthesis.label_mixtures import (
    anchor_exclusive,
    anchor_exclusive_rotations,
    anchor_inclusive,
)
from equivariant.losses.synthesis.perturbation import hard_negative, hard_positive

_QUEUE = {
    "a": "queries, (N, D)",
    "b": "keys of the same objects, (N, D), without gradient",
    "bank": "queue, (K, D), without gradient",
}


@listed(
    title="MoCHi",
    family="synthesis",
    formula="MoCo with Σ_s exp(⟨a_i, h_is⟩/τ) in the denominator; h_is = unit(α n + (1 - α) n'), "
    "α ~ U(0, 1), and unit(β a_i + (1 - β) n), β ~ U(0, ½), of a_i's hardest n, without gradient",
    source="Kalantidis et al. 2020; τ 0.2, 1024 hardest, 512 and 256 mixtures; start "
    "without any (0 and 0 is MoCo)",
    purpose="Negatives harder than any in the queue, made for each query.",
    sides=_QUEUE,
    memory="pairs",
)
def mochi(tau: float = 0.2, hardest: int = 1024, mixed: int = 512, with_query: int = 256) -> Plan:
    return [
        Step("keys", queued_keys, ("b", "bank")),
        ContrastTerm(
            "mochi", anchors="a", candidates="keys", tau=tau,
            pairs=Same("id").repelled_by("queued"),
            own=HardestMixed(hardest, mixed, with_query),
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class HardestMixed:
    """Own negatives: the hardest queued candidates, mixed with one another and the anchor."""

    hardest: int
    mixed: int
    with_query: int

    def __call__(self, q: Side, k: Side, generator: torch.Generator | None) -> Own:
        made = mix_hardest(
            q.z, k.z[k.get("queued") != 0], hardest=self.hardest, mixed=self.mixed,
            with_query=self.with_query, generator=generator,
        )  # fmt: skip
        return repelling(_cosines(q, made.z))


@listed(
    title="Feature transformation",
    family="synthesis",
    formula="MoCo of ã_i = λ a_i + (1 - λ) k_i and k̃_i = λ k_i + (1 - λ) a_i, λ - 1 ~ Beta(c, c), "
    "against μ n + (1 - μ) n', μ ~ Beta(c', c'), as plain dot products",
    source="Zhu et al. 2021, and their code: ã meets the queue too; λ and μ for each "
    "dimension, c 2, c' 1.6. None leaves a transformation out",
    purpose="Harder positives and more diverse negatives, without more data.",
    sides=_QUEUE,
)
def feature_transformation(
    tau: float = 0.07,
    positives: float | None = 2.0,
    negatives: float | None = 1.6,
    per_dimension: bool = True,
    renormalize: bool = False,
) -> Plan:
    how = {"per_dimension": per_dimension, "renormalize": renormalize}
    return [
        Step("moved", extrapolated, ("a", "b"), {"concentration": positives, **how}, draws=True),
        Step("queue", interpolated, ("bank",), {"concentration": negatives, **how}, draws=True),
        Step("keys", moved_keys, ("moved", "queue")),
        ContrastTerm(
            "feature_transformation", anchors="moved", candidates="keys", tau=tau,
            pairs=Same("id").repelled_by("queued"), similarity=Dot(),
        ),
    ]  # fmt: skip


def extrapolated(
    a: Side,
    b: Side,
    *,
    concentration: float | None,
    per_dimension: bool,
    renormalize: bool,
    generator: torch.Generator | None,
) -> Side:
    """Queries moved away from their keys, knowing ``key``: the key moved away from the query."""
    q, k = unit(a.z), unit(b.z.detach())
    if concentration is None:
        return a.replace(q, key=k)
    pair = extrapolate_positives(
        q, k, concentration=concentration, per_dimension=per_dimension, renormalize=renormalize,
        generator=generator,
    )  # fmt: skip
    return a.replace(pair.q, key=pair.k)


def interpolated(
    bank: Side,
    *,
    concentration: float | None,
    per_dimension: bool,
    renormalize: bool,
    generator: torch.Generator | None,
) -> Side:
    """A queue whose rows are mixed with one another."""
    z = unit(bank.z.detach())
    if concentration is None:
        return bank.replace(z)
    mixed = interpolate_negatives(
        z, concentration=concentration, per_dimension=per_dimension, renormalize=renormalize,
        generator=generator,
    )  # fmt: skip
    return bank.replace(mixed.z)


def moved_keys(moved: Side, queue: Side) -> Side:
    """The keys that moved queries know, then the queue."""
    return with_queue(moved.replace(moved.get("key")), queue)


@listed(
    title="Hallucinated positives",
    family="synthesis",
    formula="InfoNCE(a → b) + λ InfoNCE(a → h),  h_i = H(b_i, a_i): b_i moved away from a_i by a "
    "random share of their difference, through a residual network",
    source="Definition ours, after Wu et al. 2023 (Hallucinator); λ 1, reach 1",
    purpose="One more positive for each anchor, from features alone.",
    sides=VIEWS,
    own=True,
)
def hallucinator(
    dim: int, tau: float = 0.1, weight: float = 1.0, reach: float = 1.0, hidden: int | None = None
) -> Plan:
    network = Hallucinating(Hallucinator(dim, hidden, reach=reach))
    return [
        Step("hallucinated", network, ("a", "b"), draws=True),
        ContrastTerm("infonce", 1.0, None, "a", "b", Same("id"), tau),
        ContrastTerm("hallucinated", weight, None, "a", "hallucinated", Same("id"), tau),
    ]


class Hallucinating(nn.Module):
    """Rows of the second view, moved by a network.

    Args:
        network: Makes the positives.
    """

    def __init__(self, network: Hallucinator) -> None:
        super().__init__()
        self.network = network

    def forward(self, a: Side, b: Side, *, generator: torch.Generator | None) -> Side:
        """b's rows with hallucinated embeddings."""
        return b.replace(self.network(unit(b.z), unit(a.z), generator=generator), irreps=None)


@listed(
    title="SupReMix",
    family="synthesis",
    formula="L_i = mean_p [-s_ip/τ + log Σ_{j≠i} (1 + d(y_i, y_j)) exp(s_ij/τ)] over both views, "
    "mixtures λ z_i + (1 - λ) z_k as further j, mixtures of the anchor's label as further p and j",
    source="Wu et al. 2023 (SupReMix); τ 0.3, λ ~ Beta(2, 8), window 5. Ours: sampled "
    "mixtures in one softmax, angles and rotations as labels (weights of mixtures between "
    "rotations: P and W), mean over positives",
    purpose="Regression: order and distance of labels, with mixtures between neighbors.",
    sides={
        "a": "first views, knowing label: numbers or angles (N,), or rotations (N, 3, 3)",
        "b": "second views, knowing label",
    },
    memory="pairs",
)
def supremix(
    tau: float = 0.3,
    negatives: int = 8,
    positives: int = 4,
    window: float = 5.0,
    concentration: tuple[float, float] = (2.0, 8.0),
    period: float | None = None,
    bandwidth: float = 0.1,
) -> Plan:
    mixing = LabelsMixed(negatives, positives, window, concentration, period, bandwidth)
    pairs = LabelDistances(period).not_self()
    return [ContrastTerm("supremix", pairs=pairs, tau=tau, own=mixing)]


@dataclass(frozen=True)
class LabelDistances(Pairs):
    """Equal labels attract; W_ij = 1 + d(y_i, y_j).

    Args:
        period: One turn, where labels are angles.
    """

    period: float | None = None

    def tile(self, q: Side, k: Side) -> Tile:
        a, b = q.get("label"), k.get("label")
        equal = 0.0
        if a.ndim == 3:
            d, equal = geodesic_distance(a, b), 16 * torch.finfo(a.dtype).eps
        elif self.period is not None:
            d = angle_difference(a, b, self.period)
        else:
            d = absolute_difference(a, b)
        positive = d <= equal
        return Tile(positive, positive.to(d), torch.log1p(d))


@dataclass(frozen=True)
class LabelsMixed:
    """Own negatives, the anchor mixed with others, and own positives, others mixed to its label."""

    negatives: int
    positives: int
    window: float
    concentration: tuple[float, float]
    period: float | None
    bandwidth: float

    def __call__(self, q: Side, k: Side, generator: torch.Generator | None) -> Own:
        z, label = unit(q.z.detach()), q.get("label")
        own = repelling(z.new_zeros(len(q), 0))
        if self.negatives > 0:
            made = anchor_inclusive(
                z, label, count=self.negatives, concentration=self.concentration,
                period=self.period, generator=generator,
            )  # fmt: skip
            log_weight = safe_log(made.weight) + torch.log1p(self._distances(label, made.label))
            own = both(own, repelling(_cosines(q, made.z), log_weight))
        if self.positives > 0:
            if label.ndim == 3:
                made = anchor_exclusive_rotations(
                    z, label, window=self.window, count=self.positives,
                    bandwidth=self.bandwidth, generator=generator,
                )  # fmt: skip
            else:
                made = anchor_exclusive(
                    z, label, window=self.window, count=self.positives, period=self.period,
                    generator=generator,
                )  # fmt: skip
            own = both(own, attracting(_cosines(q, made.z), made.weight))
        return own

    def _distances(self, label: Tensor, mixed: Tensor) -> Tensor:
        """From anchors' labels to those of their own mixtures, shape (N, S)."""
        if label.ndim == 3:
            return SO3().distance(label[:, None].to(mixed), mixed)
        difference = label[:, None].to(mixed) - mixed
        return (difference if self.period is None else wrap(difference, self.period)).abs()


OfRows = Callable[[Tensor, Side], Tensor]
"""From embeddings (N, D) and the side they stand for to values of any shape."""


@listed(
    title="CLAPS: perturbed targets",
    family="synthesis",
    formula="½ InfoNCE(a → b and b⁻_i) + ½ InfoNCE(a → b⁺_i against other b),  b⁻ = b + ε⁻ g/|g|, "
    "g the gradient of the task's loss; b⁺ = b + ε⁺ c/|c|, then - ε⁺ f/|f|, c and f the "
    "gradients of the contrast and of the task's divergence",
    source="Lee et al. 2021; τ 0.1, ε⁻ 1, ε⁺ 3. Here in the space that is compared; "
    "there before pooling and projection. Their code has b⁻_i in the second half, too, and no "
    "temperature there: negatives_twice=True, tau_positive=1",
    purpose="Negatives that are close but wrong, positives that are far but right.",
    sides={
        "a": "sources, (N, D)",
        "b": "targets of the same objects, (N, D), knowing what task_loss and divergence read",
    },
    memory="pairs",
)
def claps(
    task_loss: OfRows,
    divergence: OfRows,
    tau: float = 0.1,
    radius_negative: float = 1.0,
    radius_positive: float = 3.0,
    negatives_twice: bool = False,
    tau_positive: float | None = None,
) -> Plan:
    negative = PerturbedNegatives(task_loss, radius_negative)
    positive = PerturbedPositives(
        divergence, radius_positive, tau, negative if negatives_twice else None
    )
    second = tau if tau_positive is None else tau_positive
    others = NoPositives().without_same("id")
    return [
        ContrastTerm("negatives", 0.5, None, "a", "b", Same("id"), tau, own=negative),
        ContrastTerm("positives", 0.5, None, "a", "b", others, second, own=positive),
    ]


@dataclass(frozen=True)
class PerturbedNegatives:
    """One own negative: the anchor's candidate, moved to where the task confuses it."""

    task_loss: OfRows
    radius: float

    def __call__(self, q: Side, k: Side, generator: torch.Generator | None) -> Own:
        _check_rows_match(q, k)
        made = hard_negative(k.z, lambda h: self.task_loss(h, k), radius=self.radius)
        return repelling(_cosines(q, made.h[:, None]))


@dataclass(frozen=True)
class PerturbedPositives:
    """One own positive: the anchor's candidate, moved far from it but not for the task.

    With ``negatives`` these are the anchor's, too.
    """

    divergence: OfRows
    radius: float
    tau: float
    negatives: PerturbedNegatives | None = None

    def __call__(self, q: Side, k: Side, generator: torch.Generator | None) -> Own:
        _check_rows_match(q, k)
        still = q.detach()
        made = hard_positive(
            k.z,
            lambda h: contrast(still, k.replace(h), Same("id"), tau=self.tau).per_anchor,
            lambda h: self.divergence(h, k),
            radius=self.radius,
        )
        own = attracting(_cosines(q, made.h[:, None]))
        return own if self.negatives is None else both(own, self.negatives(q, k, generator))


def _cosines(q: Side, own: Tensor) -> Tensor:
    """Cosines of anchors with their own candidates (N, S, D)."""
    return torch.einsum("nd,nsd->ns", unit(q.z), unit(own).to(q.z))


def _check_rows_match(q: Side, k: Side) -> None:
    if len(q) != len(k):
        raise ShapeError(
            expected=f"{len(q)} targets, one for each source",
            got=f"{len(k)}",
            argument="b",
            advice="Row i of b is the target of a's row i.",
        )
