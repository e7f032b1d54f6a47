"""A classifier from class means and one covariance, without training, beside zero-shot logits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Float, Int

WEIGHTS = tuple(10.0**k for k in range(-4, 3))
"""Weights of the classifier beside zero-shot logits among which the paper chooses."""


class GaussianClassifier(nn.Module):
    """Bayes' rule for classes that are Gaussian with one covariance: linear, in closed form.

        ℓ_c(x) = xᵀ A μ_c - ½ μ_cᵀ A μ_c + log π_c

    With N rows of width D, class means μ_c, residuals about them and Σ = residualsᵀ residuals /
    (N - 1), the precision is

        A = D ((N - 1) Σ + tr(Σ) I)⁻¹       ridge=None, the published estimate
        A = ((1 - r) Σ + r tr(Σ)/D I)⁻¹     ridge=r in [0, 1]

    as a pseudoinverse, so that features without spread do no harm. The means are of the rows
    given; it is computed in float64 and kept in the features' precision.

    Args:
        features: Rows of known class, shape (N, D), floating point, N >= 2.
        labels: Their classes, shape (N,), integers from 0 to C - 1; every class at least once.
        ridge: r; None is the published estimate.
        prior: π_c, shape (C,), above 0; None is uniform, as published.

    Raises:
        ShapeError: The features are no matrix of two rows or more, or labels or prior do not fit.
        ConventionError: Labels are not integers from 0 on, a class has no row, or the ridge or
            the prior is out of range.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0]])
        >>> head = GaussianClassifier(x, torch.tensor([0, 0, 1, 1]))
        >>> head(torch.tensor([[0.5, 9.0], [3.0, -9.0]])).argmax(1).tolist()
        [0, 1]

    Source: Wang et al. 2024, "A hard-to-beat baseline for training-free CLIP-based adaptation";
    the precision is that of Kubokawa, Srivastava 2008.
    """

    means: Tensor
    precision: Tensor
    log_prior: Tensor

    def __init__(
        self,
        features: Float[Tensor, "n d"],
        labels: Int[Tensor, n],
        *,
        ridge: float | None = None,
        prior: Float[Tensor, c] | None = None,
    ) -> None:
        super().__init__()
        classes = _check(features, labels, ridge)
        x = features.detach().double()
        count = torch.bincount(labels, minlength=classes).to(x)
        means = torch.zeros(classes, x.shape[1], dtype=x.dtype, device=x.device)
        means = means.index_add(0, labels, x) / count[:, None]
        residual = x - means[labels]
        covariance = residual.T @ residual / (len(x) - 1)
        precision = _precision(covariance, len(x), ridge)
        self.register_buffer("means", means.to(features))
        self.register_buffer("precision", precision.to(features))
        self.register_buffer("log_prior", _log_prior(prior, classes, x).to(features))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Logits ℓ_c of each row, differentiable by the rows.

        Args:
            x: Shape (N, D).
        """
        directions = self.means @ self.precision
        offset = -0.5 * (directions * self.means).sum(1) + self.log_prior
        return x @ directions.T + offset


def ensembled(
    zero_shot: Float[Tensor, "n c"], classified: Float[Tensor, "n c"], weight: float
) -> Float[Tensor, "n c"]:
    """100 zero_shot + weight · classified: both opinions in one logit.

    Args:
        zero_shot: Cosines of each row with what stands for each class, shape (N, C).
        classified: Logits of :class:`GaussianClassifier`, shape (N, C).
        weight: At least 0.

    Raises:
        ShapeError: The shapes differ.

    Source: Wang et al. 2024.
    """
    if zero_shot.shape != classified.shape:
        raise ShapeError(
            expected=f"logits of the same rows and classes, shape {tuple(zero_shot.shape)}",
            got=f"shape {tuple(classified.shape)}", argument="classified",
            advice="Both have one column per class.",
        )  # fmt: skip
    return 100.0 * zero_shot + weight * classified


def choose_weight(
    zero_shot: Float[Tensor, "n c"],
    classified: Float[Tensor, "n c"],
    labels: Int[Tensor, n],
    weights: Sequence[float] = WEIGHTS,
) -> float:
    """The weight of :func:`ensembled` that is right most often on validation rows.

    Args:
        zero_shot: Shape (N, C).
        classified: Shape (N, C).
        labels: Classes of the validation rows, shape (N,).
        weights: What is tried; of equals the first is taken.

    Raises:
        ShapeError: The shapes differ.
        ConventionError: There is no weight to try.
    """
    if not weights:
        raise ConventionError(
            expected="at least one weight", got="none", argument="weights",
            advice="The published ones are 1e-4, 1e-3, ..., 1e2.",
        )  # fmt: skip
    right = [
        int((ensembled(zero_shot, classified, weight).argmax(1) == labels).sum())
        for weight in weights
    ]
    return weights[right.index(max(right))]


def _precision(covariance: Tensor, rows: int, ridge: float | None) -> Tensor:
    width, trace = len(covariance), covariance.trace()
    identity = torch.eye(width, dtype=covariance.dtype, device=covariance.device)
    if ridge is None:
        inverted = ((rows - 1) * covariance + trace * identity) / width
    else:
        inverted = (1.0 - ridge) * covariance + ridge * trace / width * identity
    precision: Tensor = torch.linalg.pinv(inverted, hermitian=True)
    return precision


def _log_prior(prior: Tensor | None, classes: int, like: Tensor) -> Tensor:
    if prior is None:
        return torch.full((classes,), -math.log(classes), dtype=like.dtype, device=like.device)
    if prior.shape != (classes,):
        raise ShapeError(
            expected=f"one probability per class, shape ({classes},)",
            got=f"shape {tuple(prior.shape)}", argument="prior",
            advice="Classes are numbered from 0 to the largest label.",
        )  # fmt: skip
    if not bool((prior > 0).all()) or not bool(prior.isfinite().all()):
        raise ConventionError(
            expected="probabilities above 0", got=f"smallest {float(prior.min())}",
            argument="prior", advice="A class of probability 0 needs no classifier.",
        )  # fmt: skip
    shares = prior.to(like)
    return (shares / shares.sum()).log()


def _check(features: Tensor, labels: Tensor, ridge: float | None) -> int:
    """Number of classes; refuses what is no training set."""
    if features.ndim != 2 or len(features) < 2 or labels.shape != features.shape[:1]:
        raise ShapeError(
            expected="features (N, D) of two rows or more, and one label per row",
            got=f"shapes {tuple(features.shape)} and {tuple(labels.shape)}", argument="features",
            advice="Flatten features into one axis.",
        )  # fmt: skip
    if labels.is_floating_point() or labels.is_complex() or int(labels.min()) < 0:
        raise ConventionError(
            expected="integers from 0 on", got=f"{labels.dtype}, smallest {labels.min().item()}",
            argument="labels", advice="Leave rows of unknown class out.",
        )  # fmt: skip
    classes = int(labels.max()) + 1
    empty = (torch.bincount(labels, minlength=classes) == 0).nonzero().flatten().tolist()
    if empty:
        raise ConventionError(
            expected=f"a row of every class from 0 to {classes - 1}",
            got=f"none of {', '.join(map(str, empty[:5]))}", argument="labels",
            advice="Number the classes that occur from 0.",
        )  # fmt: skip
    if ridge is not None and not 0.0 <= ridge <= 1.0:
        raise ConventionError(
            expected="a share in [0, 1], or None", got=str(ridge), argument="ridge",
            advice="None is the published estimate.",
        )  # fmt: skip
    return classes
