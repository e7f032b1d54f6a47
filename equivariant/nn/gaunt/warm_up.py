"""Compile kernels before they are needed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def warm_up(layer: nn.Module, *inputs: Any, backward: bool = True, **named: Any) -> float:
    """Call a layer once forward and once backward, so that later calls find their kernels compiled.

    Kernels are compiled for a layer's irreps, its dtype and the shapes of operands (shared or
    not) when they are first called. What Numba compiles is kept on disk for later processes (see
    ``NUMBA_CACHE_DIR``); code that is written out for one list of coefficients is made once per
    process. Weights, their gradients and the inputs stay as they are.

    Args:
        layer: A product, convolution, power or a model of them.
        inputs: What it is called with, for example two rows of features; sizes do not matter.
        backward: Whether gradients by the inputs and weights are taken as well.
        named: Further arguments of the call.

    Returns:
        Seconds that it took.

    Example:
        >>> from equivariant.nn.gaunt import GauntTensorProduct
        >>> layer, x = GauntTensorProduct("2x0e + 2x1o", "2x0e + 2x1o"), torch.zeros(2, 8)
        >>> warm_up(layer, x, x) > 0
        True
    """
    started = time.perf_counter()
    given = [_leaf(value) if backward else value for value in inputs]
    with torch.set_grad_enabled(backward):
        result = layer(*given, **named)
        if backward:
            total = sum((value.sum() for value in _tensors(result)), torch.zeros(()))
            sources = [t for t in (*given, *layer.parameters()) if _differentiates(t)]
            if total.requires_grad and sources:
                torch.autograd.grad(total, sources, allow_unused=True)
    return time.perf_counter() - started


def _leaf(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().clone().requires_grad_()
    return value


def _differentiates(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _tensors(result: Any) -> Iterable[Tensor]:
    """The tensors of a result that gradients can come from."""
    if isinstance(result, Tensor):
        return [result] if result.requires_grad else []
    values = result.values() if isinstance(result, dict) else result
    return [t for value in values for t in _tensors(value)] if not isinstance(result, str) else []
