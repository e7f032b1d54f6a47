"""Arithmetic in float32 or wider, whatever the network computes in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def in_full_precision(f: Callable[P, R]) -> Callable[P, R]:
    """Let f see float32 where it is given float16 or bfloat16, with autocast off.

    float32 and float64 stay what they are; integers and booleans are not touched. Gradients
    come back in the dtype of the input.

    Args:
        f: A function of which at least one argument is a tensor.

    Example:
        >>> in_full_precision(torch.square)(torch.tensor(300.0, dtype=torch.float16))
        tensor(90000.)
    """

    @wraps(f)
    def wide(*args: P.args, **kwargs: P.kwargs) -> R:
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        with torch.autocast(tensors[0].device.type, enabled=False):
            return f(*map(_widen, args), **{name: _widen(x) for name, x in kwargs.items()})

    return wide


def _widen(x: Any) -> Any:
    if isinstance(x, Tensor) and x.is_floating_point():
        return x.to(torch.promote_types(x.dtype, torch.float32))
    return x
