"""Two and more modalities: rows of every side show one object."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.columns.terms import alignment, cross_uniformity, uniformity
from equivariant.losses.contrast.affinities import Agreement
from equivariant.losses.contrast.core import contrast
from equivariant.losses.contrast.pairs import NoPositives, Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Dot, product, unit
from equivariant.losses.contrast.statistics import PairSigmoid
from equivariant.losses.objective.plan import BothWaysTerm, ContrastTerm, FunctionTerm, Step, Term
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.softmax import STRANGER
from equivariant.losses.temperatures.temperature import Learned, Temperature
from equivariant.losses.transforms import transformed

_TWO = {"a": "one modality, (N, D)", "b": "the other, (N, D); row i shows a's object i"}


@listed(
    title="CLIP",
    family="modalities",
    formula="½ InfoNCE(a → b) + ½ InfoNCE(b → a), τ learned",
    source="Radford et al. 2021; log 1/τ starts at log(1/0.07) and stays below log 100",
    purpose="Two modalities in one space.",
    sides=_TWO,
)
def clip(tau: float = 0.07) -> Plan:
    return [BothWaysTerm("clip", tau=Learned(tau, low=0.01, high=math.inf))]


@listed(
    title="ConVIRT",
    family="modalities",
    formula="λ InfoNCE(a → b) + (1 - λ) InfoNCE(b → a)",
    source="Zhang et al. 2022; λ 0.75, τ 0.1",
    purpose="Two modalities, directions of different weight.",
    sides=_TWO,
)
def convirt(tau: float | Temperature = 0.1, forward: float = 0.75) -> Plan:
    return [BothWaysTerm("convirt", tau=tau, forward=forward)]


@listed(
    title="SigLIP",
    family="modalities",
    formula="(1/N) Σ_ij softplus(-y_ij (t s_ij + b)), y = 1 on pairs and -1 elsewhere",
    source="Zhai et al. 2023; t starts at 10, b at -10, both learned",
    purpose="Two modalities without a softmax: every pair is judged alone.",
    sides=_TWO,
)
def siglip(t: float = 10.0, b: float = -10.0) -> Plan:
    if not t > 0:
        raise ConventionError(
            expected="a positive factor of similarities", got=str(t), argument="t",
            advice="The paper starts at 10.",
        )  # fmt: skip
    link = PairSigmoid(nn.Parameter(torch.tensor(float(b))))
    tau = Learned(1.0 / t, low=1e-4, high=math.inf)
    return [
        ContrastTerm(
            "siglip", 1.0, None, "a", "b", Same("id"), tau, pull="sum", push="sum", link=link
        )
    ]


@listed(
    title="CWCL: continuously weighted contrast",
    family="modalities",
    formula="-Σ_j P_ij log softmax_j(s_ij/τ), P_ij ∝ (1 + cos(p_i, p_j))/2, + InfoNCE(b → a)",
    source="Srinivasa et al. 2023; p are the frozen modality's embeddings",
    purpose="Soft targets from a frozen modality: similar objects attract as much as it says.",
    sides={"a": "trained, (N, D), knowing features", "b": "frozen, (N, D), knowing features"},
)
def cwcl(tau: float = 0.07) -> Plan:
    learned = Learned(tau, low=0.01, high=math.inf)
    return [
        ContrastTerm("cwcl_ab", 1.0, None, "a", "b", Agreement("features"), learned),
        ContrastTerm("cwcl_ba", 1.0, None, "b", "a", Same("id"), learned),
    ]


@listed(
    title="Closing the contrastive gap",
    family="modalities",
    formula="CLIP + ½ (U(a) + U(b)) + U(a, b) + mean |a_i - b_i|²",
    source="Fahim et al. 2024; all weights 1, t 2, U(a, b) over pairs of different objects",
    purpose="CLIP without the gap between the modalities' clouds.",
    sides=_TWO,
)
def contrastive_gap(tau: float = 0.07, t: float = 2.0) -> Plan:
    return [
        BothWaysTerm("clip", tau=Learned(tau, low=0.01, high=math.inf)),
        FunctionTerm("uniform_a", 0.5, None, uniformity, ("a",), {"t": t}),
        FunctionTerm("uniform_b", 0.5, None, uniformity, ("b",), {"t": t}),
        FunctionTerm("uniform_ab", 1.0, None, cross_uniformity, ("a", "b"), {"t": t}),
        FunctionTerm("align", 1.0, None, alignment, ("a", "b")),
    ]


@listed(
    title="Symile, n negatives",
    family="modalities",
    formula="L_i = -s_i/τ + log(exp(s_i/τ) + Σ_{j≠i} exp(⟨a_i, b_σ(j) c_π(j)⟩/τ)), "
    "s_i = Σ_d a_id b_id c_id, mean over the modality that is the anchor",
    source="Saporta et al. 2024; shuffled products that meet a true triple are masked",
    purpose="Three or more modalities whose joint information no two of them hold.",
    sides={"a": "(N, D)", "b": "(N, D)", "c": "(N, D); more may be named by modalities="},
)
def symile(modalities: str = "abc", tau: float = 1.35) -> Plan:
    learned = Learned(tau, low=1e-4, high=math.inf)
    plan: list[Term | Step] = []
    for anchor in modalities:
        others = tuple(name for name in modalities if name != anchor)
        made = f"others_of_{anchor}"
        pairs = Same("id").weigh(push=_shuffled_only)
        weight = 1.0 / len(modalities)
        plan.append(Step(made, shuffled_products, others, draws=True))
        plan.append(
            ContrastTerm(
                f"symile_{anchor}", weight, None, anchor, made, pairs, learned, Dot(unit=True)
            )
        )
    return plan


def shuffled_products(*sides: Side, generator: torch.Generator | None) -> Side:
    """Products of true rows, then of rows shuffled independently by modality.

    Rows know ``shuffled`` (0 or 1), ``place`` (1, 2, ...) and ``truth``: the place of the object
    whose true product a shuffled row happens to be, else 0.
    """
    if len(sides) < 2:
        raise ConventionError(
            expected="at least three modalities", got=str(len(sides) + 1), argument="modalities",
            advice="For two modalities use preset('clip').",
        )  # fmt: skip
    sides = tuple(side.replace(unit(side.z)) for side in sides)
    count, device = len(sides[0]), sides[0].z.device
    orders = [torch.randperm(count, generator=generator, device=device) for _ in sides]
    place = torch.arange(1, count + 1, device=device)
    met = torch.ones(count, dtype=torch.bool, device=device)
    for first, second in pairwise(orders):
        met &= first == second
    none = torch.zeros_like(place)
    true = product(*sides).replace(shuffled=none, place=place, truth=place)
    mixed = product(*(s.replace(s.z[o]) for s, o in zip(sides, orders, strict=True)))
    strangers = STRANGER + place
    truth = torch.where(met, orders[0] + 1, none)
    mixed = mixed.replace(id=strangers, shuffled=none + 1, place=place, truth=truth)
    mixed = mixed.replace(truth_id=sides[0].get("id")[truth - 1])
    true = true.replace(truth_id=true.get("id"), place_id=true.get("id"))
    return Side.join(true, mixed.replace(place_id=sides[0].get("id")))


def _shuffled_only(q: Side, k: Side) -> Tensor:
    """Own true product, and shuffled products of other places that are not it."""
    own = q.get("id")[:, None]
    shuffled = k.get("shuffled") == 1
    meets = (k.get("truth") > 0) & (k.get("truth_id") == own)
    other_place = k.get("place_id") != own
    return torch.where(shuffled, other_place & ~meets, k.get("id") == own).float()


@listed(
    title="Symile, all n² - 1 negatives",
    family="modalities",
    formula="L_i = -s_i/τ + log Σ_jl exp(Σ_d a_id b_jd c_ld/τ), mean over the anchor modality",
    source="Saporta et al. 2024",
    purpose="Symile against every other combination; O(N³ D) time, O(N D + N²) memory.",
    sides={"a": "(N, D)", "b": "(N, D)", "c": "(N, D)"},
)
def symile_all(tau: float = 1.35) -> Plan:
    learned = Learned(tau, low=1e-4, high=math.inf)
    return [FunctionTerm("symile", 1.0, None, SymileAll(learned), ("a", "b", "c"))]


class SymileAll(nn.Module):
    """Symile with all combinations of the other two modalities; see :func:`symile_all`.

    Args:
        tau: Temperature.
    """

    def __init__(self, tau: Temperature) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Mean over anchors and anchor modalities, a scalar; sides of shape (N, D)."""
        if not a.shape == b.shape == c.shape:
            raise ShapeError(
                expected=f"three sides of shape {tuple(a.shape)}",
                got=f"{tuple(b.shape)} and {tuple(c.shape)}",
                argument="c", advice="Row i of every side must show object i.",
            )  # fmt: skip
        if len(a) == 0:
            return (a + b + c).sum()
        a, b, c = unit(a), unit(b), unit(c)
        scale = 1.0 / self.tau(Side.of(a), Side.of(b)).to(a)
        true = (a * b * c).sum(1) * scale
        values = [
            self._push(u, v, w, scale) - true for u, v, w in ((a, b, c), (b, c, a), (c, a, b))
        ]
        return torch.stack(values).mean()

    @staticmethod
    def _push(u: Tensor, v: Tensor, w: Tensor, scale: Tensor) -> Tensor:
        def row(one: Tensor, u: Tensor, v: Tensor, scale: Tensor) -> Tensor:
            q, k = Side.of(u * one * scale), Side.of(v)
            pushed = contrast(q, k, NoPositives(), tau=1.0, similarity=Dot(), pull="none")
            return pushed.per_anchor

        if transformed(u, v, w, scale):
            rows = [row(one, u, v, scale) for one in w]
        else:
            rows = [checkpoint(row, one, u, v, scale, use_reentrant=False) for one in w]
        return torch.stack(rows).logsumexp(0)
