"""Losses of deep metric learning: triplets, margins and circles, with labels."""

from __future__ import annotations

from typing import Any

from equivariant.losses.checks import check_positive
from equivariant.losses.contrast.affinities import Labels
from equivariant.losses.contrast.margins import Circle, PairMargin
from equivariant.losses.contrast.similarity import (
    NegativeDistance,
    NegativeSquaredDistance,
    Similarity,
)
from equivariant.losses.contrast.statistics import Hinge
from equivariant.losses.objective.plan import ContrastTerm
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.supervised import LABELLED, ROWS


def _pairs_of_classes(name: str, similarity: Similarity | None, **form: Any) -> Plan:
    return [
        ContrastTerm(
            name, anchors=ROWS, candidates=ROWS, pairs=Labels().not_self(), tau=1.0, keep=0.0,
            similarity=similarity, **form,
        )
    ]  # fmt: skip


@listed(
    title="Triplet loss, hardest of the batch",
    family="supervised",
    formula="L_i = relu(m + max_p d_ip - min_n d_in),  d = |u_i - u_j|² of unit vectors",
    source="Schroff et al. 2015 (FaceNet), eq. 3, m 0.2; hardest pairs of the batch "
    "as in Hermans et al. 2017, whose d is not squared: squared=False. Mean over anchors",
    purpose="The farthest of one's class is nearer than the nearest of another.",
    sides=LABELLED,
)
def triplet(margin: float = 0.2, squared: bool = True) -> Plan:
    check_positive(margin, "margin", "The usual value is 0.2.")
    distance = NegativeSquaredDistance(unit=True) if squared else NegativeDistance(unit=True)
    return _pairs_of_classes("triplet", distance, pull="min", push="max", link=Hinge(margin))


@listed(
    title="Margin loss",
    family="supervised",
    formula="L_i = mean_p relu(d_ip - (β - α)) + mean_n relu((β + α) - d_in),  d = |u_i - u_j| of "
    "unit vectors",
    source="Wu et al. 2017 (sampling matters), eq. 5, of all pairs; α 0.2, β 1.2. counted=True "
    "averages over the pairs that cost something. β is not trained here",
    purpose="Pairs are judged alone: positives within one distance, negatives beyond another.",
    sides=LABELLED,
)
def margin(alpha: float = 0.2, beta: float = 1.2, counted: bool = False) -> Plan:
    check_positive(alpha, "alpha", "The usual value is 0.2.")
    check_positive(beta, "beta", "The usual value is 1.2; distances of unit vectors are below 2.")
    link = PairMargin(alpha - beta, -(alpha + beta), counted)
    return _pairs_of_classes("margin", NegativeDistance(unit=True), link=link)


@listed(
    title="Circle loss",
    family="supervised",
    formula="L_i = log(1 + Σ_n exp(γ α_n (s_in - m)) Σ_p exp(γ α_p (1 - m - s_ip))), "
    "α_p = relu(1 + m - s_ip), α_n = relu(s_in + m), without gradient",
    source="Sun et al. 2020, eq. 6 to 9; m 0.25, γ 256 (faces); 0.4 and 80 (retrieval)",
    purpose="Each similarity moves at its own pace, the faster the farther it has to go.",
    sides=LABELLED,
)
def circle(margin: float = 0.25, gamma: float = 256.0) -> Plan:
    return _pairs_of_classes("circle", None, link=Circle(margin, gamma))
