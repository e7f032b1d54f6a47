"""Exact evaluation in blocks of anchors: memory O((N + M) D), however many pairs there are.

A block of anchors meets all candidates at once, so every statistic of a row is known inside it,
and with it the gradient, up to the factor that the row's loss gets afterwards. That factor is
the same for all rows wherever losses are averaged: gradients are therefore computed in the
forward pass for a factor of 1, and scaled in the backward pass. Where the factors differ after
all, the blocks are evaluated once more with them. Either way the result is exact. Second
derivatives hold all pairs: the losses are then computed once more, densely, with a graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.losses.contrast.pairs import Pairs
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Similarity
from equivariant.losses.contrast.statistics import Form, Values, evaluate

_ENTRIES_PER_BLOCK = 1 << 21
_ROWS = (128, 1024)
_VALUES = tuple(field.name for field in fields(Values))


@dataclass
class Swept:
    """Values of all anchors, and gradients of Σ_i u_i L_i where they were asked for."""

    values: Values
    gradients: tuple[Tensor | None, ...]


class Sweep(ABC):
    """A loss that is evaluated block by block."""

    def count(self, inputs: tuple[Tensor, ...]) -> int:
        """Number of losses L_i."""
        return int(inputs[0].shape[0])

    @abstractmethod
    def run(self, inputs: tuple[Tensor, ...], upstream: Tensor, wanted: tuple[bool, ...]) -> Swept:
        """Values, and the gradients by the inputs that are wanted, of Σ_i upstream_i L_i."""


Dense = Callable[..., Tensor]
"""From the inputs of a sweep to its losses L_i, by plain differentiable tensor algebra."""


def tiled(sweep: Sweep, dense: Dense | None, *inputs: Tensor) -> Values:
    """Evaluate a sweep, differentiable by its inputs.

    Args:
        sweep: Computes losses and their gradients block by block.
        dense: The same losses, for second derivatives; None refuses these.
        inputs: Of the sweep.
    """
    found = _Tiled.apply(sweep, dense, *inputs)  # type: ignore[no-untyped-call]
    return Values(*found)


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sweep: Sweep, dense: Dense | None, *inputs: Tensor) -> tuple[Tensor, ...]:
        wanted = tuple(ctx.needs_input_grad[2:])
        one = inputs[0].new_ones(sweep.count(inputs))
        swept = sweep.run(inputs, one, wanted)
        values = swept.values
        ctx.sweep, ctx.dense, ctx.wanted = sweep, dense, wanted
        ctx.places = [i for i, g in enumerate(swept.gradients) if g is not None]
        ctx.save_for_backward(values.valid, *inputs, *(g for g in swept.gradients if g is not None))
        ctx.mark_non_differentiable(values.valid, values.gap, values.push_mass, values.entropy)
        return values.loss, values.valid, values.gap, values.push_mass, values.entropy

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        count, saved = len(ctx.wanted), ctx.saved_tensors
        valid, inputs = saved[0], saved[1 : 1 + count]
        ready = dict(zip(ctx.places, saved[1 + count :], strict=True))
        if torch.is_grad_enabled() and ctx.dense is not None:
            return None, None, *_with_graph(ctx.dense, inputs, grad, ctx.wanted)
        with torch.no_grad():
            factors = grad[valid]
            if factors.numel() == 0 or bool((factors == factors[0]).all()):
                factor = factors[0] if factors.numel() else grad.new_zeros(())
                found = [ready[i] * factor if i in ready else None for i in range(count)]
            else:
                upstream = torch.where(valid, grad, 0.0)
                found = list(ctx.sweep.run(inputs, upstream, ctx.wanted).gradients)
        if torch.is_grad_enabled():
            found = [None if g is None else _Once.apply(g, grad, *inputs) for g in found]  # type: ignore[no-untyped-call]
        return None, None, *found


def _with_graph(
    dense: Dense, inputs: tuple[Tensor, ...], grad: Tensor, wanted: tuple[bool, ...]
) -> list[Tensor | None]:
    """Gradients of Σ_i grad_i L_i by the wanted inputs, differentiable by all of them."""
    asked = [x for x, w in zip(inputs, wanted, strict=True) if w]
    losses = dense(*inputs)
    found = iter(torch.autograd.grad(losses, asked, grad, create_graph=True, allow_unused=True))
    return [next(found) if w else None for w in wanted]


class _Once(torch.autograd.Function):
    """A gradient that depends on the inputs, but not differentiably.

    PyTorch's own mark refuses only where the gradient that comes in is differentiated, and lets
    the dependence on the inputs pass as zero.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *inputs: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        raise ConventionError(
            expected="at most one derivative of a loss evaluated in tiles",
            got="a derivative of its gradient",
            argument="method",
            advice="Pass method='dense' or 'auto' to contrast, or to the preset.",
        )


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of the anchors, short enough for a block to stay in a processor's cache."""
    size = min(max(_ENTRIES_PER_BLOCK // max(columns, 1), _ROWS[0]), _ROWS[1])
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


@dataclass(frozen=True)
class AnyForm(Sweep):
    """Any form and pairs: blocks of the dense algebra, differentiated one at a time.

    Inputs of the sweep: feature maps (N, E) and (M, E), and 1/τ as (), (N, 1) or (1, M).
    """

    q: Side
    k: Side
    pairs: Pairs
    similarity: Similarity
    form: Form

    def run(self, inputs: tuple[Tensor, ...], upstream: Tensor, wanted: tuple[bool, ...]) -> Swept:
        left, right, scale = inputs
        gradients = [
            torch.zeros_like(x) if w else None for x, w in zip(inputs, wanted, strict=True)
        ]
        results = room_for_values(left, left.shape[0])
        for rows in blocks(left.shape[0], right.shape[0]):
            own = slice(None) if scale.ndim == 0 or scale.shape[0] == 1 else rows
            leaves = [left[rows], right, scale[own] if scale.ndim else scale]
            leaves = [x.detach().requires_grad_(w) for x, w in zip(leaves, wanted, strict=True)]
            with torch.enable_grad():
                values = self._block(self.q[rows], *leaves)
                total = (values.loss * upstream[rows]).sum()
            results = keep_values(results, values, rows)
            asked = [leaf for leaf in leaves if leaf.requires_grad]
            if not asked or not total.requires_grad:
                continue
            found = iter(torch.autograd.grad(total, asked, allow_unused=True))
            for gradient, where, w in zip(gradients, (rows, slice(None), own), wanted, strict=True):
                new = next(found) if w else None
                if gradient is not None and new is not None:
                    (gradient[where] if gradient.ndim else gradient).add_(new)
        return Swept(results, tuple(gradients))

    def _block(self, q: Side, left: Tensor, right: Tensor, scale: Tensor) -> Values:
        tile = self.pairs.tile(q, self.k)
        if tile.log_repulsion.requires_grad or tile.attraction.requires_grad:
            raise ConventionError(
                expected="weights of pairs without gradient",
                got="weights that are differentiated",
                argument="method",
                advice="Pass method='dense' to train the weights of pairs.",
            )
        s = self.similarity.finish(left @ right.T)
        return evaluate(s, s * scale, tile, self.form)


def room_for_values(like: Tensor, count: int) -> Values:
    """Values of ``count`` anchors, to be filled block by block.

    Many small results kept among large ones that are freed would leave the heap in pieces.
    """
    names = ("loss", "gap", "push_mass", "entropy")
    floats = {name: like.new_zeros(count) for name in names}
    return Values(valid=torch.zeros(count, dtype=torch.bool, device=like.device), **floats)


def keep_values(results: Values, block: Values, rows: slice) -> Values:
    """The results with the values of a block of anchors where they belong."""
    found = {name: getattr(block, name).detach() for name in _VALUES}
    if len(block.loss) == len(results.loss):  # there is no other block
        return Values(**found)
    for name, values in found.items():
        getattr(results, name)[rows] = values
    return results


def joined(first: Values, second: Values) -> Values:
    """The values of some anchors, and then those of others."""
    both = ((getattr(first, name), getattr(second, name)) for name in _VALUES)
    return Values(*map(torch.cat, both))
