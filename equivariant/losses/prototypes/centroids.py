"""Means of clusters, and how widely each cluster spreads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.losses.checks import check_count, check_indices, check_positive
from equivariant.losses.wide_arithmetic import in_full_precision
from equivariant.shapes import Float, Int


class Centroids(NamedTuple):
    """Means of clusters.

    Args:
        mean: Shape (K, D); zero where a cluster is empty.
        empty: Shape (K,), which clusters have no member: leave these out of every softmax.
    """

    mean: Tensor
    empty: Tensor


@in_full_precision
def centroids(z: Float[Tensor, "n d"], assignment: Int[Tensor, " n"], count: int) -> Centroids:
    """Mean of the rows of each cluster, and which clusters are empty.

        c_k = Σ_{i: a_i = k} z_i / |{i: a_i = k}|

    Args:
        z: Shape (N, D). The means have its gradient; rows are not normalized.
        assignment: Shape (N,), the cluster of each row, from 0 to count-1.
        count: K, at least 1.

    Returns:
        ``mean`` of shape (K, D), float32 or wider, and ``empty`` of shape (K,).

    Raises:
        ConventionError: A value of assignment is outside its range, or count is below 1.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [3.0, 0.0], [5.0, 5.0]])
        >>> mean, empty = centroids(z, torch.tensor([0, 0, 2]), 3)
        >>> mean.tolist(), empty.tolist()
        ([[2.0, 0.0], [0.0, 0.0], [5.0, 5.0]], [False, True, False])
    """
    check_count(count, "count", "Pass the number of clusters.")
    check_indices(assignment, count)
    members = assignment.long().bincount(minlength=count)
    sums = z.new_zeros(count, z.shape[1]).index_add(0, assignment.long(), z)
    return Centroids(sums / members.clamp_min(1)[:, None], members == 0)


def back_translated_centroids(
    own: Float[Tensor, "n d"], other_assignment: Int[Tensor, " n"], count: int
) -> Centroids:
    """Prototypes of one modality that stand for the clusters of another.

        c'_k = mean { own_i : row i of the other modality lies in cluster k }

    The prototypes live in the space of ``own``, so nothing of the other modality's geometry
    (a constant shift between the two, the modality gap) enters them.

    Args:
        own: Shape (N, D), features of the modality that is to be taught.
        other_assignment: Shape (N,), the clusters found in the paired rows of the other modality.
        count: K, the number of these clusters.

    Returns:
        As :func:`centroids`.

    Raises:
        ConventionError: As :func:`centroids`.

    Example:
        >>> text = torch.tensor([[0.0], [1.0], [9.0]])
        >>> back_translated_centroids(text, torch.tensor([1, 1, 0]), 2).mean.tolist()
        [[9.0], [0.5]]

    Source: Chen et al. 2023 (ProtoCLIP), prototypical back translation.
    """
    return centroids(own, other_assignment, count)


@torch.no_grad()
@in_full_precision
def density_temperatures(
    distance: Float[Tensor, " n"],
    assignment: Int[Tensor, " n"],
    count: int,
    *,
    tau: float = 0.1,
    smoothing: float = 5.0,
) -> Float[Tensor, " k"]:
    """A temperature for every prototype: low for tight clusters, high for loose ones.

        φ_c = (1/n_c) Σ_{i in c} √distance_i / log(n_c + smoothing)

    Clusters of one member or none get the largest φ. Then φ is clipped to its 10th and 90th
    percentile and scaled to the mean tau. A φ of 0 (all members at the centroid) is raised to
    the smallest φ above 0, and without any such φ all temperatures are tau: candidates
    divide by them.

    ``distance`` must be a distance. The released code of MEOW feeds this formula an
    inner-product score, which is *large* for tight clusters: it turns the order round.

    Args:
        distance: Shape (N,), >= 0, of each row to its centroid; as in the method's code the
            squared Euclidean one, of which the root is averaged.
        assignment: Shape (N,), the cluster of each row, from 0 to count-1.
        count: K, at least 1.
        tau: Mean of the temperatures, above 0.
        smoothing: 5 in MEOW, 10 in the code of PCL.

    Returns:
        Shape (K,), positive, with mean tau; without gradient.

    Raises:
        ConventionError: A distance is negative, a value of assignment is outside its range,
            or tau is not positive.

    Example:
        >>> distance = torch.tensor([0.0, 0.0, 4.0, 4.0])
        >>> phi = density_temperatures(distance + 1, torch.tensor([0, 0, 1, 1]), 2, tau=0.1)
        >>> bool(phi[0] < phi[1]), round(float(phi.mean()), 6)
        (True, 0.1)

    Source: Li et al. 2021 (PCL), eq. 12.
    """
    check_positive(tau, "tau", "The usual value is 0.1.")
    check_positive(smoothing, "smoothing", "The usual values are 5 and 10.")
    if bool((distance < 0).any()):
        raise ConventionError(
            expected="distances, 0 or more",
            got=str(float(distance.min())),
            argument="distance",
            advice="Pass squared distances to the centroids, not similarities.",
        )
    mean, _ = centroids(distance.sqrt()[:, None], assignment, count)
    members = assignment.long().bincount(minlength=count)
    density = mean[:, 0] / (members + smoothing).log()
    density = torch.where(members > 1, density, 0.0)
    density = torch.where(members > 1, density, density.max())
    density = density.clamp(density.quantile(0.1), density.quantile(0.9))
    positive = density > 0
    if not bool(positive.any()):
        return torch.full_like(density, tau)
    density = density.where(positive, density[positive].min())
    return tau * density / density.mean()
