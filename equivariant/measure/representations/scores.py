"""Scores of predictions, each with the level that a blind predictor reaches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.measure.representations.finite_numbers import check_finite
from equivariant.shapes import Float


@dataclass(frozen=True)
class RegressionScore:
    """How well targets are predicted.

    Args:
        r2_flat: 1 - Σ(T - P)² / Σ(T - m)² over all entries with *one* mean m of all of them, as
            3DIEBench's published numbers are computed. Not zero for a blind predictor.
        r2: 1 - Σ(T - P)² / Σ(T - m_c)² with the mean of each component: the variance-weighted
            score, zero for a blind predictor.
        r2_components: The same for each component alone.
        blind_r2_flat: ``r2_flat`` of the best constant prediction.
    """

    r2_flat: float
    r2: float
    r2_components: tuple[float, ...]
    blind_r2_flat: float


def regression_score(
    prediction: Float[Tensor, "n c"], target: Float[Tensor, "n c"]
) -> RegressionScore:
    """Coefficients of determination, computed in float64.

    Args:
        prediction: Shape (N, C).
        target: Shape (N, C), N >= 2, not all equal.

    Raises:
        ShapeError: The shapes differ or N < 2.
        ConventionError: A prediction or a target is not finite.

    Example:
        >>> target = torch.tensor([[1.0, 10.0], [3.0, 10.5]])
        >>> score = regression_score(target.mean(0).expand(2, 2), target)
        >>> round(score.r2, 6), round(score.r2_flat, 3)
        (0.0, 0.97)

    Source: Garrido et al. 2023, published code, for ``r2_flat``.
    """
    if prediction.shape != target.shape or target.shape[0] < 2:
        raise ShapeError(
            expected=f"predictions of the targets' shape {tuple(target.shape)}, two rows or more",
            got=f"shape {tuple(prediction.shape)}",
            argument="prediction",
            advice="One row per pair.",
        )
    check_finite(prediction, "prediction")
    check_finite(target, "target")
    p, t = prediction.double(), target.double()
    residual = (t - p).square()
    within = (t - t.mean(0)).square()
    flat = (t - t.mean()).square().sum()
    components = 1 - residual.sum(0) / within.sum(0).clamp(min=1e-300)
    return RegressionScore(
        r2_flat=float(1 - residual.sum() / flat),
        r2=float(1 - residual.sum() / within.sum()),
        r2_components=tuple(float(c) for c in components),
        blind_r2_flat=float(1 - within.sum() / flat),
    )


def quaternion_angle_deg(
    prediction: Float[Tensor, "n 4"], target: Float[Tensor, "n 4"]
) -> Float[Tensor, " n"]:
    """Angle between rotations in degrees, ``2 atan2(|p̂ - ŝt|, |p̂ + ŝt|) · 2``, s the nearer sign.

    Args:
        prediction: Quaternions of any length but zero, shape (N, 4); a zero one counts as the
            worst possible, 180 degrees.
        target: Unit quaternions of the same order of components, shape (N, 4).

    Returns:
        Shape (N,), in [0, 180], accurate near zero.

    Example:
        >>> quaternion_angle_deg(torch.eye(4)[:1], -torch.eye(4)[:1])
        tensor([0.], dtype=torch.float64)
    """
    p, t = prediction.double(), target.double()
    norm = torch.linalg.vector_norm(p, dim=-1, keepdim=True)
    p = p / norm.clamp(min=1e-300)
    sign = torch.where((p * t).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    difference = torch.linalg.vector_norm(p - sign * t, dim=-1)
    total = torch.linalg.vector_norm(p + sign * t, dim=-1)
    angle = 4.0 * torch.atan2(difference, total).rad2deg()
    return torch.where(norm.squeeze(-1) > 0, angle, 180.0)


@dataclass(frozen=True)
class ClassificationScore:
    """How well classes are predicted.

    Args:
        top1: Share of samples whose class is ranked first.
        top5: Share whose class is among the first five.
        per_class: Mean over classes of the share of each class that is ranked first.
        majority: ``top1`` of always answering the most frequent class.
    """

    top1: float
    top5: float
    per_class: float
    majority: float


def classification_score(logits: Float[Tensor, "n c"], label: Tensor) -> ClassificationScore:
    """Accuracies.

    Args:
        logits: Shape (N, C).
        label: Classes, shape (N,), int64 in [0, C).

    Raises:
        ConventionError: A logit is not finite.

    Example:
        >>> classification_score(torch.eye(3), torch.tensor([0, 1, 1])).top1
        0.6666666865348816
    """
    check_finite(logits, "logits")
    best = logits.topk(min(5, logits.shape[1]), 1).indices
    hit = best == label[:, None]
    counts = torch.bincount(label, minlength=logits.shape[1])
    per_class = torch.bincount(label[hit[:, 0]], minlength=logits.shape[1])[counts > 0]
    return ClassificationScore(
        top1=float(hit[:, 0].float().mean()),
        top5=float(hit.any(1).float().mean()),
        per_class=float((per_class / counts[counts > 0]).mean()),
        majority=float(counts.max() / label.shape[0]),
    )


@dataclass(frozen=True)
class Proportion:
    """A share of independent trials, with its interval.

    Args:
        value: right / total.
        low: Lower end of the interval, in [0, 1].
        high: Upper end.
        right: Number of successes.
        total: Number of trials.
        confidence: Level of the interval.
    """

    value: float
    low: float
    high: float
    right: int
    total: int
    confidence: float


def estimate_proportion(right: int, total: int, *, confidence: float = 0.95) -> Proportion:
    """A share of right answers with its exact binomial interval.

        P(X >= right | low) = P(X <= right | high) = (1 - confidence) / 2,   X binomial

    so that the interval holds the true share with at least this probability, whatever it is.
    Answers must be independent: pictures of one object moved twice are not.

    Args:
        right: Number of right answers, 0 to ``total``.
        total: Number of answers, at least 1.
        confidence: Level, in (0, 1).

    Raises:
        ConventionError: A number is out of its range.

    Example:
        >>> found = estimate_proportion(0, 10)
        >>> found.value, found.low, round(found.high, 4)  # 1 - 0.025 ** (1 / 10)
        (0.0, 0.0, 0.3085)

    Source: Clopper and Pearson 1934.
    """
    if not (0 <= right <= total and total >= 1 and 0 < confidence < 1):
        raise ConventionError(
            expected="0 <= right <= total, total of at least 1, confidence in (0, 1)",
            got=f"right={right}, total={total}, confidence={confidence}", argument="right",
            advice="Count right answers among all of them.",
        )  # fmt: skip
    ends = binomtest(right, total).proportion_ci(confidence, method="exact")
    return Proportion(right / total, float(ends.low), float(ends.high), right, total, confidence)
