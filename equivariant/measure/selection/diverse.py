"""Greedy choice of what is likely and unlike what is there: contrastive search."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Float


def contrastive_choice(
    confidence: Float[Tensor, n],
    candidates: Float[Tensor, "n d"],
    context: Float[Tensor, "t d"],
    *,
    alpha: float = 0.6,
    top: int | None = None,
) -> int:
    """The candidate that is likely and least like anything in the context.

        v* = argmax_{v in top k} (1 - α) p(v) - α max_t cos(h_v, h_t)

    α = 0 is greedy choice, α = 1 looks at likeness alone; without a context likeness is 0. One
    call is one step of decoding: append the winner's embedding to the context.

    Args:
        confidence: p, shape (N,); probabilities of the next token, or scores on the scale of
            cosines.
        candidates: h_v, shape (N, D).
        context: h_t of what is there, shape (T, D), T >= 0.
        alpha: α, in [0, 1].
        top: k, at least 1: only the k most confident are considered; None is all.

    Returns:
        Number of the candidate; of equals the first.

    Raises:
        ShapeError: The shapes do not fit, or there is no candidate.
        ConventionError: α or k is out of range.

    Example:
        >>> h = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> contrastive_choice(torch.tensor([0.6, 0.4]), h, context=h[:1])
        1

    Source: Su et al. 2022, "Contrastive search is what you need for neural text generation",
    α 0.6, k 4 to 8.
    """
    _check(confidence, candidates, alpha, top)
    if context.ndim != 2 or context.shape[1] != candidates.shape[1]:
        raise ShapeError(
            expected=f"a context of shape (T, {candidates.shape[1]})",
            got=f"shape {tuple(context.shape)}", argument="context",
            advice="Without one, pass candidates[:0].",
        )  # fmt: skip
    with torch.no_grad():
        score = _scores(confidence, _likeness(candidates, context), alpha)
        return int(_only_top(score, confidence, top).argmax())


def select_diverse(
    confidence: Float[Tensor, n],
    candidates: Float[Tensor, "n d"],
    count: int,
    *,
    alpha: float = 0.6,
    context: Float[Tensor, "t d"] | None = None,
) -> Tensor:
    """A number of candidates, one after the other by :func:`contrastive_choice`, each once.

    Args:
        confidence: Shape (N,).
        candidates: Shape (N, D).
        count: How many, in [1, N].
        alpha: α, in [0, 1].
        context: What is there already, shape (T, D); None is nothing.

    Returns:
        Their numbers as chosen, shape (count,), int64.

    Raises:
        ShapeError: The shapes do not fit.
        ConventionError: α or the count is out of range.

    Example:
        >>> views = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> select_diverse(torch.tensor([0.9, 0.8, 0.5]), views, 2).tolist()
        [0, 2]
    """
    _check(confidence, candidates, alpha, None)
    if not 1 <= count <= len(candidates):
        raise ConventionError(
            expected=f"a count in [1, {len(candidates)}]", got=str(count), argument="count",
            advice="Choose no more than there are.",
        )  # fmt: skip
    chosen: list[int] = []
    with torch.no_grad():
        like = _likeness(candidates, candidates[:0] if context is None else context)
        for _ in range(count):
            score = _scores(confidence, like, alpha)
            score[chosen] = -math.inf
            chosen.append(int(score.argmax()))
            like = torch.maximum(like, _likeness(candidates, candidates[chosen[-1:]]))
    return torch.tensor(chosen, dtype=torch.int64)


def _scores(confidence: Tensor, like: Tensor, alpha: float) -> Tensor:
    known = torch.where(like > -math.inf, like, 0.0)
    return (1.0 - alpha) * confidence.double() - alpha * known


def _likeness(candidates: Tensor, context: Tensor) -> Tensor:
    """max_t cos(h_v, h_t), shape (N,); -inf without a context."""
    h, c = (torch.nn.functional.normalize(t.double(), dim=1) for t in (candidates, context))
    if len(c) == 0:
        return torch.full((len(h),), -math.inf, dtype=h.dtype, device=h.device)
    return (h @ c.T).amax(1)


def _only_top(score: Tensor, confidence: Tensor, top: int | None) -> Tensor:
    if top is None or top >= len(score):
        return score
    best = confidence.argsort(descending=True, stable=True)[:top]
    kept = torch.full_like(score, -math.inf)
    kept[best] = score[best]
    return kept


def _check(confidence: Tensor, candidates: Tensor, alpha: float, top: int | None) -> None:
    if candidates.ndim != 2 or len(candidates) == 0 or confidence.shape != candidates.shape[:1]:
        raise ShapeError(
            expected="candidates (N, D), at least one, and one confidence for each",
            got=f"shapes {tuple(candidates.shape)} and {tuple(confidence.shape)}",
            argument="candidates", advice="Row v belongs to number v.",
        )  # fmt: skip
    if not 0.0 <= alpha <= 1.0 or (top is not None and top < 1):
        raise ConventionError(
            expected="alpha in [0, 1], and top of at least 1", got=f"alpha={alpha}, top={top}",
            argument="alpha", advice="Published: alpha 0.6, top 4 to 8.",
        )  # fmt: skip
