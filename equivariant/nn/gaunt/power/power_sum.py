"""Weighted sums of powers in compiled kernels, with derivatives of every order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from equivariant.nn.gaunt.power.sphere_powers import transformed

Pair = tuple[Tensor, Tensor]
Directions = tuple[Tensor | None, Tensor | None]


@runtime_checkable
class Kernels(Protocol):
    """The sum Σ_ν w_ν f^ν and its first gradients, without derivatives."""

    def value(self, x: Tensor, weight: Tensor, kinds: Tensor | None) -> Tensor:
        """The sum, from features, weights and the kinds of rows."""

    def gradients(self, x: Tensor, weight: Tensor, kinds: Tensor | None, cotangent: Tensor) -> Pair:
        """Gradients by features and weights."""


@runtime_checkable
class Plain(Protocol):
    """The same sum as a composition that torch can derive in every way."""

    def summed(self, x: Tensor, weight: Tensor, kinds: Tensor | None) -> Tensor:
        """The sum."""

    def changed(self, x: Tensor, weight: Tensor, kinds: Tensor | None, by: Directions) -> Tensor:
        """Its derivative in a direction, that of x and that of the weights."""


def power_sum(
    kernels: Kernels, plain: Plain, x: Tensor, weight: Tensor, kinds: Tensor | None
) -> Tensor:
    """Σ_ν w_ν f^ν by kernels as far as they go, and by the composition beyond.

    Kernels make the sum and its gradients. The composition makes derivatives of the gradients:
    with the sum's derivative D in the direction (r, s) of features and weights, and a gradient q
    by the sum, they are the gradients of ⟨D, q⟩, all of them of one reverse pass.

    Args:
        kernels: Both ways compute the same.
        plain: Takes over where torch.func's transformations or forward-mode derivatives are on.
        x: Features, shape (rows, dim).
        weight: Of x's dtype.
        kinds: Of the rows, int64, or None.

    Returns:
        Shape (rows, dim of the result).
    """
    if transformed():
        return plain.summed(x, weight, kinds)
    if not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        return kernels.value(x, weight, kinds)
    result: Tensor = _Value.apply(kernels, plain, x, weight, kinds)  # type: ignore[no-untyped-call]
    return result


class _Value(torch.autograd.Function):
    """The sum."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, plain: Plain, x: Tensor, weight: Tensor, kinds: Tensor | None
    ) -> Tensor:
        ctx.kernels, ctx.plain = kernels, plain
        ctx.save_for_backward(x, weight, kinds)
        return kernels.value(x, weight, kinds)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, kinds = ctx.saved_tensors
        if transformed():
            found = _plain_gradients(ctx.plain, x, weight, kinds, gradient)
            return None, None, *found, None
        if torch.is_grad_enabled():
            pair = _Gradients.apply(ctx.kernels, ctx.plain, x, weight, kinds, gradient)  # type: ignore[no-untyped-call]
            return None, None, *pair, None
        return None, None, *ctx.kernels.gradients(x, weight, kinds, gradient), None


class _Gradients(torch.autograd.Function):
    """Gradients by features and weights."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        plain: Plain,
        x: Tensor,
        weight: Tensor,
        kinds: Tensor | None,
        gradient: Tensor,
    ) -> Pair:
        ctx.plain = plain
        ctx.save_for_backward(x, weight, kinds, gradient)
        ctx.set_materialize_grads(False)
        return kernels.gradients(x, weight, kinds, gradient)

    @staticmethod
    def backward(ctx: Any, of_x: Tensor | None, of_weight: Tensor | None) -> tuple[Any, ...]:
        x, weight, kinds, gradient = ctx.saved_tensors
        if of_x is None and of_weight is None:
            return (None,) * 6
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            x, weight, gradient = operands = _apart(x, weight, gradient)
            if transformed():
                outputs = _plain_gradients(ctx.plain, x, weight, kinds, gradient)
                found = _derived(outputs, operands, (of_x, of_weight), graph=graph)
                return None, None, *found[:2], None, found[2]
            changed = ctx.plain.changed(x, weight, kinds, (of_x, of_weight))
            found = _derived((changed,), operands[:2], (gradient,), graph=graph)
        return None, None, *found, None, changed if graph else changed.detach()


def _plain_gradients(
    plain: Plain, x: Tensor, weight: Tensor, kinds: Tensor | None, gradient: Tensor
) -> list[Tensor | None]:
    """Gradients by features and weights, by the composition."""
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        x, weight = _apart(x, weight)
        value = plain.summed(x, weight, kinds)
    return _derived((value,), (x, weight), (gradient,), graph=graph)


def _apart(*operands: Tensor) -> list[Tensor]:
    """The same numbers under new names, so that derivatives by them are partial ones.

    Where one operand was computed from another, the latter's own name would collect both.
    """
    return [operand.view_as(operand) for operand in operands]


def _derived(
    outputs: Sequence[Tensor | None],
    operands: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    *,
    graph: bool,
) -> list[Tensor | None]:
    """Gradients by those operands that ask for one, of outputs that have one."""
    pairs = [
        (output, gradient)
        for output, gradient in zip(outputs, gradients, strict=True)
        if output is not None and gradient is not None and output.requires_grad
    ]
    asking = [operand for operand in operands if operand.requires_grad]
    if not pairs or not asking:
        return [None] * len(operands)
    found = iter(
        torch.autograd.grad(
            [output for output, _ in pairs], asking, [gradient for _, gradient in pairs],
            create_graph=graph, allow_unused=True,
        )
    )  # fmt: skip
    return [next(found) if operand.requires_grad else None for operand in operands]
