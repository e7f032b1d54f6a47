"""Contractions over a whole batch, one block of lanes after another.

Arguments are plain tuples with the fields of :class:`Operand`, of a schedule and of
:class:`Extent`: Numba takes several times longer to receive named ones.
"""

from __future__ import annotations

from typing import Any

from equivariant.nn.gaunt.compiled.compilation import kernel
from equivariant.nn.gaunt.compiled.instructions.channel_blocks import (
    Extent,
    Operand,
    clear,
    fetch,
    hold,
    place,
    settle,
    settle_sum,
    start,
    workspace,
)
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import BYTES, call
from equivariant.nn.gaunt.compiled.product.contraction import (
    Deep,
    Flat,
    Nested,
    contract,
    contract_mirrored,
    contract_weighted,
    derive,
    derive_mirrored,
    derive_weighted,
)

Operands = tuple[tuple[Any, ...], ...]
Lists = tuple[Any, ...]
Span = tuple[int, int, int, int, int]


@kernel
def multiply_all(to: Operands, lists: Lists, span: Span) -> None:
    """:func:`contract` for every entry and channel; z must be zeros where it is shared."""
    x = Operand(*to[0])
    y = Operand(*to[1])
    z = Operand(*to[2])
    plan = Nested(*lists)
    extent = Extent(*span)
    like = plan.coefficients[0]
    numbers = plan.coefficients.ctypes.data
    memory = workspace(x.rows + y.rows + z.rows)
    space_x = start(memory)
    space_y = space_x + x.rows * BYTES
    space_z = space_y + y.rows * BYTES
    for entry in range(extent.first, extent.last, extent.group):
        for first in range(0, extent.channels, BYTES // extent.size):
            here_x = fetch(space_x, x, extent, entry, first, like)
            here_y = fetch(space_y, y, extent, entry, first, like)
            here_z = place(space_z, z, extent, entry, first)
            if plan.code:
                call(plan.code, (here_x, here_y, here_z, numbers))
            elif plan.mirrored:
                clear(here_z, z, like)
                contract_mirrored(here_x, here_y, here_z, plan)
            else:
                contract(here_x, here_y, here_z, plan)
            settle(space_z, z, extent, entry, first, like)
    hold(memory)


@kernel
def derive_all(to: Operands, lists: Lists, span: Span) -> None:
    """:func:`derive` for every entry and channel; shared gradients must be zeros before."""
    x = Operand(*to[0])
    y = Operand(*to[1])
    g = Operand(*to[2])
    to_x = Operand(*to[3])
    to_y = Operand(*to[4])
    plan = Nested(*lists)
    extent = Extent(*span)
    like = plan.coefficients[0]
    numbers = plan.coefficients.ctypes.data
    memory = workspace(2 * x.rows + 2 * y.rows + g.rows)
    space_x = start(memory)
    space_y = space_x + x.rows * BYTES
    space_g = space_y + y.rows * BYTES
    space_to_x = space_g + g.rows * BYTES
    space_to_y = space_to_x + x.rows * BYTES
    for entry in range(extent.first, extent.last, extent.group):
        for first in range(0, extent.channels, BYTES // extent.size):
            here_x = fetch(space_x, x, extent, entry, first, like)
            here_y = fetch(space_y, y, extent, entry, first, like)
            here_g = fetch(space_g, g, extent, entry, first, like)
            there_x = place(space_to_x, to_x, extent, entry, first)
            there_y = place(space_to_y, to_y, extent, entry, first)
            if plan.code:
                call(plan.code, (here_x, here_y, here_g, there_x, there_y, numbers))
            elif plan.mirrored:
                clear(there_y, to_y, like)
                clear(there_x, to_x, like)
                derive_mirrored(here_x, here_y, here_g, there_x, there_y, plan)
            else:
                clear(there_y, to_y, like)
                derive(here_x, here_y, here_g, there_x, there_y, plan)
            settle(space_to_x, to_x, extent, entry, first, like)
            settle(space_to_y, to_y, extent, entry, first, like)
    hold(memory)


@kernel
def multiply_all_weighted(to: Operands, lists: Lists, span: Span) -> None:
    """:func:`contract_weighted` for every entry and channel."""
    x = Operand(*to[0])
    y = Operand(*to[1])
    w = Operand(*to[2])
    z = Operand(*to[3])
    plan = Flat(*lists)
    extent = Extent(*span)
    like = plan.coefficients[0]
    memory = workspace(x.rows + y.rows + w.rows + z.rows)
    space_x = start(memory)
    space_y = space_x + x.rows * BYTES
    space_w = space_y + y.rows * BYTES
    space_z = space_w + w.rows * BYTES
    for entry in range(extent.first, extent.last, extent.group):
        for first in range(0, extent.channels, BYTES // extent.size):
            here_x = fetch(space_x, x, extent, entry, first, like)
            here_y = fetch(space_y, y, extent, entry, first, like)
            here_w = fetch(space_w, w, extent, entry, first, like)
            there = place(space_z, z, extent, entry, first)
            contract_weighted(here_x, here_y, here_w, there, plan)
            settle(space_z, z, extent, entry, first, like)
    hold(memory)


@kernel
def derive_all_weighted(to: Operands, lists: Lists, span: Span) -> None:
    """:func:`derive_weighted` for every entry and channel.

    Weights of stride 0 serve the whole batch, and their gradient is summed over it.
    """
    x = Operand(*to[0])
    y = Operand(*to[1])
    g = Operand(*to[2])
    w = Operand(*to[3])
    to_x = Operand(*to[4])
    to_y = Operand(*to[5])
    to_w = Operand(*to[6])
    plan = Deep(*lists)
    extent = Extent(*span)
    like = plan.coefficients[0]
    memory = workspace(2 * (x.rows + y.rows + w.rows) + g.rows)
    space_x = start(memory)
    space_y = space_x + x.rows * BYTES
    space_g = space_y + y.rows * BYTES
    space_w = space_g + g.rows * BYTES
    space_to_x = space_w + w.rows * BYTES
    space_to_y = space_to_x + x.rows * BYTES
    space_to_w = space_to_y + y.rows * BYTES
    for first in range(0, extent.channels, BYTES // extent.size):
        there_w = place(space_to_w, to_w, extent, 0, first)
        if to_w.stride == 0:
            clear(there_w, to_w, like)
        for entry in range(extent.first, extent.last, extent.group):
            here_x = fetch(space_x, x, extent, entry, first, like)
            here_y = fetch(space_y, y, extent, entry, first, like)
            if entry + extent.group > extent.last:
                clear(space_g, g, like)
            here_g = fetch(space_g, g, extent, entry, first, like)
            here_w = fetch(space_w, w, extent, entry, first, like)
            there_x = place(space_to_x, to_x, extent, entry, first)
            there_y = place(space_to_y, to_y, extent, entry, first)
            if to_w.stride:
                there_w = place(space_to_w, to_w, extent, entry, first)
                clear(there_w, to_w, like)
            clear(there_y, to_y, like)
            derive_weighted(here_x, here_y, here_g, here_w, there_x, there_y, there_w, plan)
            settle(space_to_x, to_x, extent, entry, first, like)
            settle(space_to_y, to_y, extent, entry, first, like)
            if to_w.stride:
                settle(space_to_w, to_w, extent, entry, first, like)
        if to_w.stride == 0:
            settle_sum(space_to_w, to_w, extent, first, like)
    hold(memory)
