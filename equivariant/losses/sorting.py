"""Sorting with a gradient, and a loss on the order of positives and negatives."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.checks import check_count, check_positive
from equivariant.losses.contrast.similarity import unit
from equivariant.losses.wide_arithmetic import in_full_precision
from equivariant.shapes import Bool, Float

SOFTENING = 1e-10
"""ε in x / (|x|^λ + ε)."""


class Sorted(NamedTuple):
    """The result of a soft sort.

    Args:
        values: Shape (N, n), Q x: softly ascending.
        permutation: Q, shape (N, n, n), doubly stochastic; Q[i, r, j] is the probability that
            element j has rank r.
    """

    values: Tensor
    permutation: Tensor


@in_full_precision
def soft_sort(
    x: Float[Tensor, "n m"], *, steepness: float = 1.0, art_lambda: float = 0.0
) -> Sorted:
    """Sort rows in ascending order by an odd-even network of soft comparators.

    n layers compare neighbours, alternately (1,2), (3,4), … and (2,3), (4,5), …. A comparator
    keeps its pair (a, b) with the probability f of its being in order, and swaps it otherwise:

        (a, b) ← (f a + (1-f) b, (1-f) a + f b),   f as in :func:`in_order` of b - a

    f(x) + f(-x) = 1, so the result is a doubly stochastic mixture of the row.

    Args:
        x: Shape (N, n), each row a list. Half precision is computed in float32.
        steepness: β, above 0; large values sort hard.
        art_lambda: λ of :func:`in_order`, in [0, 1).

    Returns:
        ``values`` of shape (N, n) and ``permutation`` of shape (N, n, n).

    Raises:
        ConventionError: The steepness is not positive, or λ is outside [0, 1).

    Example:
        >>> values, q = soft_sort(torch.tensor([[3.0, 1.0, 2.0]]), steepness=1e6)
        >>> values.round(decimals=3), q.argmax(2)
        (tensor([[1., 2., 3.]]), tensor([[1, 2, 0]]))

    Source: Petersen et al. 2021 and 2022, differentiable odd-even sorting networks.
    """
    check_positive(steepness, "steepness", "The usual value is 1.")
    _check_lambda(art_lambda)
    length = x.shape[1]
    q = torch.eye(length, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
    for layer in range(length):
        first, stop = layer % 2, length - (length - layer % 2) % 2
        low, high = slice(first, stop, 2), slice(first + 1, stop, 2)
        keep = in_order(x[:, high] - x[:, low], steepness=steepness, art_lambda=art_lambda)
        x = _exchange(x[..., None], keep, first, stop).squeeze(2)
        q = _exchange(q, keep, first, stop)
    return Sorted(x, q)


def in_order(
    difference: Float[Tensor, ...], *, steepness: float = 1.0, art_lambda: float = 0.0
) -> Float[Tensor, ...]:
    """Probability f that two values with this difference, second minus first, are in order.

        f(x) = ½ + atan(β x / (|x|^λ + ε)) / π,   ε = 1e-10

    λ = 0 is the Cauchy distribution, ½ + atan(β x) / π. λ > 0 (the activation replacement trick)
    makes small differences steeper; at a tie, where the slope would be 1/ε, the gradient is 0.

    Args:
        difference: Any shape.
        steepness: β, above 0.
        art_lambda: λ, in [0, 1).

    Returns:
        The shape of difference, in (0, 1); ½ at 0.

    Example:
        >>> in_order(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0.2500, 0.5000, 0.7500])

    Source: Petersen et al. 2022, tables 1 and 2 (Cauchy), and 2021 (activation replacement).
    """
    if art_lambda == 0:
        return 0.5 + torch.atan(steepness * difference) / math.pi
    tie = difference == 0
    safe = torch.where(tie, 1.0, difference)
    shaped = torch.where(tie, 0.0, safe / (safe.abs() ** art_lambda + SOFTENING))
    return 0.5 + torch.atan(steepness * shaped) / math.pi


@in_full_precision
def group_ordering(
    q: Float[Tensor, "n d"],
    positives: Float[Tensor, "n p d"],
    negatives: Float[Tensor, "*n m d"],
    *,
    count: int = 10,
    steepness: float = 1.0,
    art_lambda: float = 0.0,
    valid: Bool[Tensor, "n m"] | None = None,
) -> Float[Tensor, " n"]:
    """Ask that an anchor's positives, as a group, rank above its hardest negatives.

    Of each anchor the list x = [the ``count`` most similar negatives, ascending; positives,
    ascending] of cosines is softly sorted. With the mass m_j = Σ_r Q_rj that element j has on
    the upper ranks (as many as there are positives) and y_j = 1 for a positive, else 0:

        L = ½ [ BCE(m, y) + BCE(1 - m, 1 - y) ],   BCE the mean over the list

    Only the anchor moves: positives and negatives have no gradient. With one positive and
    one negative L = -log f(s⁺ - s⁻), f as in :func:`in_order`. In longer lists a steep network
    is not monotone: elements of one group also trade ranks, so a better positive can cost more.

    Args:
        q: Shape (N, D), anchors. Rows are normalized here, here and below.
        positives: Shape (N, P, D), P >= 1.
        negatives: Shape (N, M, D), or (M, D) shared by all anchors; M >= 1.
        count: Negatives that are kept, at least 1; all of them if there are fewer.
        steepness: As for :func:`soft_sort`.
        art_lambda: Likewise; the authors' comparator is the Cauchy one, λ = 0.
        valid: Shape (N, M), which negatives an anchor has; with negatives = q leave out the
            diagonal. Lists have equal lengths, so the anchor with the fewest may lower count.

    Returns:
        Per anchor, shape (N,).

    Raises:
        ShapeError: No positives or no negatives.
        ConventionError: count is below 1, the steepness is not positive, or an anchor has no
            valid negative.

    Example:
        >>> q = torch.tensor([[1.0, 0.0]])
        >>> loss = group_ordering(q, q[:, None], torch.tensor([[0.0, 1.0]]))
        >>> round(float(loss), 6) == round(-math.log(0.75), 6)
        True

    Source: Shvetsova et al. 2023 (GroCo).
    """
    check_count(count, "count", "The usual value is 10.")
    for argument, side in (("positives", positives), ("negatives", negatives)):
        if side.shape[-2] < 1:
            raise ShapeError(
                expected="at least one per anchor",
                got=f"shape {tuple(side.shape)}",
                argument=argument,
                advice="Drop anchors without one.",
            )
    near, far = _cosines(q, positives.detach()), _cosines(q, negatives.detach())
    if valid is not None:
        far = far.masked_fill(~valid, -torch.inf)
        count = min(count, _fewest(valid))
    hardest = far.topk(min(count, far.shape[1]), dim=1).values.flip(1)
    listed = torch.cat([hardest, near.sort(1).values], 1)
    _, permutation = soft_sort(listed, steepness=steepness, art_lambda=art_lambda)
    split = hardest.shape[1]
    upper = permutation[:, split:].sum(1).clamp(0.0, 1.0)
    lower = permutation[:, :split].sum(1).clamp(0.0, 1.0)
    positive = torch.zeros_like(upper)
    positive[:, split:] = 1.0
    losses = functional.binary_cross_entropy(upper, positive, reduction="none")
    losses = losses + functional.binary_cross_entropy(lower, 1.0 - positive, reduction="none")
    return losses.mean(1) / 2.0


def _exchange(rows: Tensor, keep: Tensor, first: int, stop: int) -> Tensor:
    """Mix neighbouring rows (N, n, c) from first to stop by the probabilities of the layer."""
    upper, lower = rows[:, first:stop:2], rows[:, first + 1 : stop : 2]
    f = keep[..., None]
    mixed = torch.stack([f * upper + (1.0 - f) * lower, (1.0 - f) * upper + f * lower], 2)
    return torch.cat([rows[:, :first], mixed.flatten(1, 2), rows[:, stop:]], 1)


def _check_lambda(art_lambda: float) -> None:
    if not 0 <= art_lambda < 1:
        raise ConventionError(
            expected="a number in [0, 1)", got=str(art_lambda), argument="art_lambda",
            advice="0 is the Cauchy comparator; 0.25 is usual where it is replaced.",
        )  # fmt: skip


def _fewest(valid: Tensor) -> int:
    fewest = int(valid.sum(1).min()) if len(valid) else valid.shape[1]
    if fewest < 1:
        raise ConventionError(
            expected="at least one negative for every anchor",
            got="an anchor with none",
            argument="valid",
            advice="Drop anchors without one.",
        )
    return fewest


def _cosines(q: Tensor, others: Tensor) -> Tensor:
    shape = others.shape
    anchors, rows = unit(q), unit(others.reshape(-1, shape[-1]))
    if others.ndim == 2:
        return anchors @ rows.T
    return torch.einsum("nd,npd->np", anchors, rows.reshape(shape))
