"""InfoNCE and its kin: one positive, many negatives, a softmax between them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from equivariant.losses.checks import check_paired
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import unit
from equivariant.losses.contrast.statistics import Hardest
from equivariant.losses.objective.plan import ContrastTerm, Step
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.temperatures.temperature import Temperature
from equivariant.processes import across_processes, collect, rank

STRANGER = torch.iinfo(torch.int64).min
"""First of the ids of rows that show nobody's object; users' ids may be negative, too."""

VIEWS = {"a": "first views, (N, D)", "b": "second views, (N, D); row i shows a's object i"}


@listed(
    title="InfoNCE",
    family="softmax",
    formula="L_i = -s_ii/τ + log Σ_j exp(s_ij/τ),  s = cos(a_i, b_j)",
    source="van den Oord et al. 2018, eq. 4",
    purpose="Tell an object's second view from those of others.",
    sides=VIEWS,
)
def infonce(tau: float | Temperature = 0.1) -> Plan:
    return [ContrastTerm("infonce", anchors="a", candidates="b", pairs=Same("id"), tau=tau)]


@listed(
    title="MoCo",
    family="softmax",
    formula="L_i = -s_ii/τ + log(exp(s_ii/τ) + Σ_{queue} exp(s_ij/τ)),  s = cos(a_i, k_j)",
    source="He et al. 2020, eq. 1; the keys b and the queue come from a momentum encoder",
    purpose="Many negatives for small batches: keys of earlier batches, without gradient.",
    sides={
        "a": "queries, (N, D)",
        "b": "keys of the same objects, (N, D)",
        "bank": "queue, (K, D)",
    },
)
def moco(tau: float | Temperature = 0.07) -> Plan:
    return [
        Step("keys", queued_keys, ("b", "bank")),
        ContrastTerm(
            "moco", anchors="a", candidates="keys", tau=tau,
            pairs=Same("id").repelled_by("queued"),
        ),
    ]  # fmt: skip


def queued_keys(b: Side, bank: Side) -> Side:
    """Keys of the batch, then those of the queue, without gradient."""
    return with_queue(b, bank).detach()


def with_queue(b: Side, bank: Side) -> Side:
    """Keys of the batch, then those of the queue, whose objects are nobody's positives."""
    key, queued = torch.zeros_like(b.index), torch.ones_like(bank.index)
    strangers = STRANGER + torch.arange(len(bank), device=bank.z.device)
    bank = bank.replace(bank.z.to(b.z), id=strangers, queued=queued)
    return Side.join(b.replace(queued=key), counted_once(bank))


def counted_once(shared: Side) -> Side:
    """Rows that all processes hold alike, dealt out, so that gathering them gives each once."""
    if not across_processes():
        return shared
    return shared[rank() :: dist.get_world_size()]


def relative_shares(scores: Tensor) -> Tensor:
    """N softmax of the scores of all N rows of all processes, at the own rows; mean 1."""
    every = collect(scores)
    return len(every) * (scores - every.logsumexp(0)).exp()


@listed(
    title="NT-Xent (SimCLR)",
    family="softmax",
    formula="L_i = -s_ip/τ + log Σ_{j≠i} exp(s_ij/τ) over all 2N views",
    source="Chen et al. 2020, eq. 1; τ 0.5 there, 0.1 in later recipes",
    purpose="The standard of two augmented views.",
    sides=VIEWS,
)
def nt_xent(tau: float | Temperature = 0.5) -> Plan:
    return [ContrastTerm("nt_xent", tau=tau)]


@listed(
    title="Decoupled contrastive loss (DCL)",
    family="softmax",
    formula="L_i = -s_ip/τ + log Σ_{j≠i,p} exp(s_ij/τ) over all 2N views",
    source="Yeh et al. 2022",
    purpose="Small batches: the positive leaves the denominator, and its gradient stays.",
    sides=VIEWS,
)
def dcl(tau: float | Temperature = 0.1) -> Plan:
    return [ContrastTerm("dcl", tau=tau, keep=0.0)]


@listed(
    title="Weighted decoupled contrastive loss (DCLW)",
    family="softmax",
    formula="L_i = -w_i s_ip/τ + log Σ_{j≠i,p} exp(s_ij/τ),  w_i = 2 - N softmax_i(s_ip/σ), "
    "without gradient",
    source="Yeh et al. 2022; the authors' code lets gradients through w. w_i can be "
    "negative (7 % of pairs early in training): least=0 clamps it",
    purpose="DCL that pulls distant positives harder.",
    sides=VIEWS,
)
def dclw(tau: float | Temperature = 0.1, sigma: float = 0.5, least: float | None = None) -> Plan:
    settings = {"sigma": sigma, "least": least}
    return [
        Step("weighed", von_mises_fisher_weights, ("a", "b"), settings),
        ContrastTerm(
            "dclw", anchors="weighed", candidates="weighed", keep=0.0, tau=tau, pull="sum",
            pairs=Same("id").not_self().weigh(pull="pull"),
        ),
    ]  # fmt: skip


def von_mises_fisher_weights(a: Side, b: Side, *, sigma: float, least: float | None) -> Side:
    """Both views, each row with w_i = 2 - N softmax_i(cos(a_i, b_i) / σ) as ``pull``."""
    check_paired(a.z, b.z)
    with torch.no_grad():
        agreement = (unit(a.z) * unit(b.z)).sum(1) / sigma
        weight = 2.0 - relative_shares(agreement)
        weight = weight if least is None else weight.clamp(min=least)
    return Side.join(a.replace(pull=weight), b.replace(pull=weight))


@listed(
    title="Hard contrastive loss",
    family="softmax",
    formula="L_i = -s_ip/τ + log(exp(s_ip/τ) + Σ_{j in top α} exp(s_ij/τ))",
    source="Wang, Liu 2021",
    purpose="Only the most similar share α of the negatives counts.",
    sides=VIEWS,
)
def hard_contrastive(tau: float | Temperature = 0.5, share: float = 0.1) -> Plan:
    return [ContrastTerm("hard", tau=tau, hardest=Hardest(share=share))]


@listed(
    title="Simple contrastive loss",
    family="softmax",
    formula="L_i = -s_ip + λ Σ_{j≠i,p} s_ij",
    source="Wang, Liu 2021",
    purpose="A control without hardness: all negatives are pushed equally.",
    sides=VIEWS,
)
def simple_contrastive(repulsion: float = 1.0) -> Plan:
    pairs = Same("id").not_self().weigh(push=_Constant(repulsion))
    return [ContrastTerm("simple", pairs=pairs, tau=1.0, keep=0.0, push="sum")]


class _Constant:
    """One factor for all pairs."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, q: Side, k: Side) -> Tensor:
        return torch.full((1, 1), self.value, dtype=q.z.dtype, device=q.z.device)

    def __repr__(self) -> str:
        return f"{self.value:g}"
