"""Fixed vectors for classes: many directions, no two of them close."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.losses.checks import check_count, check_positive
from equivariant.shapes import Float

MOMENTUM = 0.9


class EquiangularBasis(NamedTuple):
    """Unit vectors with bounded cosines.

    Args:
        vectors: Shape (C, D), unit rows; a buffer of the head, not a parameter.
        coherence: The largest |cosine| of two different rows that was reached.
    """

    vectors: Tensor
    coherence: float


def welch_bound(count: int, dim: int) -> float:
    """The least possible largest |cosine| of ``count`` vectors in ``dim`` dimensions.

        B = √((C - D) / (D (C - 1))) for C > D, else 0

    Args:
        count: C, at least 1.
        dim: D, at least 1.

    Returns:
        B, which not every pair of C and D attains.

    Raises:
        ConventionError: An argument is below 1.

    Example:
        >>> welch_bound(4, 3) == 1 / 3, welch_bound(3, 3)
        (True, 0.0)

    Source: Welch 1974.
    """
    check_count(count, "count", "Pass the number of classes.")
    check_count(dim, "dim", "Pass the dimension of the embeddings.")
    return math.sqrt((count - dim) / (dim * (count - 1))) if count > dim else 0.0


@torch.no_grad()
def equiangular_basis(
    count: int,
    dim: int,
    *,
    threshold: float = 0.002,
    steps: int = 1000,
    rate: float = 0.05,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> EquiangularBasis:
    """Unit vectors whose cosines are all within ±threshold: frozen targets of classes.

        minimize Σ_{a<b} relu(|⟨w_a, w_b⟩| - t)   over unit rows w

    For dim >= count the rows are orthonormal, a random frame, and nothing is minimized. Else
    descent with momentum on the sphere, its step falling to 0 along a cosine, stops as soon as
    the threshold is met; t lies a tenth of the way from the threshold to Welch's bound, so
    that it is met and not only approached. In float64; a step costs C² D.

    Args:
        count: C, the number of classes.
        dim: D, the dimension of the embeddings.
        threshold: Largest |cosine| that is allowed, in [0, 1].
        steps: Most steps of descent, at least 1.
        rate: First step size, above 0.
        generator: Source of the start; None takes torch's own. On the CPU.
        dtype: Of the result.

    Returns:
        The vectors, shape (C, D), and the coherence reached.

    Raises:
        ConventionError: The threshold is below Welch's bound, so no such vectors exist; or it was
            not met within the steps; or an argument is out of range.

    Example:
        >>> basis = equiangular_basis(4, 3, threshold=0.34, generator=torch.Generator())
        >>> basis.vectors.shape, 1 / 3 <= basis.coherence <= 0.34
        (torch.Size([4, 3]), True)

    Source: Shen et al. 2023 (equiangular basis vectors).
    """
    bound = welch_bound(count, dim)
    check_count(steps, "steps", "The usual number is 1000.")
    check_positive(rate, "rate", "The usual value is 0.05.")
    if not bound <= threshold <= 1:
        raise ConventionError(
            expected=f"a threshold from Welch's bound {bound:.6g} for {count} vectors in {dim} "
            "dimensions to 1",
            got=str(threshold),
            argument="threshold",
            advice="Raise the threshold or the dimension.",
        )
    start = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    if dim >= count:
        vectors = torch.linalg.qr(start.T).Q.T
        return EquiangularBasis(vectors.to(dtype), _coherence(vectors))
    vectors, reached = _descend(_unit(start), threshold, bound, steps, rate)
    if reached > threshold:
        raise ConventionError(
            expected=f"the threshold {threshold:g} met within {steps} steps",
            got=f"a largest |cosine| of {reached:.6g}",
            argument="steps",
            advice=f"Allow more steps or a higher threshold; Welch's bound is {bound:.6g}.",
        )
    return EquiangularBasis(vectors.to(dtype), reached)


def _descend(
    vectors: Tensor, threshold: float, bound: float, steps: int, rate: float
) -> tuple[Tensor, float]:
    """The first vectors within the threshold, or else the last ones; and their coherence."""
    aim = threshold - 0.1 * (threshold - bound)
    velocity = torch.zeros_like(vectors)
    for step in range(steps):
        gram = (vectors @ vectors.T).fill_diagonal_(0.0)
        if float(gram.abs().max()) <= threshold:
            break
        gradient = torch.where(gram.abs() > aim, gram.sign(), 0.0) @ vectors
        gradient -= (gradient * vectors).sum(1, keepdim=True) * vectors
        velocity = MOMENTUM * velocity + gradient
        size = 0.5 * rate * (1.0 + math.cos(math.pi * step / steps))
        vectors = _unit(vectors - size * velocity)
    return vectors, _coherence(vectors)


def _coherence(vectors: Float[Tensor, "c d"]) -> float:
    return float((vectors @ vectors.T).fill_diagonal_(0.0).abs().max())


def _unit(vectors: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths
