"""Gathering embeddings from all processes, with the backward that makes gradients right."""

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
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        world, rank = dist.get_world_size(), dist.get_rank()
        count = torch.tensor([x.shape[0]], device=x.device)
        counts = [torch.zeros_like(count) for _ in range(world)]
        dist.all_gather(counts, count)
        sizes = [int(c) for c in counts]
        padded = x.new_zeros(max(sizes), *x.shape[1:])
        padded[: x.shape[0]] = x
        gathered = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(gathered, padded)
        ctx.start, ctx.stop = sum(sizes[:rank]), sum(sizes[: rank + 1])
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
