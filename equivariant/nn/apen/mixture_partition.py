"""Coarser partitions from votes: cells whose points vote for one place become one cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.apen.mixture import Gradient, Mixture, MixtureEnergy
from equivariant.nn.apen.partition import Partition
from equivariant.shapes import Bool, Float, Int

_ROUNDS = 4


@dataclass(frozen=True)
class Coarsening:
    """A coarser partition and how sure it is.

    Args:
        partition: The coarser cells, each a union of whole finer cells: the most probable
            component of each finer cell.
        finer: The finer cells.
        probabilities: Q, of the component of each finer cell, shape (finer cells of all clouds,
            components); rows sum to 1.
        components: The mixture, components merged.
    """

    partition: Partition
    finer: Partition
    probabilities: Float[Tensor, "cells components"]
    components: Mixture

    @property
    def log_certainty(self) -> Float[Tensor, " batch"]:
        """log Π_c max_j Q_cj of each cloud: log of the probability to draw the partition."""
        most = self.probabilities.amax(1).log()
        total = most.new_zeros(len(self.finer.counts))
        return total.index_add(0, self.finer.cloud_of_cell, most)

    @property
    def delta(self) -> Float[Tensor, " batch"]:
        """δ(Q) = 1 - Π_c max_j Q_cj, the probability that a draw from Q differs from argmax Q."""
        return torch.expm1(self.log_certainty).abs()


@dataclass(frozen=True)
class MixturePartition:
    """Predicts coarser cells by a mixture of Gaussians of the votes.

    Every finer cell c has a mass, its share of the cloud's points, and a vote, the mean of its
    points' votes ȳ_c. Components start at all of them; the mixture energy is descended by
    expectation and maximization; components nearer than ``reach`` σ to one another, also by a
    chain, are merged, and the descent goes on from the merged ones until no two are near. Then

        Q_cj ∝ π_j exp(-|ȳ_c - μ_j|² / 2σ²),   the coarser cell of c is argmax_j Q_cj

    All points of a finer cell go together, so coarser cells are unions of finer ones. Within a
    cell responsibilities would differ by the spread of its votes, which is the same for all
    components and cancels. Equal probabilities are decided by the number of the component, which
    is that of its first finer cell: the order of the points does not enter. Motions of parts
    enter only through votes of cells that lie within a few σ of one another.

    Args:
        sigma: σ, in the unit of the clouds, positive.
        merging: τ of the mixture energy, in [0, 0.05).
        iterations: Rounds of expectation and maximization before components are merged, at
            least 1.
        reach: In units of σ, not negative; 0 merges only what coincides exactly.
        gradient: How Q depends on the votes in training: "detached" or "implicit".

    Raises:
        ConventionError: A setting out of range.

    Example:
        >>> votes = torch.tensor([[[0.0, 0, 0], [0.1, 0, 0], [5, 0, 0], [5.1, 0, 0]]])
        >>> finer = Partition.singletons(4, 1)
        >>> MixturePartition(sigma=0.5)(votes, finer).partition.labels.tolist()
        [[0, 0, 1, 1]]

    Source: Atzmon et al. 2024, prediction of partitions; here by whole finer cells.
    """

    sigma: float
    merging: float = 1e-2
    iterations: int = 20
    reach: float = 1.5
    gradient: Gradient = "detached"

    def __post_init__(self) -> None:
        MixtureEnergy(self.sigma, self.merging)
        if self.iterations < 1 or not self.reach >= 0:
            raise ConventionError(
                expected="at least one iteration and a reach that is not negative",
                got=f"{self.iterations} and {self.reach}", argument="iterations",
                advice="20 iterations and a reach of 1.5 are the defaults.",
            )  # fmt: skip

    def __call__(
        self,
        votes: Float[Tensor, "batch points 3"],
        finer: Partition,
        *,
        within: Partition | None = None,
    ) -> Coarsening:
        """The coarser partition.

        Args:
            votes: Where each point sees the centre of its part, shape (batch, points, 3).
            finer: The cells to be merged, labels of shape (batch, points).
            within: A partition that ``finer`` refines: each of its cells has a mixture of its
                own, so no cell is merged with one of another. None for one mixture per cloud.

        Raises:
            ShapeError: Votes and cells of different points.
        """
        if votes.shape != (*finer.labels.shape, 3) or votes.ndim != 3:
            raise ShapeError(
                expected=f"votes of shape {(*finer.labels.shape, 3)}",
                got=f"{tuple(votes.shape)}", argument="votes",
                advice="Each point of the partition has one vote.",
            )  # fmt: skip
        owner, place = _places(finer, within)
        means, mass = cell_votes(votes, finer, owner=owner, place=place)
        energy = MixtureEnergy(self.sigma, self.merging)
        mixture = self.settled(energy, means.detach(), mass)
        if means.requires_grad:
            mixture = energy.differentiable(mixture, means, mass, gradient=self.gradient)
        joint = energy.log_joint(mixture, means)
        probabilities = joint.softmax(-1)[owner, place]
        chosen = probabilities.detach().argmax(-1) + owner * probabilities.shape[1]
        return Coarsening(Partition(finer.gather(chosen)), finer, probabilities, mixture)

    def settled(self, energy: MixtureEnergy, votes: Tensor, mass: Tensor) -> Mixture:
        """Components that neither move nor merge any more, as far as the rounds go.

        Args:
            energy: What they minimize.
            votes: Of the finer cells, shape (batch, cells, 3).
            mass: Shape (batch, cells).
        """
        mixture = Mixture.of(votes, mass)
        moving = torch.ones(len(votes), dtype=torch.bool, device=votes.device)
        for _ in range(_ROUNDS):
            before = mixture.alive.sum(1)
            new = energy.minimize(mixture, votes, mass, iterations=self.iterations)
            mixture = merged(_chosen(moving, new, mixture), self.reach * self.sigma)
            moving = moving & (mixture.alive.sum(1) != before)
            if not bool(moving.any()):
                break
        return mixture


def _chosen(first: Bool[Tensor, " batch"], one: Mixture, other: Mixture) -> Mixture:
    """Mixtures of one batch where the mask says so, of another elsewhere: clouds that have settled
    must not go on because others in their batch do."""
    column = first.unsqueeze(1)
    return Mixture(
        torch.where(column.unsqueeze(2), one.centers, other.centers),
        torch.where(column, one.shares, other.shares),
        torch.where(column, one.alive, other.alive),
    )


def cell_votes(
    votes: Float[Tensor, "batch points 3"],
    cells: Partition,
    *,
    owner: Int[Tensor, " cells"],
    place: Int[Tensor, " cells"],
) -> tuple[Float[Tensor, "mixtures most 3"], Float[Tensor, "mixtures most"]]:
    """Mean vote and share of points of each cell, mixtures padded to the most cells by mass zero.

    Args:
        votes: Shape (batch, points, 3).
        cells: Their cells.
        owner: Mixture that each cell belongs to.
        place: Its place there, from 0.
    """
    means = cells.scatter(votes, reduce="mean")
    mixtures, most = int(owner.max()) + 1, int(place.max()) + 1
    padded = means.new_zeros(mixtures, most, 3).index_put((owner, place), means)
    size = cells.sizes.to(votes.dtype)
    mass = size.new_zeros(mixtures, most).index_put((owner, place), size)
    return padded, mass / mass.sum(1, keepdim=True)


def _places(finer: Partition, within: Partition | None) -> tuple[Tensor, Tensor]:
    """Mixture of each cell, and its place there: by cloud, or by the coarser cell around it."""
    if within is None:
        return finer.cloud_of_cell, finer.label_of_cell
    owner = finer.scatter(within.index.reshape(finer.labels.shape), reduce="max")
    ordered, order = owner.sort(stable=True)
    starts = torch.searchsorted(ordered, owner)
    place = torch.empty_like(owner)
    place[order] = torch.arange(len(owner), device=owner.device)
    return owner, place - starts


def merged(mixture: Mixture, distance: float) -> Mixture:
    """Components nearer than a distance, also by a chain, as one: shares added, centres averaged.

    Args:
        mixture: Components.
        distance: In the unit of the centres; components at one place are merged in any case.
    """
    centers, shares, alive = mixture.centers, mixture.shares, mixture.alive
    near = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
    joined = ((near < distance) | (near == 0)) & alive.unsqueeze(1) & alive.unsqueeze(2)
    first = connected(joined)
    count = shares.shape[1]
    is_first = (first == torch.arange(count, device=first.device)) & alive
    rank = is_first.cumsum(1) - 1
    group = rank.gather(1, first).masked_fill(~alive, 0)
    most = int(is_first.sum(1).max())
    share = shares.masked_fill(~alive, 0)
    total = share.new_zeros(len(share), most).scatter_add(1, group, share)
    weighted = (share.unsqueeze(2) * centers).flatten(0, 1)
    rows = (group + most * torch.arange(len(share), device=group.device)[:, None]).flatten()
    summed = weighted.new_zeros(len(share) * most, 3).index_add(0, rows, weighted)
    there = total > 0
    means = summed.unflatten(0, (len(share), most)) / total.masked_fill(~there, 1).unsqueeze(2)
    return Mixture(means, total / total.sum(1, keepdim=True), there)


def connected(joined: Bool[Tensor, "batch n n"]) -> Int[Tensor, "batch n"]:
    """The lowest member of the connected component of each vertex of symmetric graphs.

    Args:
        joined: Adjacency, shape (batch, n, n).

    Example:
        >>> chain = torch.tensor([[[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]])
        >>> connected(chain.bool()).tolist()
        [[0, 0, 2, 2]]
    """
    count = joined.shape[1]
    itself = torch.eye(count, dtype=torch.bool, device=joined.device)
    joined = joined | itself
    found = torch.arange(count, device=joined.device).expand(joined.shape[:2])
    while True:
        seen = found.unsqueeze(1).expand_as(joined).masked_fill(~joined, count)
        lower = seen.amin(2)
        lower = lower.gather(1, lower)
        if torch.equal(lower, found):
            return found
        found = lower
