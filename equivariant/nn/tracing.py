"""Whether torch is recording operations rather than computing numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode_stack


def makes_graph() -> bool:
    """Whether what is called becomes part of a graph that runs later, on other numbers.

    Returns:
        True inside ``torch.compile``, ``torch.export``, ``torch.jit.trace`` and ``make_fx``:
        branches may not depend on numbers, and sizes are those of one example.

    Example:
        >>> makes_graph()
        False
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return True
    return torch._C._len_torch_dispatch_stack() > 0 and any(
        isinstance(mode, ProxyTorchDispatchMode) for mode in _get_current_dispatch_mode_stack()
    )


def records_operations() -> bool:
    """Whether torch records what is called, so that only its own operators may be.

    Returns:
        True where :func:`makes_graph` is, and inside a dispatch mode (fake tensors, flop
        counters). A kernel that writes into memory by address would be missing from the
        record, and a constant that is made there and kept would belong to it.

    Example:
        >>> records_operations()
        False
    """
    return makes_graph() or torch._C._len_torch_dispatch_stack() > 0


@contextmanager
def real_tables() -> Iterator[None]:
    """A context in which new tensors have numbers and lie on the CPU.

    Layers compute their tables from their arguments. That has to work where the default device is
    "meta" or tensors are fake as well, since no checkpoint brings the tables.

    Example:
        >>> with torch.device("meta"), real_tables():
        ...     torch.ones(2).sum().item()
        2.0
    """
    with _disable_current_modes(), torch.device("cpu"):
        yield


def as_seen(table: Tensor) -> Tensor:
    """A table as the operations called now may use it, with its numbers where they can.

    Args:
        table: With numbers, on the CPU.

    Returns:
        Its fake counterpart inside of ``FakeTensorMode``, which refuses other tensors; elsewhere
        the table.
    """
    if not makes_graph():  # a graph keeps a table with its numbers
        for mode in _get_current_dispatch_mode_stack():
            if isinstance(mode, FakeTensorMode):
                return mode.from_tensor(table, static_shapes=True)
    return table
