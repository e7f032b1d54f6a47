"""Clusters of one modality that teach the other."""

from __future__ import annotations

import math

import torch

from equivariant.errors import ConventionError
from equivariant.losses.checks import check_positive
from equivariant.losses.contrast.affinities import Soft
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Dot, unit
from equivariant.losses.objective.plan import ContrastTerm, Step
from equivariant.losses.presets.preset import Plan, listed
from equivariant.losses.presets.prototypes import check_prototypes
from equivariant.losses.prototypes.centroids import back_translated_centroids, centroids
from equivariant.losses.temperatures.temperature import Learned

_CLUSTERED = "features of the other modality, (M, D'), knowing cluster (M,)"


@listed(
    title="ProtoCLIP",
    family="prototypes",
    formula="-Σ_k y_ik log softmax_k(⟨a_i, c_k⟩/τ), c_k mean of the other modality's unit "
    "features in cluster k; y one-hot, or softmax_k(⟨c_y, c_k⟩/T)",
    source="Chen et al. 2023; hard targets by default; one direction, the other is the "
    "same with modalities exchanged. Clusters without members are left out",
    purpose="Groups of one modality teach the other, above single pairs.",
    sides={
        "a": "taught modality, (N, D), knowing cluster (N,): that of its pair in the other",
        "other": f"{_CLUSTERED}: an episode, or the batch; D' = D",
    },
)
def protoclip(clusters: int, tau: float = 0.07, softness: float | None = None) -> Plan:
    made = [Step("means", means, ("other",), {"count": clusters})]
    return _taught_by_centroids("protoclip", made, "means", tau, softness)


@listed(
    title="ProtoCLIP with prototypical back translation",
    family="prototypes",
    formula="-Σ_k y_ik log softmax_k(⟨a_i, c_k⟩/τ), c_k mean of a's *own* modality's unit features "
    "over the other modality's cluster k; y one-hot, or softmax_k(⟨o_y, o_k⟩/T), o_k mean of the "
    "*other* modality's unit features in cluster k",
    source="Chen et al. 2023, and their code; as protoclip",
    purpose="ProtoCLIP whose prototypes do not know the gap between the modalities.",
    sides={
        "a": "taught modality, (N, D), knowing cluster (N,): that of its pair in the other",
        "own": "features of the same modality, (M, D), knowing cluster (M,) of their pairs: an "
        "episode, or the batch",
        "other": f"{_CLUSTERED}: of the same episode; if softness is given",
    },
)
def protoclip_pbt(clusters: int, tau: float = 0.07, softness: float | None = None) -> Plan:
    settings = {"count": clusters, "translated": True}
    made = [Step("means", means, ("own",), settings)]
    if softness is not None:
        made.append(Step("teachers", means, ("other",), {"count": clusters}))
    return _taught_by_centroids("protoclip_pbt", made, "teachers", tau, softness)


def _taught_by_centroids(
    name: str, made: list[Step], teachers: str, tau: float, softness: float | None
) -> Plan:
    learned = Learned(tau, low=0.01, high=math.inf)
    if softness is None:
        taught = Step("taught", in_clusters, ("a", "means"))
        pairs: Same | Soft = Same("cluster")
    else:
        settings = {"softness": softness}
        taught = Step("taught", soft_clusters, ("a", "means", teachers), settings)
        pairs = Soft("targets")
    term = ContrastTerm(
        name, 1.0, None, "taught", "means", pairs, learned, Dot(unit=True), shared=True
    )
    return [*made, taught, term]


def means(rows: Side, *, count: int, translated: bool = False) -> Side:
    """Means of unit rows by cluster, without gradient and without the empty; they know cluster."""
    rows = rows.detach().collect()
    average = back_translated_centroids if translated else centroids
    found = average(unit(rows.z), rows.get("cluster"), count)
    there = (~found.empty).nonzero().squeeze(1)
    return Side.of(found.mean[there], cluster=there)


def in_clusters(a: Side, means: Side) -> Side:
    """The rows, refused if one's cluster has no mean."""
    check_prototypes(a, means)
    _check_there(a, means)
    return a


def _check_there(a: Side, means: Side) -> None:
    missing = ~torch.isin(a.get("cluster"), means.get("cluster"))
    if bool(missing.any()):
        raise ConventionError(
            expected="a member of every row's cluster among the clustered features",
            got=f"none in cluster {int(a.get('cluster')[missing][0])}",
            argument="cluster",
            advice="Cluster the features that the batch is drawn from.",
        )


def soft_clusters(a: Side, means: Side, teachers: Side, *, softness: float) -> Side:
    """Rows with softmax_k(⟨o_y, o_k⟩/softness) over the means' clusters k as ``targets``.

    Args:
        a: Rows, knowing their cluster y.
        means: Prototypes, knowing cluster, ascending.
        teachers: Means o of the other modality; clusters that they lack have the target 0.
        softness: T > 0.
    """
    check_positive(softness, "softness", "Towards 0 targets are hard.")
    a, o = in_clusters(a, means), teachers.z
    _check_there(a, teachers)
    clusters = teachers.get("cluster")
    columns = torch.searchsorted(clusters, means.get("cluster")).clamp(max=len(clusters) - 1)
    known = clusters[columns] == means.get("cluster")
    rows = torch.searchsorted(clusters, a.get("cluster"))
    scores = (o @ o.T / softness)[rows][:, columns]
    return a.replace(targets=torch.where(known, scores, -math.inf).softmax(1))
