"""Equivariant objectives: a first view, moved by an action, meets second views."""

from __future__ import annotations

from torch import Tensor

from equivariant.actions import Action
from equivariant.losses.columns.terms import covariance, mean_squared_difference, variance
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.similarity import Canonical
from equivariant.losses.objective.plan import ContrastTerm, FunctionTerm
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.temperatures.temperature import Temperature

_VIEWS = {
    "a": "first views, (N, D)",
    "b": "second views, (N, D)",
    "moved": "first views moved by the action",
}
_INVARIANT = {**_VIEWS, "moved": "first views moved by the action; a itself where left out"}
_MOVED_OR_NOT = "moved|a"


def align(weight: float = 1.0, part: int | None = None, first: str = "moved") -> FunctionTerm:
    """mean (m - z_b)²: the moved first view against the second."""
    return FunctionTerm("align", weight, part, mean_squared_difference, (first, "b"))


def nt_xent_moved(
    weight: float = 1.0,
    part: int | None = None,
    tau: float | Temperature = 0.1,
    first: str = "moved",
) -> ContrastTerm:
    """NT-Xent of the moved first view and the second."""
    rows = f"{first}+b"
    return ContrastTerm("contrast", weight, part, rows, rows, tau=tau)


def spread(weight: float = 1.0, part: int | None = None) -> FunctionTerm:
    """½ V(z_a) + ½ V(z_b)."""
    return FunctionTerm("variance", weight, part, _half_variances, ("a", "b"))


def spread_moved(weight: float = 1.0, part: int | None = None) -> FunctionTerm:
    """½ V(m): keeps the moved vectors from collapsing, and the action from ignoring g."""
    return FunctionTerm("variance_moved", weight, part, _half_variances, ("moved",))


def decorrelate(weight: float = 1.0, part: int | None = None) -> FunctionTerm:
    """C(z_a) + C(z_b)."""
    return FunctionTerm("covariance", weight, part, _covariances, ("a", "b"))


def _half_variances(*sides: Tensor) -> Tensor:
    return sum((0.5 * variance(z) for z in sides), start=sides[0].new_zeros(()))


def _covariances(*sides: Tensor) -> Tensor:
    return sum((covariance(z) for z in sides), start=sides[0].new_zeros(()))


@listed(
    title="SIE: split invariant-equivariant representations",
    family="equivariant",
    formula="10 |inv_a - inv_b|²/D + 4.5 |ρ_g equ_a - equ_b|²/D + 10 V(a, b) + 10 ½V(ρ_g equ_a) "
    "+ C(a) + C(b)",
    source="Garrido, Najman, LeCun 2023, with the published recipe's weights",
    purpose="An invariant half for classes, an equivariant half whose motion a network predicts.",
    sides=_VIEWS,
    parts=("invariant", "equivariant"),
)
def sie(
    invariance: float = 10.0,
    equivariance: float = 4.5,
    std: float = 10.0,
    std_moved: float = 10.0,
    cov: float = 1.0,
) -> Plan:
    return [
        align(invariance, 0),
        align(equivariance, 1),
        spread(std),
        spread_moved(std_moved, 1),
        decorrelate(cov),
    ]


@listed(
    title="VICReg",
    family="redundancy",
    formula="λ |m - b|²/D + μ ½(V(a) + V(b)) + ν (C(a) + C(b)),  m = ρ(g) a",
    source="Bardes, Ponce, LeCun 2022, eq. 6, with the weights 10, 10, 1 of SIE's baseline",
    purpose="Alignment without negatives; a hinge on variances and decorrelation keep the space.",
    sides=_INVARIANT,
)
def vicreg(invariance: float = 10.0, std: float = 10.0, cov: float = 1.0) -> Plan:
    return [align(invariance, first=_MOVED_OR_NOT), spread(std), decorrelate(cov)]


@listed(
    title="SimCLR on moved views",
    family="equivariant",
    formula="NT-Xent of m = ρ(g) a and b",
    source="Chen et al. 2020, temperature 0.1 as in SIE's baseline",
    purpose="The invariant baseline (trivial action), or contrast after any action.",
    sides=_INVARIANT,
)
def simclr(tau: float | Temperature = 0.1) -> Plan:
    return [nt_xent_moved(tau=tau, first=_MOVED_OR_NOT)]


@listed(
    title="Exact split",
    family="equivariant",
    formula="NT-Xent(inv) + NT-Xent(ρ_g equ_a, equ_b) + |ρ_g equ_a - equ_b|²/D + V(equ_a, equ_b)",
    source="Ours: SimCLR on the invariant part; on the equivariant part, moved by a known "
    "representation of the rotation, SimCLR, alignment and a variance hinge",
    purpose="A split representation whose equivariant part moves by a known representation.",
    sides=_VIEWS,
    parts=("invariant", "equivariant"),
)
def exact(tau: float = 0.1) -> Plan:
    return [
        nt_xent_moved(part=0, tau=tau),
        nt_xent_moved(part=1, tau=tau),
        align(part=1),
        spread(part=1),
    ]


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
