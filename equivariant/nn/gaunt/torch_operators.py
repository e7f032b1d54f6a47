"""The primitive of :mod:`multilinear` as operators of torch, for compiled and exported graphs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from equivariant.nn.gaunt.multilinear_forms import form_named, leading_axes, swapped


@torch.library.custom_op(
    "equivariant::form_derivative",
    mutates_args=(),
    schema="(str name, int slot, Tensor[] operands) -> Tensor",
)
def form_derivative(name: str, slot: int, operands: list[Tensor]) -> Tensor:
    """The primitive as compiled graphs see it: see :meth:`MultilinearForm.derivative`.

    Args:
        name: Of a form that was remembered.
        slot: Which operand, from 0.
        operands: The others in their order.

    Returns:
        A new tensor.
    """
    return form_named(name).derivative(slot, operands).contiguous()


@torch.library.custom_op(
    "equivariant::derivative_of_entry",
    mutates_args=(),
    schema="(str name, int slot, Tensor one, Tensor other, Tensor? more=None) -> Tensor",
)
def derivative_of_entry(
    name: str, slot: int, one: Tensor, other: Tensor, more: Tensor | None = None
) -> Tensor:
    """The primitive as torch calls it entry by entry of a batch, which takes no lists.

    Args:
        name: Of a form that was remembered.
        slot: Which operand, from 0.
        one: The first of the others.
        other: The second.
        more: The third, where there is one.

    Returns:
        A new tensor.
    """
    operands = [one, other] if more is None else [one, other, more]
    return form_named(name).derivative(slot, operands).contiguous()


@torch.library.custom_op(
    "equivariant::form_gradients",
    mutates_args=(),
    schema="(str name, int slot, Tensor[] operands, Tensor cotangent, bool[] needs) -> Tensor[]",
)
def form_gradients(
    name: str, slot: int, operands: list[Tensor], cotangent: Tensor, needs: list[bool]
) -> list[Tensor]:
    """Gradients as compiled graphs see them: see :meth:`MultilinearForm.gradients`.

    Args:
        name: Of a form that was remembered.
        slot: Which operand, from 0.
        operands: The others in their order.
        cotangent: Gradient by the derivative.
        needs: Which gradients are asked for.

    Returns:
        Those that are asked for, of the shapes of their operands.
    """
    found = form_named(name).gradients(slot, operands, cotangent, needs)
    return [
        value.sum_to_size(operand.shape).clone(memory_format=torch.contiguous_format)
        for value, operand in zip(found, operands, strict=True)
        if value is not None
    ]


@form_derivative.register_fake
def _fake_derivative(name: str, slot: int, operands: list[Tensor]) -> Tensor:
    lead = leading_axes(operands)
    return operands[0].new_empty(*lead, form_named(name).length(slot))


@form_gradients.register_fake
def _fake_gradients(
    name: str, slot: int, operands: list[Tensor], cotangent: Tensor, needs: list[bool]
) -> list[Tensor]:
    return [
        operand.new_empty(operand.shape)
        for operand, needed in zip(operands, needs, strict=True)
        if needed
    ]


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.name, ctx.slot, operands = inputs
    ctx.save_for_backward(*operands)


def _gradients_of_operator(ctx: Any, gradient: Tensor) -> tuple[None, None, list[Tensor | None]]:
    operands = list(ctx.saved_tensors)
    if torch.is_grad_enabled():
        whole = [
            form_derivative(ctx.name, place, others).sum_to_size(operand.shape)
            for operand, (place, others) in zip(
                operands, swapped(ctx.slot, operands, gradient), strict=True
            )
        ]
        return None, None, [*whole]
    needs = [bool(needed) for needed in ctx.needs_input_grad[2]]
    found = iter(form_gradients(ctx.name, ctx.slot, operands, gradient, needs))
    return None, None, [next(found) if needed else None for needed in needs]


form_derivative.register_autograd(_gradients_of_operator, setup_context=_save)
