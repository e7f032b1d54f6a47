"""Gauges of collapse: how many directions a set of vectors really uses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.measure.representations.finite_numbers import check_finite
from equivariant.shapes import Float


@dataclass(frozen=True)
class Collapse:
    """How spread out vectors are.

    Args:
        effective_rank: exp of the entropy of the normalized covariance spectrum, in [1, D]; 0
            where all vectors are equal.
        deviation: Mean over columns of the standard deviation.
        dead: Share of columns whose standard deviation is below 1e-4 of the largest.
    """

    effective_rank: float
    deviation: float
    dead: float


def collapse(z: Float[Tensor, "n d"]) -> Collapse:
    """Measure the spread of a set of vectors, in float64.

    Args:
        z: Shape (N, D), N >= 2.

    Raises:
        ShapeError: Fewer than two rows.
        ConventionError: An entry is not finite.

    Example:
        >>> collapse(torch.cat([torch.eye(3), -torch.eye(3)])).effective_rank
        3.0
        >>> collapse(torch.ones(5, 3)).effective_rank
        0.0

    Source: Roy and Vetterli 2007 for the effective rank.
    """
    if z.ndim != 2 or z.shape[0] < 2:
        raise ShapeError(
            expected="at least two vectors, shape (N, D)",
            got=f"shape {tuple(z.shape)}",
            argument="z",
            advice="Flatten batch axes into one.",
        )
    check_finite(z, "z")
    centered = z.double() - z.double().mean(0)
    deviation = centered.square().mean(0).sqrt()
    spectrum = torch.linalg.svdvals(centered).square()
    total = float(spectrum.sum())
    if total <= 1e-24 * float(z.double().square().sum()):
        return Collapse(effective_rank=0.0, deviation=float(deviation.mean()), dead=1.0)
    entropy = torch.special.entr(spectrum / total).sum()
    return Collapse(
        effective_rank=round(float(entropy.exp()), 12),
        deviation=float(deviation.mean()),
        dead=float((deviation < 1e-4 * deviation.max()).double().mean()),
    )
