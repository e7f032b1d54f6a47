"""How far a network on predicted parts can be from equivariant: the theorem, as code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.apen.partition import Partition
from equivariant.shapes import Bool, Float, Int, Scalar

PROBABILITIES_APART = math.sqrt(2.0)
"""The largest distance |p - q|₂ of two vectors of probabilities: M of a classifier."""


@dataclass(frozen=True)
class ErrorBound:
    """What is known of the equivariance error of a prediction before any part has moved.

    Let X be a cloud whose true parts are Z*, g one group element per part, Q(X) the probabilities
    of the component of each finer cell, Z ~ Q a draw of every row by itself, Ẑ its most
    probable value, ψ(X, Z) a network on the cells of Z, and φ(X) = ψ(X, Ẑ(X)) the prediction.

    **Lemma 1** (finer is enough). If ψ(·, Z) commutes with motions of the cells of Z and Z refines
    Z*, it commutes with motions of the parts. *Proof*: give all cells of a part its element.

    **Theorem 1**. Let Q(g·X) = Q(X), and |φ(g·X) - g·φ(X)| <= M whatever happens. With

        λ = Pr_{Z ~ Q}[Z does not refine Z*]
        δ = Pr_{Z ~ Q}[Z ≠ Ẑ] = 1 - Π_i max_j Q_ij

    the error is |φ(g·X) - g·φ(X)| <= (λ + δ) M, for each X, so also on average over scenes.
    *Proof*: if Ẑ refines Z*, the error is 0 by Lemma 1, as both sides use the same cells. If it
    does not, every draw Z is different from Ẑ or does not refine Z*: the two events cover all, so
    λ + δ >= 1. No Lipschitz constant enters.

    **Corollary 2** (layers). Where each partition is made of whole cells of the one before, all of
    them refine Z* as soon as the last does, so the last layer's λ + δ bounds the network of all
    layers; without that, Σ_l (λ_l + δ_l) does, by the union bound.

    **Corollary 3** (points). The output at a point depends on its last cell alone. If s is the
    share of points whose last cell does not lie within one part, or is another set of points, or
    is cut otherwise by an earlier partition, at g·X, then the mean over points of the error is at
    most s M. This needs no assumption on Q: where Q(g·X) ≠ Q(X) matters, s says so.

    **Proposition 4** (calibration). Where parts are not known, they are on calibration scenes.
    Let b_1, ..., b_n in [0, 1] be numbers of n scenes that are exchangeable with a new one with b.
    Then E[b] <= E[(1 + Σ b_i) / (n + 1)]; and b is at most the ⌈(n + 1) level⌉-th smallest b_i
    with probability at least ``level``, over scenes and calibration together (b = 1 where
    that number exceeds n). *Proof*: b is equally likely to be any of the n + 1. With b = 1 for
    s > 0 it bounds the probability of any error, with b = λ it bounds λ, with b = s the share, with
    b = 1 where the measured error exceeds a tolerance the probability of that, with b = error / M
    the error. It holds within groups of scenes that are made without looking at the b_i.

    Args:
        probability: Bound on the probability that the mean error exceeds ``tolerance``, shape
            (batch,), of Proposition 4 in the group of each input; with tolerance 0, b = 1 where
            s > 0. 1 where nothing was calibrated.
        refinement: λ of Proposition 4 with b = λ, of the group, shape (batch,); 1 likewise.
        delta: δ of the last layer for each input, shape (batch,).
        share: Bound on s that holds with probability ``level``, shape (batch,); 1 likewise.
        change: Bound on the mean over points of the error that holds with probability ``level``,
            of Proposition 4 with the measured errors, shape (batch,); M where nothing was
            calibrated. Usually far below ``share`` times M.
        tolerance: Error that ``probability`` allows.
        level: See Proposition 4.
        largest: M: √2 for vectors of probabilities.

    Example:
        >>> q = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
        >>> round(delta(q.double()).item(), 6)
        0.28

    Source: Atzmon et al. 2024, theorem 1 and equations 2 and 3, with δ as the probability that a
    draw is not the most probable one; Vovk et al. 2005, for Proposition 4.
    """

    probability: Float[Tensor, " batch"]
    refinement: Float[Tensor, " batch"]
    delta: Float[Tensor, " batch"]
    share: Float[Tensor, " batch"]
    change: Float[Tensor, " batch"]
    tolerance: float
    level: float
    largest: float

    @property
    def theorem(self) -> Float[Tensor, " batch"]:
        """(λ + δ) M of Theorem 1, at most M."""
        return (self.refinement + self.delta).clamp(max=1) * self.largest

    @property
    def mean_error(self) -> Float[Tensor, " batch"]:
        """Bound on the expected mean error: probability times M, and the tolerance else."""
        return self.probability * (self.largest - self.tolerance) + self.tolerance

    @property
    def error(self) -> Float[Tensor, " batch"]:
        """Share times M: a bound on the mean error that holds with probability ``level`` and
        rests on partitions alone, so it holds for every head on the same encoder."""
        return self.share * self.largest


def delta(probabilities: Float[Tensor, "... items components"]) -> Scalar:
    """δ(Q) = 1 - Π_i max_j Q_ij: the probability that a draw is not the most probable partition.

    Args:
        probabilities: Q, rows on the simplex, shape (..., items, components).

    Example:
        >>> delta(torch.eye(3)).item()
        0.0
    """
    certain = probabilities.amax(-1).log().sum(-1)
    return torch.expm1(certain).abs()


def refinement_failure(
    probabilities: Float[Tensor, "items components"],
    parts: Int[Tensor, " items"],
    *,
    draws: int = 1000,
    generator: torch.Generator | None = None,
) -> float:
    """λ(Q) by Monte Carlo: how often a drawn partition does not refine the true parts.

    The standard deviation is at most 1 / (2 √draws).

    Args:
        probabilities: Q, rows on the simplex, one row per point or finer cell.
        parts: True part of each item; -1 for a cell that has points of several, which no draw
            can repair.
        draws: At least 1.
        generator: Source of the draws; None takes a fresh one with seed 0.

    Returns:
        Share of the draws, in [0, 1].

    Raises:
        ShapeError: Not one part per row.
        ConventionError: Fewer than one draw.

    Example:
        >>> sure = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> refinement_failure(sure, torch.tensor([0, 0, 1]))
        0.0
        >>> refinement_failure(sure, torch.tensor([0, 1, 1]))
        1.0

    Source: Atzmon et al. 2024, equation 2.
    """
    if probabilities.ndim != 2 or parts.shape != probabilities.shape[:1]:
        raise ShapeError(
            expected="one part per row of Q",
            got=f"shapes {tuple(parts.shape)} and {tuple(probabilities.shape)}",
            argument="parts", advice="Rows of Q are points or cells.",
        )  # fmt: skip
    if draws < 1:
        raise ConventionError(
            expected="at least one draw", got=str(draws), argument="draws",
            advice="1,000 draws give a standard deviation below 0.016.",
        )  # fmt: skip
    if bool((parts < 0).any()):
        return 1.0
    source = generator or torch.Generator(probabilities.device).manual_seed(0)
    drawn = torch.multinomial(
        probabilities.detach(), draws, replacement=True, generator=source
    ).T.contiguous()
    fine = Partition(drawn).refines_each(Partition(parts.expand(draws, -1).contiguous()))
    return 1.0 - float(fine.double().mean())


def parts_of_cells(cells: Partition, parts: Partition) -> Int[Tensor, " cells"]:
    """The part that each cell lies in, -1 for a cell that has points of several.

    Args:
        cells: Cells.
        parts: True parts of the same points.
    """
    least, most = (cells.scatter(parts.labels, reduce=r) for r in ("min", "max"))
    return torch.where(least == most, least, -1)


def affected_points(
    before: Sequence[Partition], after: Sequence[Partition], parts: Partition
) -> Bool[Tensor, "batch points"]:
    """Where the output may change as parts move: s of Corollary 3 is the mean of this.

    A point is safe where its last cell lies within one part, is the same set of points before and
    after the motion, and earlier partitions cut that set alike.

    Args:
        before: Partitions of the cloud, fine to coarse, each refining the next.
        after: Those of the moved cloud.
        parts: True parts.

    Raises:
        ShapeError: Not as many partitions before as after, or none.

    Example:
        >>> one, two = (Partition(torch.tensor([row])) for row in ([0, 0, 0, 0], [0, 0, 1, 1]))
        >>> affected_points([two, one], [two, one], two).tolist()
        [[True, True, True, True]]
        >>> affected_points([two, two], [two, two], two).any().item()
        False
    """
    if len(before) != len(after) or not before:
        raise ShapeError(
            expected="as many partitions before as after, at least one",
            got=f"{len(before)} and {len(after)}", argument="after",
            advice="Take the partitions of one network at both states.",
        )  # fmt: skip
    safe = before[-1].whole_in(parts)
    for old, new in zip(before, after, strict=True):
        both = old.meet(new)
        size = both.gather(both.sizes)
        safe &= (size == old.gather(old.sizes)) & (size == new.gather(new.sizes))
    last = before[-1]
    return ~last.gather(last.scatter(safe.long(), reduce="min").bool())
