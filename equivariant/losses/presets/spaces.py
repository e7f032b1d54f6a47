"""Shapes of the whole space: attraction and repulsion, uniformity, common and salient parts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.losses.columns.terms import alignment, uniformity
from equivariant.losses.contrast.core import contrast
from equivariant.losses.contrast.pairs import NoPositives, Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Gated, NegativeSquaredDistance, unit
from equivariant.losses.contrast.statistics import Boltzmann
from equivariant.losses.objective.plan import ContrastTerm, FunctionTerm, Step, Term
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.softmax import VIEWS


@listed(
    title="CACR: contrastive attraction and contrastive repulsion",
    family="spaces",
    formula="L_i = Σ_p π⁺_p d²_ip - Σ_n π⁻_n d²_in, π⁺ = softmax(t⁺ d²), π⁻ = softmax(-t⁻ d²)",
    source="Zheng et al. 2023; t⁺ 1, t⁻ 0.9 (CIFAR-10), gradient through π as in the "
    "small-scale code. There the first views are repelled by the second views alone, once for "
    "each two views: candidates='other'. alpha and beta scale the costs; debias is their τ⁺, "
    "0.1 where they use it: (rep - τ⁺ d²) / (1 - τ⁺)",
    purpose="Far positives are pulled harder, near negatives pushed harder, each in its group.",
    sides=VIEWS,
)
def cacr(
    t_pull: float = 1.0,
    t_push: float = 0.9,
    candidates: Literal["all", "other"] = "all",
    alpha: float = 1.0,
    beta: float = 1.0,
    debias: float = 0.0,
) -> Plan:
    if candidates not in ("all", "other") or not 0 <= debias < 1:
        raise ConventionError(
            expected="candidates 'all' or 'other', debias in [0, 1)",
            got=f"candidates={candidates!r}, debias={debias}", argument="candidates",
            advice="'other' is the authors' choice for two views.",
        )  # fmt: skip
    distance = NegativeSquaredDistance(unit=True)
    pull, push = Boltzmann(-t_pull), Boltzmann(t_push)
    if candidates == "all" and alpha == beta == 1 and debias == 0:
        return [ContrastTerm("cacr", tau=1.0, similarity=distance, keep=0.0, pull=pull, push=push)]
    anchors, others = ("a+b", "a+b") if candidates == "all" else ("a", "b")
    negatives = NoPositives().not_self().without_same("id")
    return [
        ContrastTerm(
            "attraction", alpha - debias / (1.0 - debias), tau=1.0, similarity=distance,
            pull=pull, push="none",
        ),
        ContrastTerm(
            "repulsion", beta / (1.0 - debias), None, anchors, others, negatives, 1.0, distance,
            pull="none", push=push,
        ),
    ]  # fmt: skip


@listed(
    title="Alignment and uniformity",
    family="spaces",
    formula="mean |a_i - b_i|² + λ ½ (U(a) + U(b)),  U(u) = log mean_{i≠j} exp(-t |u_i - u_j|²)",
    source="Wang, Isola 2020 with α 2, t 2",
    purpose="What InfoNCE does in the limit, as two terms to weigh.",
    sides=VIEWS,
)
def align_uniform(weight: float = 1.0, t: float = 2.0) -> Plan:
    return [
        FunctionTerm("align", 1.0, None, alignment, ("a", "b")),
        FunctionTerm("uniform_a", 0.5 * weight, None, uniformity, ("a",), {"t": t}),
        FunctionTerm("uniform_b", 0.5 * weight, None, uniformity, ("b",), {"t": t}),
    ]


@listed(
    title="SepCLR: common and salient spaces",
    family="spaces",
    formula="align(c) + 2 U(c) + w_s (align(s, targets) + 2 U(s, background → 0)) "
    "+ w_0 |s_background|²/2τ + w_j mean_i log mean_j exp(-(|c_i - c_j|² + |s_i - s_j|²)/2τ), "
    "j = i included, background → 0",
    source="Louiset et al. 2024; τ 0.5, weights 1, 1000, 1000, 10 (CIFAR-MNIST). c on the sphere. "
    "Their code takes uniformity and the joint term of each view alone, and averages: apart=True",
    purpose="What a target set adds to a background set, apart from what both share.",
    sides={
        "a": "common part of first views, (N, D), knowing salient (N, E) and target (0 or 1)",
        "b": "the same of second views",
    },
)
def sepclr(
    tau: float = 0.5, salient: float = 1000.0, zero: float = 1000.0, joint: float = 10.0,
    apart: bool = False,
) -> Plan:  # fmt: skip
    plain, sphere = NegativeSquaredDistance(), NegativeSquaredDistance(unit=True)
    width, lme = 2.0 * tau, "log-mean-exp"
    push = {"tau": width, "pull": "none", "push": "lme"}
    plan: list[Step | Term] = [
        Step("s_a", salient_part, ("a",)),
        Step("s_b", salient_part, ("b",)),
        Step("j_a", joined_part, ("a", "s_a")),
        Step("j_b", joined_part, ("b", "s_b")),
        ContrastTerm("align", 1.0, None, "a", "b", Same("id"), width, sphere, push="none"),
        FunctionTerm(
            "align_salient", salient, None, salient_distance,
            ("a.salient", "b.salient", "a.target"), {"tau": tau},
        ),
        FunctionTerm(
            "zero", zero, None, background_size, ("a.salient", "b.salient", "a.target"),
            {"tau": tau},
        ),
    ]  # fmt: skip
    for views in ("a", "b") if apart else ("a+b",):
        share = 0.5 if apart else 1.0
        end = f"_{views}" if apart else ""
        for name, weight, prefix, similarity, pairs, reduce in (
            ("uniform", 2.0, "", sphere, NoPositives().not_self(), lme),
            ("uniform_salient", 2.0 * salient, "s_", plain, NoPositives().not_self(), lme),
            ("joint", joint, "j_", plain, NoPositives(), "mean"),
        ):
            rows = "+".join(prefix + view for view in views.split("+"))
            plan.append(
                ContrastTerm(
                    name + end, share * weight, None, rows, rows, pairs, similarity=similarity,
                    reduce=reduce, **push,  # type: ignore[arg-type]
                )
            )  # fmt: skip
    return plan


def salient_part(side: Side) -> Side:
    """The salient vectors; those of the background replaced by 0."""
    target = side.get("target").to(side.z)
    return side.replace(side.get("salient").to(side.z) * target[:, None])


def joined_part(side: Side, salient: Side) -> Side:
    """Common vectors on the sphere and salient vectors, side by side."""
    return side.replace(torch.cat([unit(side.z), salient.z.to(side.z)], 1))


def salient_distance(first: Tensor, second: Tensor, target: Tensor, *, tau: float) -> Tensor:
    """mean |s_a - s_b|² / 2τ over the targets; 0 where there are none."""
    target = target.to(first)
    squares = (first - second).square().sum(1) / (2.0 * tau)
    return (target * squares).sum() / target.sum().clamp(min=1.0)


def background_size(first: Tensor, second: Tensor, target: Tensor, *, tau: float) -> Tensor:
    """mean |s|² / 2τ over the background's rows of both views; 0 where there are none."""
    away = 1.0 - target.to(first)
    squares = (first.square().sum(1) + second.square().sum(1)) / (4.0 * tau)
    return (away * squares).sum() / away.sum().clamp(min=1.0)


@listed(
    title="Gated subspaces (Hydra)",
    family="spaces",
    formula="NT-Xent of g_cd ⊙ a_i and g_cd ⊙ b_i among the pairs of one pair of classes {c, d}, "
    "g in (0, 1)",
    source="Definition ours, after Wu et al. 2024 (Hydra, later SimLAP)",
    purpose="Any two objects may be positives, in a subspace that belongs to their classes.",
    sides={"a": "(N, D), knowing label", "b": "(N, D), knowing label; row i is a's partner"},
    own=True,
)
def hydra(classes: int, dim: int, tau: float = 0.1) -> Plan:
    return [
        FunctionTerm(
            "hydra", 1.0, None, GatedPairs(classes, dim, tau), ("a", "b", "a.label", "b.label")
        )
    ]


class GatedPairs(nn.Module):
    """NT-Xent within each unordered pair of classes, in its gated subspace; see :func:`hydra`.

    Args:
        classes: Number of classes, at least 1.
        dim: Width of the embeddings.
        tau: Temperature.
        scale: Standard deviation of the gates' logits at the start.
    """

    def __init__(self, classes: int, dim: int, tau: float, scale: float = 0.5) -> None:
        super().__init__()
        self.classes, self.tau = classes, tau
        self.logits = nn.Parameter(scale * torch.randn(classes * (classes + 1) // 2, dim))

    def gate(self, first: int, second: int) -> Tensor:
        """The gate of two classes, shape (dim,), the same in either order."""
        low, high = min(first, second), max(first, second)
        if not 0 <= low <= high < self.classes:
            raise ConventionError(
                expected=f"labels in [0, {self.classes})", got=f"{first}, {second}",
                argument="label", advice="Number the classes from 0.",
            )  # fmt: skip
        return torch.sigmoid(self.logits[high * (high + 1) // 2 + low])

    def forward(self, a: Tensor, b: Tensor, label_a: Tensor, label_b: Tensor) -> Tensor:
        """Losses of the 2N rows, shape (2N,); rows of unlike pairs of classes do not meet."""
        low, high = torch.minimum(label_a, label_b), torch.maximum(label_a, label_b)
        keys = torch.stack([low, high], 1)
        values = []
        for key in torch.unique(keys, dim=0):
            rows = (keys == key).all(1)
            side = Side.views(a[rows], b[rows])
            gate = self.gate(int(key[0]), int(key[1])).to(a)
            pairs = Same("id").not_self()
            result = contrast(side, side, pairs, tau=self.tau, similarity=Gated(gate))
            values.append(result.per_anchor)
        return torch.cat(values) if values else a.new_zeros(0)
