"""Weights of anchors and pairs: from foregrounds, clusterings, communities, distances."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.losses.contrast.affinities import Separations
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Bonus, Cosine, Sum, unit
from equivariant.losses.objective.plan import ContrastTerm, Step, Term
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.softmax import relative_shares
from equivariant.losses.temperatures.temperature import PerCandidate


@listed(
    title="GenView weights",
    family="weights",
    formula="w_i NT-Xent_i,  w = N softmax(γ (cos(f_a, f_b) - cos(g_a, g_b))), without gradient",
    source="Li et al. 2024 (GenView); γ 1; f foreground, g background features of a frozen network",
    purpose="Pairs whose views share the object, not the background, count more.",
    sides={
        "a": "first views, knowing foreground (N, F) and background (N, F)",
        "b": "second views, knowing the same",
    },
)
def genview(tau: float = 0.1, gamma: float = 1.0) -> Plan:
    return [
        Step("weighed", foreground_weights, ("a", "b"), {"gamma": gamma}),
        ContrastTerm("genview", anchors="weighed", candidates="weighed", tau=tau),
    ]


def foreground_weights(a: Side, b: Side, *, gamma: float) -> Side:
    """Both views, each row weighed by how much more the foregrounds agree than the backgrounds."""
    with torch.no_grad():
        fore, back = (
            (unit(a.get(name).to(a.z)) * unit(b.get(name).to(b.z))).sum(1)
            for name in ("foreground", "background")
        )
        weight = relative_shares(gamma * (fore - back))
    return Side.join(a.replace(weight=weight), b.replace(weight=weight))


@listed(
    title="G2L: geodesic weights",
    family="weights",
    formula="L_i = -s_ii/τ + log(exp(s_ii/τ) + Σ_{j≠i} (1 - exp(-d_ij²/2h²)) exp(s_ij/τ))",
    source="Definition ours, after Li et al. 2023 (G2L); d is a shortest-path distance",
    purpose="Candidates near an anchor along the data are hardly pushed.",
    sides={
        "a": "(N, D), knowing geodesic (N, M): distances to b's rows, those of all processes",
        "b": "(N, D)",
    },
    own=True,
)
def g2l(tau: float = 0.1, bandwidth: float = 1.0) -> Plan:
    pairs = Same("id").weigh(push=FarAlong("geodesic", bandwidth))
    return [ContrastTerm("g2l", anchors="a", candidates="b", pairs=pairs, tau=tau)]


class FarAlong:
    """1 - exp(-d²/2h²) of the distances that anchors know; 1 on positives.

    Args:
        name: What anchors know the distances by, shape (N, M).
        bandwidth: h > 0.
    """

    def __init__(self, name: str, bandwidth: float) -> None:
        self.name, self.bandwidth = name, bandwidth

    def __call__(self, q: Side, k: Side) -> Tensor:
        far = -torch.expm1(-0.5 * (q.get(self.name) / self.bandwidth).square())
        return torch.where(q.get("id")[:, None] == k.get("id"), 1.0, far)

    def __repr__(self) -> str:
        return f"1 - exp(-{self.name}² / 2·{self.bandwidth:g}²)"


@listed(
    title="MEOW",
    family="weights",
    formula="L_i = -s_ii/τ + log Σ_j W_ij exp(s_ij/τ),  W_ij = number of clusterings that separate "
    "i and j; + λ ProtoNCE",
    source="Yu et al. 2023 (MEOW); τ 0.4, λ 1 (ACM)",
    purpose="Likely false negatives, which no clustering separates, are not pushed.",
    sides={
        "a": "one view's nodes, knowing clusters (N, R) and cluster (N,)",
        "b": "the other view's, knowing clusters",
        "centroids": "unit centroids (C, D), knowing cluster (C,) and density (C,); if λ > 0",
    },
)
def meow(tau: float = 0.4, prototypes: float = 1.0) -> Plan:
    plan: list[Term] = [
        ContrastTerm("meow", 1.0, None, "a", "b", Separations("clusters"), tau, keep=0.0)
    ]
    if prototypes > 0:
        plan.append(proto_nce(prototypes))
    return plan


def proto_nce(weight: float = 1.0) -> ContrastTerm:
    """Softmax over centroids, each with its own temperature."""
    return ContrastTerm(
        "protonce", weight, None, "a", "centroids", Same("cluster"), PerCandidate("density"),
        shared=True,
    )  # fmt: skip


@listed(
    title="AdaMEOW",
    family="weights",
    formula="L_i = -s_ii/τ + log Σ_j W_ij exp(s_ij/τ),  W_ij = sigmoid(MLP(a_i + b_j))",
    source="Yu et al. 2024 (AdaMEOW); 16 hidden units, tanh, τ 1 (ACM)",
    purpose="MEOW with weights that are learned.",
    sides={"a": "one view, (N, D)", "b": "the other view, (N, D)"},
    memory="pairs",
)
def adameow(dim: int, tau: float = 1.0, hidden: int = 16) -> Plan:
    pairs = Same("id").weigh(push=PairNetwork(dim, hidden))
    return [ContrastTerm("adameow", 1.0, None, "a", "b", pairs, tau)]


class PairNetwork(nn.Module):
    """sigmoid(w·tanh(V (q_i + k_j) + c) + e), a number in (0, 1) for every pair.

    Args:
        dim: Width of the embeddings.
        hidden: Width of V's image.
    """

    def __init__(self, dim: int, hidden: int = 16) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(dim, hidden), nn.Linear(hidden, 1)

    def forward(self, q: Side, k: Side) -> Tensor:
        """Weights of all pairs, shape (N, M)."""
        weight = self.first.weight.to(q.z)
        sums = (q.z @ weight.T)[:, None] + (k.z @ weight.T)[None]
        hidden = torch.tanh(sums + self.first.bias.to(q.z))
        score = hidden @ self.last.weight[0].to(q.z) + self.last.bias.to(q.z)
        return torch.sigmoid(score)


@listed(
    title="CSGCL: community strength",
    family="weights",
    formula="NT-Xent of both views with ℓ_ij = (s_ij + γ (c_i + c_j))/τ; c_i cancels",
    source="Chen et al. 2023 (CSGCL); τ 0.4, γ rises from 0 to at most 1",
    purpose="Nodes of strong communities attract and repel more.",
    sides={"a": "one view's nodes, knowing strength (N,)", "b": "the other view's"},
)
def csgcl(tau: float = 0.4, gamma: float = 1.0) -> Plan:
    similarity = Sum((Cosine(), Bonus("strength")), (1.0, gamma))
    return [ContrastTerm("csgcl", tau=tau, similarity=similarity)]


def community_strength(edges: Tensor, community: Tensor) -> Tensor:
    """m_c / m - (deg_c / 2m)² of each node's community.

    Args:
        edges: Pairs of nodes, each undirected edge once, shape (E, 2), int64.
        community: Community of each node, shape (N,), int64, from 0.

    Returns:
        Shape (N,), float32; all 0 without edges.

    Source: Chen et al. 2023, eq. 2.
    """
    count = int(community.max()) + 1 if len(community) else 0
    of_ends = community[edges]
    inside = torch.bincount(of_ends[of_ends[:, 0] == of_ends[:, 1], 0], minlength=count)
    degree = torch.bincount(of_ends.flatten(), minlength=count)
    m = max(len(edges), 1)
    return (inside / m - (degree / (2 * m)).square())[community].float()
