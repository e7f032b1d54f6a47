"""Temperatures that belong to anchors and pairs, and are trained with the embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.losses.contrast.core import contrast
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Cosine
from equivariant.losses.contrast.statistics import Hardest
from equivariant.losses.objective.plan import FunctionTerm
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.softmax import VIEWS
from equivariant.losses.temperatures.robust import IndividualTemperature, TemperatureNetwork
from equivariant.losses.temperatures.temperature import PerPair


@listed(
    title="iSogCLR",
    family="temperature",
    formula="τ_i log mean_{j≠i,p} exp((s_ij - s_ip)/τ_i) + τ_i ρ, least over τ_i in [low, high]",
    source="Qiu et al. 2023 (iSogCLR); γ 0.8, ρ 6, η 1e-3, τ from 0.1 in [0.05, 1]. Here each view "
    "of a sample has its τ and its mean of exp((s_ij - s_ip)/τ); in their code both views share "
    "one τ and one mean, of exp(s_ij/τ): shared=True. They sum the two views, here is their mean",
    purpose="Long tails: anchors with many near negatives get a higher temperature.",
    sides={"a": "first views, knowing sample: number in the data set", "b": "second views"},
)
def isogclr(
    samples: int, rho: float = 6.0, gamma: float = 0.8, start: float = 0.1, low: float = 0.05,
    high: float = 1.0, rate: float = 1e-3, shared: bool = False,
) -> Plan:  # fmt: skip
    state = IndividualTemperature(
        samples, rho=rho, gamma=gamma, start=start, low=low, high=high, rate=rate, shared=shared
    )
    return [FunctionTerm("isogclr", 1.0, None, state, ("a", "b", "a.sample"))]


@listed(
    title="TempNet",
    family="temperature",
    formula="τ_i log mean_{j≠i,p} exp((s_ij - s_ip)/τ_i) + τ_i ρ,  τ_i = network(a_i)",
    source="Qiu et al. 2024 (TempNet); 256 prototypes, τ in [0.005, 0.05]. Here of two views, the "
    "batch alone, one network. Their code is of two modalities, a network each, keeps a running "
    "mean as iSogCLR does, drops out half of x, and starts at eᵃ 0.01 and a last layer of ones: "
    "dropout=0.5, published_start=True",
    purpose="Temperatures of anchors that a small network predicts, also for new samples.",
    sides=VIEWS,
)
def tempnet(
    dim: int, rho: float = 6.0, prototypes: int = 256, low: float = 0.005, high: float = 0.05,
    dropout: float = 0.0, published_start: bool = False,
) -> Plan:  # fmt: skip
    network = TemperatureNetwork(
        dim, prototypes=prototypes, low=low, high=high, rho=rho, dropout=dropout
    )
    if published_start:
        network.start_as_published()
    return [FunctionTerm("tempnet", 1.0, None, network, ("a", "b"))]


@listed(
    title="AMCL: adaptive multi-head contrast",
    family="temperature",
    formula="Σ_heads -s⁺/τ⁺ + mean_top-k(s⁻/τ⁻) + β Ω(τ⁺) - β mean_top-k(log τ⁻ + 1/τ⁻),  "
    "Ω(τ) = (d/2) log τ + 1/τ,  τ_ij = low + (high - low) sigmoid(-⟨φ(a_i), φ(b_j)⟩)",
    source="Wang et al. 2024 (AMCL); k 100, 3 heads, β 1e-2, τ in [1e-5, 2] there. Ours: τ ≥ 0.05, "
    "since the push has no lower bound as τ⁻ → 0; means over the top k; b's rows as candidates",
    purpose="Views of several kinds: every pair has a temperature of its own.",
    sides={"a": "heads side by side, (N, heads D)", "b": "the same of second views"},
    memory="pairs",
)
def amcl(
    dim: int, heads: int = 3, negatives: int = 100, beta: float = 1e-2, low: float = 0.05,
    high: float = 2.0, hidden: int = 64,
) -> Plan:  # fmt: skip
    network = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
    heads_loss = AdaptiveHeads(
        PerPair(network, low=low, high=high), heads=heads, negatives=negatives, beta=beta
    )
    return [FunctionTerm("amcl", 1.0, None, heads_loss, ("a", "b"))]


class AdaptiveHeads(nn.Module):
    """Contrast with a temperature of every pair and its regularizer; see :func:`amcl`.

    Args:
        tau: Shared by the heads.
        heads: How many blocks of columns.
        negatives: Most similar negatives that count, at least 1.
        beta: Weight of the regularizer.
    """

    def __init__(self, tau: PerPair, *, heads: int, negatives: int, beta: float) -> None:
        super().__init__()
        self.tau, self.heads, self.negatives, self.beta = tau, heads, negatives, beta

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean of both directions, heads summed, a scalar; sides of shape (N, heads D)."""
        if len(a) == 0:
            return (a + b).sum()
        pairs = zip(a.chunk(self.heads, 1), b.chunk(self.heads, 1), strict=True)
        values = [0.5 * (self._one_way(u, v) + self._one_way(v, u)) for u, v in pairs]
        return torch.stack(values).sum()

    def _one_way(self, u: Tensor, v: Tensor) -> Tensor:
        rows = torch.arange(len(u), device=u.device)
        q, k = Side.of(u, id=rows), Side.of(v, id=rows)
        hardest = Hardest(count=self.negatives)
        shared = {"tau": self.tau, "keep": 0.0, "push": "mean", "hardest": hardest}
        result = contrast(q, k, Same("id"), **shared)  # type: ignore[arg-type]
        return result.mean() + self.beta * self._regularizer(q, k, hardest, u.shape[1])

    def _regularizer(self, q: Side, k: Side, hardest: Hardest, dim: int) -> Tensor:
        tau = self.tau(q, k)
        own: Tensor = q.get("id")[:, None] == k.get("id")
        s = Cosine().matrix(q, k)
        counted = hardest.select(s, ~own)
        positive = tau.diagonal()
        pull = 0.5 * dim * positive.log() + 1.0 / positive
        push = torch.where(counted, tau.log() + 1.0 / tau, 0.0).sum(1)
        value: Tensor = (pull - push / counted.sum(1).clamp(min=1)).mean()
        return value
