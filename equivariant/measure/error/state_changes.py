"""State that a map changes while it is measured, noticed and put back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def kept_state(f: Callable[..., Any]) -> Iterator[list[str]]:
    """Put the buffers of a map's modules back when the block ends.

    Batch normalization in training mode averages statistics over everything that it sees, moved
    copies too: measuring must not change a model.

    Args:
        f: A module, or a function; modules behind a function are found in its closure, its
            defaults, its names and its arguments bound by ``functools.partial``.

    Returns:
        A list that holds the names of the buffers that changed once the block has ended.

    Example:
        >>> norm = nn.BatchNorm1d(3)
        >>> with kept_state(norm) as changed:
        ...     _ = norm(torch.randn(8, 3))
        >>> changed, bool((norm.running_mean == 0).all())
        (['running_mean', 'running_var', 'num_batches_tracked'], True)
    """
    before = [
        (name, buffer, buffer.detach().clone())
        for module in modules_behind(f)
        for name, buffer in module.named_buffers()
    ]
    changed: list[str] = []
    try:
        yield changed
    finally:
        with torch.no_grad():
            for name, buffer, value in before:
                if not _same(buffer, value):
                    changed.append(name)
                    buffer.copy_(value)


def modules_behind(f: Callable[..., Any]) -> list[nn.Module]:
    """The modules that a map is, or holds where they can be seen."""
    if isinstance(f, nn.Module):
        return [f]
    held: list[Any] = []
    if isinstance(f, functools.partial):
        return [m for value in (f.func, *f.args, *f.keywords.values()) for m in _modules(value)]
    if isinstance(f, MethodType):
        held.append(f.__self__)
    inner = getattr(f, "__func__", f)
    if isinstance(inner, FunctionType):
        held += [cell.cell_contents for cell in inner.__closure__ or () if _filled(cell)]
        held += list(inner.__defaults__ or ()) + list((inner.__kwdefaults__ or {}).values())
        held += [inner.__globals__.get(name) for name in inner.__code__.co_names]
    elif not isinstance(f, MethodType):
        held += list(getattr(f, "__dict__", {}).values())
    found = {id(m): m for value in held for m in _modules(value)}
    return list(found.values())


def _modules(value: Any) -> list[nn.Module]:
    return [value] if isinstance(value, nn.Module) else []


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is assigned later
        return False


def _same(a: Tensor, b: Tensor) -> bool:
    if a.is_floating_point():
        return bool(((a == b) | (a.isnan() & b.isnan())).all())
    return bool((a == b).all())
