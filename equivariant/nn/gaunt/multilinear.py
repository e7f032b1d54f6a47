"""Derivatives of multilinear forms: one primitive, whose derivatives are the primitive again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from equivariant.nn.gaunt.compiled.availability import has_numbers
from equivariant.nn.gaunt.multilinear_forms import MultilinearForm, is_mapped, swapped
from equivariant.nn.gaunt.torch_operators import derivative_of_entry, form_derivative
from equivariant.nn.tracing import makes_graph


def derivative(form: MultilinearForm, slot: int, operands: Sequence[Tensor]) -> Tensor:
    """Gradient of a form by one operand, differentiable to every order.

    Args:
        form: The form.
        slot: Which operand, from 0.
        operands: The others in their order; leading axes broadcast.

    Returns:
        Shape (..., size of the slot).
    """
    if makes_graph() or (form.name and not has_numbers(*operands)):
        found: Tensor = form_derivative(form.name, slot, list(operands))
        return found
    if torch._C._are_functorch_transforms_active():
        kind: Any = _Functional
    elif forward_ad._current_level < 0 and not (
        torch.is_grad_enabled() and any(operand.requires_grad for operand in operands)
    ):
        return _evaluated(form, slot, operands)
    else:
        kind = _Eager
    result: Tensor = kind.apply(form, slot, *operands)
    return result


def _evaluated(form: MultilinearForm, slot: int, operands: Sequence[Tensor]) -> Tensor:
    """The derivative of plain tensors, and of hidden batches (see :func:`is_mapped`) one by one.

    Forms without a name, which compiled graphs do not call, take hidden batches themselves.
    """
    if form.name and any(is_mapped(operand) for operand in operands):
        found: Tensor = derivative_of_entry(form.name, slot, *operands)
        return found
    return form.derivative(slot, operands)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    operands, needs = ctx.saved_tensors, ctx.needs_input_grad[2:]
    form, slot = ctx.form, ctx.slot
    found: list[Tensor | None]
    transformed = torch._C._are_functorch_transforms_active() or is_mapped(gradient)
    if torch.is_grad_enabled() or transformed:
        found = [
            derivative(form, place, others) if needed else None
            for needed, (place, others) in zip(
                needs, swapped(slot, operands, gradient), strict=True
            )
        ]
    else:
        found = form.gradients(slot, operands, gradient, needs)
    summed = (
        value if value is None or value.shape == operand.shape else value.sum_to_size(operand.shape)
        for value, operand in zip(found, operands, strict=True)
    )
    return None, None, *summed


def _jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
    operands = ctx.saved_tensors
    changes = [
        derivative(ctx.form, ctx.slot, [*operands[:place], tangent, *operands[place + 1 :]])
        for place, tangent in enumerate(tangents[2:])
        if tangent is not None
    ]
    return sum(changes[1:], changes[0])


class _Eager(torch.autograd.Function):
    """The primitive as most calls need it: half the cost of the other form per call."""

    @staticmethod
    def forward(ctx: Any, form: MultilinearForm, slot: int, *operands: Tensor) -> Tensor:
        ctx.save_for_backward(*operands)
        ctx.save_for_forward(*operands)
        ctx.form, ctx.slot = form, slot
        return _evaluated(form, slot, operands)

    backward = staticmethod(_backward)
    jvp = staticmethod(_jvp)


class _Functional(torch.autograd.Function):
    """The primitive inside torch.func's transformations."""

    @staticmethod
    def forward(form: MultilinearForm, slot: int, *operands: Tensor) -> Tensor:
        return form.derivative(slot, operands)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.form, ctx.slot, *operands = inputs
        ctx.save_for_backward(*operands)
        ctx.save_for_forward(*operands)

    backward = staticmethod(_backward)
    jvp = staticmethod(_jvp)

    @staticmethod
    def vmap(
        info: Any,
        places: tuple[int | None, ...],
        form: MultilinearForm,
        slot: int,
        *operands: Tensor,
    ) -> tuple[Tensor, int]:
        longest = max(
            operand.dim() - (place is not None)
            for operand, place in zip(operands, places[2:], strict=True)
        )
        moved = []
        for operand, place in zip(operands, places[2:], strict=True):
            if place is not None:
                first = operand.movedim(place, 0)
                missing = longest - (first.dim() - 1)
                operand = first.reshape(first.shape[:1] + (1,) * missing + first.shape[1:])
            moved.append(operand)
        return derivative(form, slot, moved), 0
