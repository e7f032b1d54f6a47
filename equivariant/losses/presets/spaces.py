"""Shapes of the whole space: attraction and repulsion, uniformity, common and salient parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.losses.columns.terms import alignment, uniformity
from equivariant.losses.contrast.core import contrast
from equivariant.losses.contrast.pairs import NoPositives, Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Gated, NegativeSquaredDistance, unit
from equivariant.losses.contrast.statistics import Boltzmann
from equivariant.losses.objective.plan import ContrastTerm, FunctionTerm, Step
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.softmax import VIEWS


@listed(
    title="CACR: contrastive attraction and contrastive repulsion",
    family="spaces",
    formula="L_i = Σ_p π⁺_p d²_ip - Σ_n π⁻_n d²_in, π⁺ = softmax(t⁺ d²), π⁻ = softmax(-t⁻ d²)",
    source="Zheng et al. 2023; t⁺ 1, t⁻ 0.9 (CIFAR-10), gradient through π as in the "
    "small-scale code",
    purpose="Far positives are pulled harder, near negatives pushed harder, each in its group.",
    sides=VIEWS,
)
def cacr(t_pull: float = 1.0, t_push: float = 0.9) -> Plan:
    return [
        ContrastTerm(
            "cacr", tau=1.0, similarity=NegativeSquaredDistance(unit=True), keep=0.0,
            pull=Boltzmann(-t_pull), push=Boltzmann(t_push),
        )
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
    "+ w_0 |s_background|²/2τ + w_j mean_i log mean_j exp(-(|c_i - c_j|² + |s_i - s_j|²)/2τ)",
    source="Louiset et al. 2024; τ 0.5, weights 1, 1000, 1000, 10 (CIFAR-MNIST). c on the sphere",
    purpose="What a target set adds to a background set, apart from what both share.",
    sides={
        "a": "common part of first views, (N, D), knowing salient (N, E) and target (0 or 1)",
        "b": "the same of second views",
    },
)
def sepclr(
    tau: float = 0.5, salient: float = 1000.0, zero: float = 1000.0, joint: float = 10.0
) -> Plan:
    plain, sphere = NegativeSquaredDistance(), NegativeSquaredDistance(unit=True)
    others = NoPositives().not_self()
    width, own = 2.0 * tau, {"pairs": others, "tau": 2.0 * tau, "pull": "none", "push": "lme"}
    whole = {"anchors": "a+b", "candidates": "a+b", "similarity": sphere, **own}
    part = {"anchors": "s_a+s_b", "candidates": "s_a+s_b", "similarity": plain, **own}
    lme = "log-mean-exp"
    return [
        Step("s_a", salient_part, ("a",)),
        Step("s_b", salient_part, ("b",)),
        ContrastTerm("align", 1.0, None, "a", "b", Same("id"), width, sphere, push="none"),
        ContrastTerm("uniform", 2.0, **whole, reduce=lme),  # type: ignore[arg-type]
        FunctionTerm(
            "align_salient", salient, None, salient_distance,
            ("a.salient", "b.salient", "a.target"), {"tau": tau},
        ),
        ContrastTerm("uniform_salient", 2.0 * salient, **part, reduce=lme),  # type: ignore[arg-type]
        FunctionTerm(
            "zero", zero, None, background_size, ("a.salient", "b.salient", "a.target"),
            {"tau": tau},
        ),
        Step("j_a", joined_part, ("a",)),
        Step("j_b", joined_part, ("b",)),
        ContrastTerm(
            "joint", joint, None, "j_a+j_b", "j_a+j_b", others, width, plain, pull="none",
            push="lme",
        ),
    ]  # fmt: skip


def salient_part(side: Side) -> Side:
    """The salient vectors; those of the background replaced by 0."""
    target = side.get("target").to(side.z)
    return side.replace(side.get("salient").to(side.z) * target[:, None])


def joined_part(side: Side) -> Side:
    """Common vectors on the sphere and salient vectors, side by side."""
    return side.replace(torch.cat([unit(side.z), side.get("salient").to(side.z)], 1))


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
