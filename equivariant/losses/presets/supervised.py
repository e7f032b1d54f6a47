"""Several positives: classes, neighborhoods, tokens of one sequence."""

from __future__ import annotations

from typing import Any

from equivariant.losses.contrast.affinities import Labels, Nearest
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.statistics import PairHinge
from equivariant.losses.objective.plan import ContrastTerm, Step
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.softmax import counted_once
from equivariant.losses.temperatures.temperature import Temperature

LABELLED = {
    "a": "first views, or the only ones, knowing label, integers; -1 is unlabelled: such a row has "
    "no positive but its object's other view",
    "b": "second views, knowing label; may be left out",
}
ROWS = "a+b?"


def _of_classes(name: str, tau: float | Temperature, **form: Any) -> Plan:
    pairs = Labels().not_self()
    return [ContrastTerm(name, anchors=ROWS, candidates=ROWS, pairs=pairs, tau=tau, **form)]


@listed(
    title="Supervised contrast, outer sum (SupCon-out)",
    family="supervised",
    formula="L_i = (1/|P_i|) Σ_p [-s_ip/τ + log Σ_{j≠i} exp(s_ij/τ)]",
    source="Khosla et al. 2020, eq. 2",
    purpose="Classes as positives; every positive is compared with all others, positives too.",
    sides=LABELLED,
)
def supcon_out(tau: float | Temperature = 0.1) -> Plan:
    return _of_classes("supcon_out", tau)


@listed(
    title="Supervised contrast, inner sum (SupCon-in)",
    family="supervised",
    formula="L_i = -log Σ_p exp(s_ip/τ) + log Σ_{j≠i} exp(s_ij/τ)",
    source="The inner form of Khosla et al. 2020 (eq. 3 without its constant log |P_i|)",
    purpose="Classes as positives; one near positive is enough.",
    sides=LABELLED,
)
def supcon_in(tau: float | Temperature = 0.1) -> Plan:
    return _of_classes("supcon_in", tau, pull="lse")


@listed(
    title="Supervised NT-Xent, each positive alone",
    family="supervised",
    formula="L_i = (1/|P_i|) Σ_p -log(exp(s_ip/τ) / (exp(s_ip/τ) + Σ_{n negative} exp(s_in/τ)))",
    source="The form of pytorch-metric-learning's NTXentLoss, averaged by anchor",
    purpose="Classes as positives that do not compete with one another.",
    sides=LABELLED,
)
def supcon_each(tau: float | Temperature = 0.1) -> Plan:
    return _of_classes("supcon_each", tau, keep=0.0, pull="each", link="softplus")


@listed(
    title="LOOK: contrast among nearest neighbors",
    family="supervised",
    formula="L_i = -log Σ_{j near i, same label} exp(s_ij/τ) + log Σ_{j near i} exp(s_ij/τ)",
    source="Definition ours, after Feng et al. 2022 (LOOK)",
    purpose="Labels act among the k nearest only, so hidden sub-classes need not collapse.",
    sides={"a": "embeddings, knowing label", "bank": "queue of embeddings, knowing label"},
    own=True,
)
def look(tau: float | Temperature = 0.1, neighbors: int = 32) -> Plan:
    return [
        Step("queue", counted_once, ("bank",)),
        ContrastTerm(
            "look", anchors="a", candidates="a+queue", tau=tau, pull="lse",
            pairs=Nearest(Same("label").not_self(), neighbors),
        )
    ]  # fmt: skip


@listed(
    title="SimCTG",
    family="supervised",
    formula="L_i = mean_{j≠i} relu(ρ - s_ii + s_ij) over the tokens of i's sequence, s_ii = 1",
    source="Su et al. 2022; sequences of one length give the paper's mean over pairs",
    purpose="Tokens of one sequence (frames of a motion) that stay tell-apart.",
    sides={"a": "tokens, (N, D), knowing sequence"},
)
def simctg(margin: float = 0.5) -> Plan:
    pairs = Same("index").within_same("sequence")
    return [
        ContrastTerm(
            "simctg", anchors="a", candidates="a", pairs=pairs, tau=1.0, keep=0.0, push="mean",
            link=PairHinge(margin),
        )
    ]  # fmt: skip
