"""Gauges of embeddings and scores: numbers to look at, without gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.losses.checks import check_count, check_paired, check_positive, check_rows
from equivariant.losses.columns.terms import uniformity
from equivariant.losses.contrast.similarity import unit
from equivariant.losses.wide_arithmetic import in_full_precision
from equivariant.shapes import Bool, Float, Int

__all__ = [
    "HardnessProfile", "Isotropy", "ModalityGap", "ScoreHistogram", "hardness", "isotropy",
    "modality_gap", "score_histogram", "tolerance", "uniformity",
]  # fmt: skip


@torch.no_grad()
@in_full_precision
def tolerance(z: Float[Tensor, "n d"], label: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean cosine of all pairs of different rows that share a label.

        T = mean_{i≠j, y_i = y_j} ⟨ẑ_i, ẑ_j⟩

    High where a class stays together; it trades against :func:`uniformity`, and a small
    temperature buys the latter. Cost O(N D).

    Args:
        z: Shape (N, D); rows are normalized here.
        label: Shape (N,), integers.

    Returns:
        A scalar in [-1, 1].

    Raises:
        ConventionError: No two rows share a label.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> float(tolerance(z, torch.tensor([0, 0, 1])))
        0.0

    Source: Wang & Liu 2021, uniformity-tolerance dilemma.
    """
    rows = unit(z)
    classes, members = label.unique(return_inverse=True, return_counts=True)[1:]
    pairs = (members * (members - 1)).sum()
    if int(pairs) == 0:
        raise ConventionError(
            expected="at least two rows with one label",
            got=f"{len(label)} rows, all different",
            argument="label",
            advice="Use a larger batch, or draw it by class.",
        )
    sums = rows.new_zeros(len(members), rows.shape[1]).index_add(0, classes, rows)
    mean: Tensor = (sums.square().sum() - rows.square().sum()) / pairs
    return mean


@dataclass(frozen=True)
class ScoreHistogram:
    """Counts of scores on fixed bins.

    Args:
        edges: Shape (bins + 1,).
        positive: Shape (bins,), counts of scores of positives, int64.
        negative: Shape (bins,), the same of all others.
    """

    edges: Tensor
    positive: Tensor
    negative: Tensor

    @property
    def overlap(self) -> float:
        """Σ_b min of the two shares: 0 when apart, 1 when alike, NaN if one has no score."""
        p, n = self.positive.double(), self.negative.double()
        return float(torch.minimum(p / p.sum(), n / n.sum()).sum())


@torch.no_grad()
@in_full_precision
def score_histogram(
    scores: Float[Tensor, "n m"],
    positive: Bool[Tensor, "n m"],
    *,
    valid: Bool[Tensor, "n m"] | None = None,
    bins: int = 40,
    low: float = -1.0,
    high: float = 1.0,
) -> ScoreHistogram:
    """How the scores of positives and of negatives are distributed.

    Args:
        scores: Shape (N, M), for example cosines; values beyond the ends are counted in the
            outermost bins.
        positive: Shape (N, M), which pairs are positives; all others are negatives.
        valid: Shape (N, M), which pairs count; leave out an anchor with itself.
        bins: Number of equal bins, at least 1; a value on an inner edge is in the upper bin.
        low: Lower end.
        high: Upper end, above low.

    Returns:
        Edges and two rows of counts.

    Raises:
        ConventionError: bins is below 1, or high is not above low.

    Example:
        >>> scores = torch.tensor([[0.9, -0.9], [-0.1, 1.0]])
        >>> h = score_histogram(scores, torch.eye(2, dtype=torch.bool), bins=2)
        >>> h.positive.tolist(), h.negative.tolist(), h.overlap
        ([0, 2], [2, 0], 0.0)
    """
    check_count(bins, "bins", "The usual number is 40.")
    check_positive(high - low, "high", "It must be above low.")
    place = ((scores - low) * (bins / (high - low))).floor().long().clamp(0, bins - 1)
    if valid is None:
        valid = torch.ones_like(positive)
    counts = [place[valid & kind].bincount(minlength=bins) for kind in (positive, ~positive)]
    return ScoreHistogram(torch.linspace(low, high, bins + 1, device=scores.device), *counts)


@dataclass(frozen=True)
class HardnessProfile:
    """Where the push of a softmax loss goes.

    Args:
        mass: Shape (quantiles,), the mean over anchors of Σ |∂L/∂s| of the negatives in each
            quantile of similarity, the least similar first.
        pull: Mean over anchors of Σ |∂L/∂s| of the positives.
        anchors: Number of anchors that have a negative and a positive.
    """

    mass: Tensor
    pull: Tensor
    anchors: int

    @property
    def share(self) -> Tensor:
        """``mass`` divided by its sum."""
        return self.mass / self.mass.sum()


@torch.no_grad()
@in_full_precision
def hardness(
    scores: Float[Tensor, "n m"],
    positive: Bool[Tensor, "n m"],
    *,
    tau: float,
    valid: Bool[Tensor, "n m"] | None = None,
    quantiles: int = 10,
) -> HardnessProfile:
    """Gradient that InfoNCE puts on negatives, by how similar they are to the anchor.

    For a negative |∂L_i/∂s_ij| = p_ij / tau, for a positive |p_ij - 1/n⁺_i| / tau, with
    p_i = softmax_j(s_ij / tau) over all valid candidates and n⁺_i positives that are averaged
    outside the logarithm. Small tau: nearly all mass is in the last quantile.

    Args:
        scores: Shape (N, M), similarities before division by tau.
        positive: Shape (N, M), which pairs are positives.
        tau: Temperature, above 0.
        valid: Shape (N, M), which pairs take part; leave out an anchor with itself.
        quantiles: Q; the negative of rank r (from 0) among n is in quantile ⌊Q r / n⌋.

    Returns:
        Mass per quantile, and the pull.

    Raises:
        ConventionError: tau is not positive, quantiles is below 1, or no anchor has both a
            positive and a negative.

    Example:
        >>> scores = torch.tensor([[1.0, 0.0, 0.0]])
        >>> profile = hardness(scores, scores > 0.5, tau=1.0, quantiles=2)
        >>> torch.allclose(profile.mass.sum(), profile.pull)
        True

    Source: Wang & Liu 2021, gradients of the contrastive loss.
    """
    check_positive(tau, "tau", "Common values lie between 0.05 and 0.5.")
    check_count(quantiles, "quantiles", "The usual number is 10.")
    if valid is None:
        valid = torch.ones_like(positive)
    rows = (valid & positive).any(1) & (valid & ~positive).any(1)
    if not bool(rows.any()):
        raise ConventionError(
            expected="an anchor with a positive and a negative",
            got="none",
            argument="positive",
            advice="Check the masks.",
        )
    scores, pull, push = scores[rows], (valid & positive)[rows], (valid & ~positive)[rows]
    p = (scores / tau).masked_fill(~valid[rows], -torch.inf).softmax(1)
    # Negatives first, in ascending order; all others behind them.
    rank = scores.masked_fill(~push, torch.inf).argsort(dim=1).argsort(dim=1)
    quantile = (rank * quantiles // push.sum(1, keepdim=True)).clamp_max(quantiles - 1)
    mass = p.new_zeros(quantiles).index_add(0, quantile[push], p[push] / tau)
    drawn = (p - 1.0 / pull.sum(1, keepdim=True)).abs()[pull].sum() / tau
    return HardnessProfile(mass / len(scores), drawn / len(scores), len(scores))


@dataclass(frozen=True)
class Isotropy:
    """How evenly embeddings use the directions of their space.

    Args:
        partition: min_c F(c) / max_c F(c), F(c) = Σ_i exp⟨c, z_i⟩ over the eigenvectors ±c of
            ZᵀZ; 1 is isotropic, 0 is a cone.
        mean_cosine: Mean cosine of different rows; near 1 is a narrow cone.
        dimension: (Σλ)²/Σλ² of the eigenvalues of the covariance, from 1 to D; NaN if all
            rows are equal.
    """

    partition: Tensor
    mean_cosine: Tensor
    dimension: Tensor


@torch.no_grad()
@in_full_precision
def isotropy(z: Float[Tensor, "n d"]) -> Isotropy:
    """Three measures of isotropy of a batch of embeddings.

    Args:
        z: Shape (N, D), N >= 2. Rows are taken as they are, not normalized, except in the
            mean cosine.

    Returns:
        Partition ratio, mean cosine and effective dimension, scalars.

    Raises:
        ShapeError: Fewer than two rows.

    Example:
        >>> cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> float(isotropy(cross).dimension)
        2.0

    Source: Mu & Viswanath 2018 (partition); Ethayarajh 2019 (mean cosine).
    """
    check_rows(z, argument="z")
    n = len(z)
    directions = torch.linalg.eigh(z.T @ z).eigenvectors
    projections = z @ directions
    partition = torch.cat([projections, -projections], 1).logsumexp(0)
    rows = unit(z)
    cosine = (rows.sum(0).square().sum() - rows.square().sum()) / (n * (n - 1))
    centered = z - z.mean(0)
    gram = centered.T @ centered
    dimension = gram.trace().square() / gram.square().sum()
    return Isotropy((partition.min() - partition.max()).exp(), cosine, dimension)


@dataclass(frozen=True)
class ModalityGap:
    """How far apart two modalities lie on the unit sphere.

    Args:
        distance: |mean û - mean v̂|, from 0 to 2.
        direction: The difference of the means, shape (D,).
        separability: Share of held-out rows that a linear classifier assigns to their
            modality: 0.5 for no gap, 1 for two disjoint caps.
    """

    distance: Tensor
    direction: Tensor
    separability: Tensor


@torch.no_grad()
@in_full_precision
def modality_gap(
    u: Float[Tensor, "n d"], v: Float[Tensor, "m d"], *, ridge: float = 1e-3
) -> ModalityGap:
    """Distance of the centroids of two modalities, and whether a hyperplane parts them.

    The classifier is ridge regression of the label ±1 on the unit rows with a constant,
    solved in closed form on the rows with even index and tested on the others.

    Args:
        u: Shape (N, D), N >= 2; rows are normalized here.
        v: Shape (N, D), the other modality.
        ridge: Added to the diagonal of the mean outer product, above 0.

    Returns:
        Distance, direction and separability.

    Raises:
        ShapeError: Fewer than two rows, or u and v differ in shape.
        ConventionError: ridge is not positive.

    Example:
        >>> u = torch.tensor([[1.0, 0.1], [1.0, -0.1], [1.0, 0.2], [1.0, -0.2]])
        >>> gap = modality_gap(u, -u)
        >>> round(float(gap.distance), 2), float(gap.separability)
        (1.98, 1.0)

    Source: Liang et al. 2022 (distance); Fahim et al. 2024 (separability).
    """
    check_paired(u, v)
    check_rows(u)
    check_positive(ridge, "ridge", "The usual value is 1e-3.")
    left, right = unit(u), unit(v)
    difference = left.mean(0) - right.mean(0)
    fit = torch.cat([left[::2], right[::2]])
    test = torch.cat([left[1::2], right[1::2]])
    sign = torch.ones(2, device=u.device, dtype=fit.dtype)
    sign[1] = -1.0
    fit = torch.cat([fit, torch.ones_like(fit[:, :1])], 1)
    outer = fit.T @ fit / len(fit) + ridge * torch.eye(fit.shape[1]).to(fit)
    weights = torch.linalg.solve(outer, fit.T @ sign.repeat_interleave(len(fit) // 2) / len(fit))
    score = (test @ weights[:-1] + weights[-1]) * sign.repeat_interleave(len(test) // 2)
    right_side = (score > 0).to(score) + 0.5 * (score == 0).to(score)
    return ModalityGap(difference.norm(), difference, right_side.mean())
