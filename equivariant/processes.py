"""Rows and sums of all processes, with the backward that makes gradients those of one process."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def collect(x: Tensor) -> Tensor:
    """Rows of all processes, in the order of ranks; differentiable.

    The backward sums the gradients of all processes and returns the own rows. A loss computed
    on collected rows, the same on every process, then has exactly the gradient of one process
    that held them all, when parameter gradients are averaged over processes (as data-parallel
    training does). Processes may hold different numbers of rows.

    Args:
        x: Shape (n_r, ...), all but the first axis equal on all processes.

    Returns:
        Shape (Σ n_r, ...). Without several processes, x itself.
    """
    if not across_processes():
        return x
    result: Tensor = _Collect.apply(x)  # type: ignore[no-untyped-call]
    return result


def once_if_equal(rows: Tensor) -> Tensor:
    """Collected rows, but those of one process where all hold the same ones.

    Args:
        rows: What :func:`collect` returned, the same on every process.
    """
    world = dist.get_world_size() if across_processes() else 1
    if world == 1 or len(rows) % world:
        return rows
    parts = rows.unflatten(0, (world, -1))
    return parts[0] if bool((parts == parts[:1]).all()) else rows


def total(x: Tensor) -> Tensor:
    """Sum over all processes, the same on each; differentiable.

    The backward sums the gradients of all processes, as that of :func:`collect` does: a loss
    computed from totals on every process has the gradient of one process, when parameter
    gradients are averaged.

    Args:
        x: Any shape, equal on all processes.
    """
    if not across_processes():
        return x
    result: Tensor = _Total.apply(x)  # type: ignore[no-untyped-call]
    return result


def across_processes() -> bool:
    """Whether there is more than one process to collect from."""
    return has_process_group() and dist.get_world_size() > 1


def has_process_group() -> bool:
    """Whether this process takes part in communication, if only with itself."""
    return dist.is_available() and dist.is_initialized()


def process_count() -> int:
    """How many processes there are; 1 without a process group."""
    return dist.get_world_size() if has_process_group() else 1


def rank() -> int:
    """The number of this process, from 0; 0 without a process group."""
    return dist.get_rank() if has_process_group() else 0


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
    if across_processes():
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
    if not across_processes():
        return own
    largest = own.clone()
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    total = (own - largest).exp()
    dist.all_reduce(total)
    return largest + total.log()


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        world, here = dist.get_world_size(), rank()
        count = torch.tensor([x.shape[0]], device=x.device)
        counts = [torch.zeros_like(count) for _ in range(world)]
        dist.all_gather(counts, count)
        sizes = [int(c) for c in counts]
        padded = x.new_zeros(max(sizes), *x.shape[1:])
        padded[: x.shape[0]] = x
        gathered = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(gathered, padded)
        ctx.start, ctx.stop = sum(sizes[:here]), sum(sizes[: here + 1])
        return torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.start : ctx.stop]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result = x.clone()
        dist.all_reduce(result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        result = grad.contiguous().clone()
        dist.all_reduce(result)
        return result
