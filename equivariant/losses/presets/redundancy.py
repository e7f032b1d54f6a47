"""Redundancy between columns removed: cross-correlation, whitening, shuffled groups."""

from __future__ import annotations

import math

import torch

from equivariant.errors import ConventionError
from equivariant.losses.columns.terms import cross_correlation
from equivariant.losses.columns.whitening import WhiteningMethod, whiten
from equivariant.losses.columns.whitening import w_mse as whitened_difference
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Cosine, NegativeSquaredDistance, Similarity
from equivariant.losses.objective.plan import BothWaysTerm, ContrastTerm, FunctionTerm, Step, Term
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.softmax import VIEWS
from equivariant.losses.temperatures.temperature import Learned


def correlate(weight: float, redundancy: float) -> FunctionTerm:
    """Cross-correlation of both views towards the identity."""
    settings = {"redundancy": redundancy}
    return FunctionTerm("barlow", weight, None, cross_correlation, ("a", "b"), settings)


@listed(
    title="Barlow Twins",
    family="redundancy",
    formula="Σ_i (1 - C_ii)² + λ Σ_{i≠j} C_ij²,  C the correlations of a's columns with b's",
    source="Zbontar et al. 2021, eq. 1 and 2; λ 0.005",
    purpose="No negatives: columns agree between views and do not repeat one another.",
    sides=VIEWS,
)
def barlow(redundancy: float = 5e-3, scale: float = 1.0) -> Plan:
    return [correlate(scale, redundancy)]


@listed(
    title="BarLIP",
    family="redundancy",
    formula="½ InfoNCE(a → b) + ½ InfoNCE(b → a) + s Barlow(a, b), τ learned",
    source="Zhang et al. 2023 (BarLIP); s 0.025, λ 0.005",
    purpose="CLIP whose columns do not repeat one another.",
    sides={"a": "one modality, (N, D)", "b": "the other, (N, D); row i shows a's object i"},
)
def barlip(tau: float = 0.07, redundancy: float = 5e-3, scale: float = 0.025) -> Plan:
    learned = Learned(tau, low=0.01, high=math.inf)
    return [BothWaysTerm("clip", tau=learned), correlate(scale, redundancy)]


@listed(
    title="W-MSE",
    family="redundancy",
    formula="mean_i |unit(W_a (a_i - ā)) - unit(W_b (b_i - b̄))|²,  W Cov Wᵀ = I",
    source="Ermolov et al. 2021; Cholesky; rows= whitens in random parts of the batch",
    purpose="No negatives: whitening keeps the space open, views meet in it.",
    sides=VIEWS,
)
def w_mse(
    groups: int = 1,
    eps: float = 1e-5,
    method: WhiteningMethod = "cholesky",
    rows: int | None = None,
) -> Plan:
    settings = {"groups": groups, "eps": eps, "method": method, "rows": rows}
    return [FunctionTerm("w_mse", 1.0, None, whitened_difference, ("a", "b"), settings, draws=True)]


@listed(
    title="Shuffled group whitening (WhitenedCSE)",
    family="redundancy",
    formula="InfoNCE(z¹ → z²) + InfoNCE(z¹ → z³),  zᵏ = a whitened in random groups of columns",
    source="Zhuo et al. 2023, and their code; τ 0.05, 128 groups of 6. Their code has "
    "no gradient through the whitening matrix: gradient=False. Moments are of each process's rows",
    purpose="Positives from one embedding: several whitenings of it, which also spread the space.",
    sides={"a": "embeddings, (N, D), N >= 2"},
)
def sgw(
    groups: int = 128,
    tau: float = 0.05,
    copies: int = 3,
    eps: float = 1e-5,
    gradient: bool = True,
) -> Plan:
    if copies < 2:
        raise ConventionError(
            expected="at least two copies, which are positives of one another",
            got=str(copies),
            argument="copies",
            advice="The usual number is 3.",
        )
    settings = {"groups": groups, "eps": eps, "gradient": gradient}
    plan: list[Step | Term] = [
        Step(f"whitened_{k}", shuffled, ("a",), settings, draws=True) for k in range(1, 1 + copies)
    ]
    plan += [
        ContrastTerm(f"sgw_{k}", 1.0, None, "whitened_1", f"whitened_{k}", Same("id"), tau)
        for k in range(2, 1 + copies)
    ]
    return plan


def shuffled(
    a: Side, *, groups: int, eps: float, gradient: bool, generator: torch.Generator | None
) -> Side:
    """The rows whitened in random groups of columns; irreps with l > 0 are refused."""
    z = whiten(
        a.z, groups=groups, eps=eps, shuffle=True, gradient=gradient, irreps=a.irreps,
        generator=generator,
    )  # fmt: skip
    return a.replace(z)


_PREDICTED = {
    "a": "predictions of first views, (N, D)",
    "b": "predictions of second views, (N, D)",
}


@listed(
    title="SimSiam",
    family="redundancy",
    formula="-½ mean cos(p_a, z_b) - ½ mean cos(p_b, z_a), z without gradient",
    source="Chen, He 2021, eq. 1 to 4; p predictions, z projections",
    purpose="No negatives, no second encoder: a predictor and a stopped gradient.",
    sides={
        **_PREDICTED,
        "target_a": "projections of first views, (N, D)",
        "target_b": "projections of second views, (N, D)",
    },
)
def simsiam() -> Plan:
    return _predict("simsiam", 0.5, Cosine())


@listed(
    title="BYOL",
    family="redundancy",
    formula="mean |unit(p_a) - unit(z_b)|² + mean |unit(p_b) - unit(z_a)|², z without gradient",
    source="Grill et al. 2020, eq. 2 and below; z projections of the averaged network",
    purpose="No negatives: predict what a moving average of the network says of the other view.",
    sides={
        **_PREDICTED,
        "target_a": "averaged network's projections of first views, (N, D)",
        "target_b": "the same of second views, (N, D)",
    },
)
def byol() -> Plan:
    return _predict("byol", 1.0, NegativeSquaredDistance(unit=True))


def _predict(name: str, weight: float, similarity: Similarity) -> Plan:
    """Predictions of each view attract the other view's target, which stays."""
    plan: list[Step | Term] = []
    for view, other in (("a", "b"), ("b", "a")):
        plan += [
            Step(f"still_{other}", Side.detach, (f"target_{other}",)),
            ContrastTerm(
                f"{name}_{view}", weight, None, view, f"still_{other}", Same("id"), 1.0, similarity,
                push="none",
            ),
        ]  # fmt: skip
    return plan
