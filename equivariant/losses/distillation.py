"""What a student is asked to take over from a teacher, row by row, and how much each row counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.losses.checks import check_count, check_positive
from equivariant.losses.contrast.similarity import unit
from equivariant.losses.wide_arithmetic import in_full_precision
from equivariant.shapes import Float


def embedding_distance(student: Tensor, teacher: Tensor) -> Float[Tensor, n]:
    """|unit(s_i) - unit(t_i)|² of each row, in [0, 4].

    Args:
        student: Shape (N, D), with gradient.
        teacher: Shape (N, D), without.

    Raises:
        ShapeError: The shapes differ.
    """
    if student.shape != teacher.shape:
        raise ShapeError(
            expected=f"the student's shape, {tuple(student.shape)}",
            got=f"shape {tuple(teacher.shape)}", argument="teacher",
            advice="Project the student to the teacher's width, or compare similarities.",
        )  # fmt: skip
    return (unit(student) - unit(teacher.detach())).square().sum(1)


@in_full_precision
def similarity_divergence(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n e"],
    *,
    tau: float = 0.1,
    tau_teacher: float | None = None,
    hardest: int | None = None,
) -> Float[Tensor, n]:
    """How far the student's similarities to the other rows are from the teacher's.

        D_i = KL(p_i | q_i) = Σ_{j in H_i} p_ij (log p_ij - log q_ij)
        p_ij ∝ exp(cos(t_i, t_j)/τ_t),   q_ij ∝ exp(cos(s_i, s_j)/τ),   j in H_i

    H_i are the k other rows that the teacher finds most similar to row i, or all others. The
    widths of both may differ.

    Args:
        student: s, shape (N, D), with gradient.
        teacher: t, shape (N, E), without.
        tau: τ > 0.
        tau_teacher: τ_t > 0; None is τ.
        hardest: k, at least 1; None is all.

    Returns:
        D, shape (N,), at least 0; 0 of a row alone.

    Raises:
        ShapeError: The numbers of rows differ.
        ConventionError: A temperature or k is out of range.

    Example:
        >>> t = torch.randn(5, 8)
        >>> bool((similarity_divergence(2 * t, t) < 1e-6).all())
        True

    Source: our definition; distillation over the teacher's hard negatives after DCD (2023).
    """
    check_positive(tau, "tau", "The usual value is 0.1.")
    check_positive(tau if tau_teacher is None else tau_teacher, "tau_teacher", "As tau.")
    if hardest is not None:
        check_count(hardest, "hardest", "None takes all other rows.")
    if len(student) != len(teacher):
        raise ShapeError(
            expected=f"one row for each of the student's {len(student)}",
            got=f"shape {tuple(teacher.shape)}", argument="teacher",
            advice="Row i of both shows object i.",
        )  # fmt: skip
    if len(student) < 2:
        return 0.0 * student.sum(1)
    with torch.no_grad():
        asked = _others(teacher) / (tau if tau_teacher is None else tau_teacher)
        if hardest is not None and hardest < asked.shape[1]:
            least = asked.topk(hardest, 1).values[:, -1:]
            asked = torch.where(asked >= least, asked, -math.inf)
        log_p = asked.log_softmax(1)
        chosen = asked > -math.inf
    log_q = torch.where(chosen, _others(student) / tau, -math.inf).log_softmax(1)
    difference = torch.where(chosen, log_p, 0.0) - torch.where(chosen, log_q, 0.0)
    return (log_p.exp() * difference).sum(1).clamp(min=0.0)


@in_full_precision
@torch.no_grad()
def difficulty(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"],
    *,
    tau: float = 0.1,
    power: float = 1.0,
) -> Float[Tensor, n]:
    """Weights that follow what the student cannot do yet, of mean 1 and without gradient.

        w_i ∝ (1 - p_i)^a,   p_i = exp(cos(s_i, t_i)/τ) / Σ_j exp(cos(s_i, t_j)/τ)

    p_i is the student's probability of finding its own object among the teacher's embeddings.

    Args:
        student: s, shape (N, D).
        teacher: t, shape (N, D).
        tau: τ > 0.
        power: a, at least 0; 0 weighs all alike.

    Returns:
        w, shape (N,); all 1 where every row is found with certainty.

    Raises:
        ConventionError: τ is out of range, or a negative or infinite.

    Source: our definition, after DCD (2023).
    """
    check_positive(tau, "tau", "The usual value is 0.1.")
    if power != 0:
        check_positive(power, "power", "1 is proportional, 0 weighs all alike.")
    logits = unit(student) @ unit(teacher).T / tau
    missing = -torch.expm1(logits.diagonal() - logits.logsumexp(1))
    weight = missing.clamp(min=0.0) ** power
    mean = weight.mean() if len(weight) else weight.sum()
    return torch.where(mean > 0, weight / torch.where(mean > 0, mean, 1.0), torch.ones_like(weight))


def _others(z: Tensor) -> Tensor:
    """Cosines of each row with all other rows, shape (N, N - 1)."""
    s = unit(z) @ unit(z).T
    other = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    return s[other].view(len(z), len(z) - 1)
