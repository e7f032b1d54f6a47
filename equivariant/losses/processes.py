"""Sums over the rows of all processes, without gradient."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def several_processes() -> bool:
    """Whether a process group of more than one process is initialized."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@torch.no_grad()
def mean_over_rows(rows: Tensor) -> Tensor:
    """Mean over the first axis of the rows of all processes, which may hold different numbers.

    Args:
        rows: Shape (n_r, ...). Without any row at all the mean is 0.

    Returns:
        Shape (...), the same on every process.

    Example:
        >>> mean_over_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([2., 3.])
    """
    total, count = rows.sum(0), rows.new_tensor([rows.shape[0]])
    if several_processes():
        dist.all_reduce(total)
        dist.all_reduce(count)
    return total / count.clamp_min(1.0).squeeze(0)


@torch.no_grad()
def log_sum_over_rows(logits: Tensor) -> Tensor:
    """log Σ_i exp(logits_ik) over the rows of all processes.

    Args:
        logits: Shape (n_r, K).

    Returns:
        Shape (1, K), the same on every process.

    Example:
        >>> log_sum_over_rows(torch.zeros(4, 1)).exp()
        tensor([[4.]])
    """
    own = logits.logsumexp(0, keepdim=True)
    if not several_processes():
        return own
    largest = own.clone()
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    total = (own - largest).exp()
    dist.all_reduce(total)
    return largest + total.log()
