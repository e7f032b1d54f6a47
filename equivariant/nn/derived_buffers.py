"""Buffers that follow from a module's settings, and survive every way to move the module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.nn.tracing import as_seen


class DerivedBuffers(nn.Module):
    """A module with tables that are in no checkpoint, because its arguments determine them.

    ``to_empty``, the way to load a module that was built on the meta device, leaves every buffer
    unwritten and counts on a checkpoint to fill it. Tables that no checkpoint holds would stay
    unwritten memory; this class writes them again whenever the module is moved.

    Example:
        >>> class Doubled(DerivedBuffers):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.derive("factor", torch.tensor(2.0))
        >>> Doubled().to_empty(device="cpu").factor
        tensor(2.)
    """

    def __init__(self) -> None:
        super().__init__()
        self._derived: dict[str, Tensor] = {}

    def derive(
        self, name: str, table: Tensor | None, device: torch.device | str | None = None
    ) -> None:
        """Register a table.

        Args:
            name: Of the attribute.
            table: On the CPU, whatever the default device; None for one that is not needed.
            device: Of the buffer; None leaves it on the CPU.
        """
        placed = table if table is None else as_seen(table)
        if placed is not None and device is not None:
            placed = placed.to(device)
        self.register_buffer(name, placed, persistent=False)
        if table is not None:
            self._derived[name] = table

    def table(self, name: str) -> Tensor:
        """A table with its numbers, on the CPU, wherever the buffer is.

        Args:
            name: As in :meth:`derive`.
        """
        return self._derived[name]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> DerivedBuffers:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for name, table in self._derived.items():
                buffer = getattr(self, name)
                if not buffer.is_meta:
                    buffer.copy_(as_seen(table))
        return self
