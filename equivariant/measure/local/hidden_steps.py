"""Steps of a map that differentiation cannot see through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_STEPS: dict[Any, str] = {
    Tensor.detach: "detach",
    Tensor.detach_: "detach",
    torch.detach: "detach",
    Tensor.numpy: "NumPy",
    Tensor.__array__: "NumPy",
    Tensor.tolist: "tolist",
    Tensor.item: "item",
    Tensor.data.__get__: "data",  # type: ignore[attr-defined]
}


def hiding_steps(f: Callable[[Any], Any], x: Any) -> tuple[str, ...]:
    """The steps of f at x that hide its input from differentiation, sorted by name.

    Args:
        f: The map, of one argument.
        x: Its input.

    Returns:
        Some of ``"NumPy"``, ``"data"``, ``"detach"``, ``"inference mode"``, ``"item"`` and
        ``"tolist"``: what was called on any tensor. Code that TorchScript or another language
        runs is not seen.

    Example:
        >>> hiding_steps(lambda p: p.sin() + p.detach(), torch.ones(2))
        ('detach',)
    """
    found: set[str] = set()

    class Watching(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if torch.is_inference_mode_enabled():
                found.add("inference mode")
            if func in _STEPS:
                found.add(_STEPS[func])
            return func(*args, **(kwargs or {}))

    with torch.enable_grad(), Watching():
        f(x)
    return tuple(sorted(found))
