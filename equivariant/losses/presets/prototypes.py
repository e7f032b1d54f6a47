"""Softmax over prototypes, words, centroids or fixed vectors, taught by a target distribution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.checks import check_count, check_indices, check_positive, check_width
from equivariant.losses.contrast.affinities import Soft
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Dot, unit
from equivariant.losses.objective.plan import ContrastTerm, Step, Term
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.weights import proto_nce
from equivariant.losses.prototypes.bag_of_words import BagOfWords
from equivariant.losses.prototypes.targets import Centre, centred_softmax, sinkhorn

_CROPS = "further crops c, d, ... are named by views="


@listed(
    title="SwAV",
    family="prototypes",
    formula="mean over a full view t and another view s of -Σ_k q_tk log softmax_k(⟨s, c_k⟩/τ), "
    "q_t = sinkhorn(⟨t, c⟩/ε) without gradient, c unit prototypes",
    source="Caron et al. 2020; τ 0.1, ε 0.05, 3 iterations, 3000 prototypes. Lengths "
    "of prototypes are divided out in the loss, not by a projection after each step",
    purpose="Views predict one another's cluster; clusters are used equally, so nothing collapses.",
    sides={"a": "first full views, (N, D)", "b": f"second ones; {_CROPS}"},
)
def swav(
    dim: int,
    prototypes: int = 3000,
    views: str = "ab",
    tau: float = 0.1,
    eps: float = 0.05,
    iterations: int = 3,
) -> Plan:
    _check_views(views)
    codes = {"eps": eps, "iterations": iterations}
    return [
        Step("prototypes", Prototypes(dim, prototypes), ()),
        Step("taught", swapped_codes, ("prototypes", *views), codes),
        ContrastTerm(
            "swav", anchors="taught", candidates="prototypes", pairs=Soft("targets"), tau=tau,
            shared=True,
        ),
    ]  # fmt: skip


class Prototypes(nn.Module):
    """Trained unit vectors as a side.

    Args:
        dim: Width of the embeddings.
        count: Number of vectors, at least 1.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        check_count(count, "prototypes", "SwAV has 3000.")
        self.weight = nn.Parameter(functional.normalize(torch.randn(count, dim), dim=1))

    def forward(self) -> Side:
        """The vectors, shape (K, D), at unit length."""
        return Side.of(unit(self.weight))

    def extra_repr(self) -> str:
        return " x ".join(map(str, self.weight.shape))


def swapped_codes(prototypes: Side, *views: Side, eps: float, iterations: int) -> Side:
    """Every view with the codes of each full view but itself; the first two views are full."""
    centres = prototypes.z.detach()
    codes = []
    for view in views[:2]:
        check_prototypes(view, prototypes)
        z = view.z.detach().to(torch.promote_types(view.z.dtype, centres.dtype))
        codes.append(sinkhorn(unit(z) @ centres.to(z).T, eps=eps, iterations=iterations))
    return taught_by(codes, views)


def taught_by(targets: list[Tensor], views: tuple[Side, ...]) -> Side:
    """Rows of each view once for every full view's targets but its own, as ``targets``."""
    for view in views:
        if len(view) != len(views[0]):
            raise ShapeError(
                expected=f"{len(views[0])} rows in every view",
                got=f"{len(view)}",
                argument="views",
                advice="Row i of every view shows object i.",
            )
    return Side.join(
        *(
            view.replace(targets=rows)
            for teacher, rows in enumerate(targets)
            for student, view in enumerate(views)
            if student != teacher
        )
    )


@listed(
    title="DINO",
    family="prototypes",
    formula="mean over a full view t and another view s of -Σ_k p_tk log softmax_k(⟨s, c_k⟩/τ), "
    "p_t = softmax((scores_t - centre)/τ_t) without gradient, centre a running mean",
    source="Caron et al. 2021; τ 0.1, τ_t 0.04, momentum of the centre 0.9",
    purpose="A student predicts what an average of itself says; centring against collapse.",
    sides={
        "a": "student's bottleneck of the first full views, (N, D), knowing scores (N, K): the "
        "teacher's, of the same views",
        "b": f"the second ones; {_CROPS}, without scores",
    },
)
def dino(
    dim: int,
    prototypes: int = 65536,
    views: str = "ab",
    tau: float = 0.1,
    tau_teacher: float = 0.04,
    momentum: float = 0.9,
) -> Plan:
    _check_views(views)
    targets = CentredTargets(prototypes, tau_teacher, momentum)
    return [
        Step("prototypes", Prototypes(dim, prototypes), ()),
        Step("taught", targets, tuple(views)),
        ContrastTerm(
            "dino", anchors="taught", candidates="prototypes", pairs=Soft("targets"), tau=tau,
            shared=True,
        ),
    ]  # fmt: skip


class CentredTargets(nn.Module):
    """Views taught by softmax((scores - centre)/τ) of the first two; the centre follows both.

    Args:
        count: Number of scores.
        tau: Temperature of the teacher.
        momentum: Weight of the old centre.
    """

    def __init__(self, count: int, tau: float, momentum: float) -> None:
        super().__init__()
        self.centre = Centre(count, momentum=momentum)
        self.tau = tau

    def forward(self, *views: Side) -> Side:
        """Every view with the targets of each full view but itself."""
        scores = [view.get("scores").detach() for view in views[:2]]
        centre = self.centre(torch.cat(scores))
        return taught_by([centred_softmax(s, centre.to(s), tau=self.tau) for s in scores], views)


@listed(
    title="OBoW: online bags of visual words",
    family="prototypes",
    formula="-Σ_k y_ik log softmax_k(κ ⟨a_i, G(w_k)⟩), y bags of words, G a network, |G| = 1",
    source="Gidaris et al. 2021; κ 8, hidden width 2 D. a is not normalized, as there; "
    "their divergence is this cross-entropy less the targets' entropy, a constant",
    purpose="A view predicts which local features of a vocabulary its object shows.",
    sides={
        "a": "student's views, (N, D), knowing targets (N, K); with sharpness= given, knowing "
        "features (N, places, F) of the teacher instead",
        "words": "vocabulary, (K, F), the same on every process",
    },
)
def obow(dim: int, width: int, kappa: float = 8.0, sharpness: float | None = None) -> Plan:
    check_positive(kappa, "kappa", "The usual value is 8.")
    plan: list[Term | Step] = []
    if sharpness is not None:
        plan.append(Step("taught", BagsAsTargets(sharpness), ("a", "words")))
    plan.append(Step("weights", WordWeights(width, dim), ("words",)))
    anchors = "a" if sharpness is None else "taught"
    plan.append(
        ContrastTerm(
            "obow", 1.0, None, anchors, "weights", Soft("targets"), 1.0 / kappa, Dot(), shared=True
        )
    )
    return plan


class WordWeights(nn.Module):
    """G(w) = unit(W₂ relu(batch norm(W₁ unit(w))) + b₂): the prototype that stands for a word.

    Args:
        width: Of a word.
        dim: Of the student's embeddings.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        hidden = 2 * dim
        self.width = width
        self.network = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Linear(hidden, dim),
        )  # fmt: skip

    def forward(self, words: Side) -> Side:
        """Prototypes of the words, shape (K, dim)."""
        check_width(words.z, self.width, "words")
        return words.replace(unit(self.network(unit(words.z.detach()))), irreps=None)


class BagsAsTargets(nn.Module):
    """Rows with the bag of words of the features they know as ``targets``.

    Args:
        sharpness: Inverse temperature of the assignment to words.
    """

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.bags = BagOfWords(sharpness=sharpness)

    def forward(self, a: Side, words: Side) -> Side:
        """The rows of a with targets (N, K)."""
        features = a.get("features").detach()
        return a.replace(targets=self.bags(features, words.z.detach().to(features)))


@listed(
    title="EBV: equiangular basis vectors",
    family="prototypes",
    formula="L_i = -cos(a_i, w_y)/τ + log Σ_c exp(cos(a_i, w_c)/τ), w fixed, one for each class",
    source="Shen et al. 2023; τ 0.07; basis: equiangular_basis(classes, dim).vectors",
    purpose="A classifier without trained weights: classes are nearly orthogonal directions.",
    sides={"a": "embeddings, (N, D), knowing label from 0 to C - 1"},
)
def ebv(basis: Tensor, tau: float = 0.07) -> Plan:
    return [
        Step("basis", FixedVectors(basis), ("a",)),
        ContrastTerm("ebv", 1.0, None, "a", "basis", Same("label"), tau, shared=True),
    ]


class FixedVectors(nn.Module):
    """One vector for each class, a buffer.

    Args:
        vectors: Shape (C, D).
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors.detach().clone())

    def forward(self, a: Side) -> Side:
        """The vectors, knowing label; labels of a outside their range are refused."""
        check_indices(a.get("label"), len(self.vectors), "label")
        places = torch.arange(len(self.vectors), device=self.vectors.device)
        return Side.of(self.vectors, label=places)


@listed(
    title="ProtoNCE (PCL)",
    family="prototypes",
    formula="λ InfoNCE(a → b) + mean_i [-⟨a_i, c_y⟩/φ_y + log Σ_k exp(⟨a_i, c_k⟩/φ_k)]",
    source="Li et al. 2021, eq. 11, of one clustering; φ: density_temperatures; c unit centroids. "
    "λ = 0 leaves out the instances",
    purpose="Clusters as positives, tight ones with a low temperature.",
    sides={
        "a": "embeddings, (N, D), knowing cluster",
        "b": "second views, if λ > 0",
        "centroids": "unit centroids (C, D), knowing cluster (C,) and density (C,)",
    },
)
def protonce(tau: float = 0.1, instances: float = 1.0) -> Plan:
    plan = [proto_nce()]
    if instances > 0:
        plan.append(ContrastTerm("infonce", instances, None, "a", "b", Same("id"), tau))
    return plan


def check_prototypes(side: Side, prototypes: Side) -> None:
    """Refuse embeddings of another width than the prototypes."""
    if side.z.shape[1] != prototypes.z.shape[1]:
        raise ShapeError(
            expected=f"embeddings of width {prototypes.z.shape[1]}, as the prototypes",
            got=f"width {side.z.shape[1]}",
            argument="z",
            advice="Pass dim= of the embeddings to the preset.",
        )


def _check_views(views: str) -> None:
    if len(views) < 2 or len(set(views)) < len(views):
        raise ConventionError(
            expected="at least two different names of one letter, the two full views first",
            got=repr(views),
            argument="views",
            advice="'abcd' is two full views and two crops.",
        )
