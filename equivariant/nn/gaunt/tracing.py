"""Whether torch is recording operations rather than computing numbers."""

from __future__ import annotations

import torch


def makes_graph() -> bool:
    """Whether what is called becomes part of a graph that runs later, on other numbers.

    Returns:
        True inside ``torch.compile``, ``torch.export`` and ``torch.jit.trace``: branches may not
        depend on numbers, and sizes are those of one example.

    Example:
        >>> makes_graph()
        False
    """
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


def records_operations() -> bool:
    """Whether torch records what is called, so that only its own operators may be.

    Returns:
        True where :func:`makes_graph` is, and inside a dispatch mode (fake tensors, ``make_fx``,
        flop counters). A kernel that writes into memory by address would be missing from the
        record, and a constant that is made there and kept would belong to it.

    Example:
        >>> records_operations()
        False
    """
    return makes_graph() or torch._C._len_torch_dispatch_stack() > 0
