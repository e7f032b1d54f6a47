"""Contrast after an action: the moved first view against second views in their poses."""

from __future__ import annotations

from equivariant.actions import Action
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.similarity import Canonical
from equivariant.losses.objective.plan import ContrastTerm
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.split import spread_moved

_MOVED = {
    "moved": "first views moved by the action, (N, D)",
    "a": "first views, (N, D)",
    "b": "second views, (N, D)",
}


@listed(
    title="Equivariant InfoNCE, predicted",
    family="equivariant",
    formula="L_i = -s_ii/τ + log Σ_j exp(s_ij/τ),  s_ij = cos(ρ(g_i) a_i, b_j); + λ ½V(ρ(g) a)",
    source="Ours: InfoNCE (van den Oord et al. 2018) after the action, as in EquiMod and SIE; put "
    "other poses of one object into a batch, or the loss can ignore g",
    purpose="Equivariance by contrast; without a known representation a network predicts.",
    sides=_MOVED,
)
def equivariant_nce(tau: float = 0.1, std_moved: float = 0.0) -> Plan:
    term = ContrastTerm("equivariant_nce", 1.0, None, "moved", "b", Same("id"), tau)
    return [term, spread_moved(std_moved)] if std_moved > 0 else [term]


@listed(
    title="Equivariant NT-Xent, canonical",
    family="equivariant",
    formula="NT-Xent of both views with s_ij = cos(ρ(g_i)⁻¹ z_i, ρ(h_j)⁻¹ z_j)",
    source="Ours; for an orthogonal ρ, cos(ρ(h g⁻¹) z_i, z_j): each pair in its relative pose",
    purpose="Equivariance by contrast with poses known: every pair has its own transformation.",
    sides={"a": "first views, knowing pose (N, n, n)", "b": "second views, knowing pose"},
)
def canonical_nce(action: Action, tau: float = 0.1) -> Plan:
    return [ContrastTerm("canonical_nce", tau=tau, similarity=Canonical(action))]


@listed(
    title="EquiMod",
    family="equivariant",
    formula="NT-Xent(inv_a, inv_b) + λ NT-Xent(ρ_g equ_a, equ_b), each over 2N - 1 candidates",
    source="Devillers, Lefort 2023 (EquiMod) and SIE's published code; λ 1, τ 0.1. Both heads see "
    "the whole representation; the predictor of their paper is a network on (embedding, "
    "parameters), here it is the action",
    purpose="An equivariance module beside an invariant one, each with a head of its own.",
    sides=_MOVED,
    parts=("invariant", "equivariant"),
)
def equimod(tau: float = 0.1, equivariance: float = 1.0) -> Plan:
    return [
        ContrastTerm("invariant", 1.0, 0, tau=tau),
        ContrastTerm("equivariant", equivariance, 1, "moved+b", "moved+b", tau=tau),
    ]


@listed(
    title="EquiMod's idea, one way on a split",
    family="equivariant",
    formula="NT-Xent(inv_a, inv_b) + λ InfoNCE(ρ_g equ_a → equ_b), the latter over N candidates",
    source="Ours, after Devillers, Lefort 2023 (EquiMod); λ 1, τ 0.1",
    purpose="Contrast on both halves of a split representation, the moved view as the anchor.",
    sides=_MOVED,
    parts=("invariant", "equivariant"),
    own=True,
)
def equimod_split(tau: float = 0.1, equivariance: float = 1.0) -> Plan:
    return [
        ContrastTerm("invariant", 1.0, 0, tau=tau),
        ContrastTerm("equivariant", equivariance, 1, "moved", "b", Same("id"), tau),
    ]
