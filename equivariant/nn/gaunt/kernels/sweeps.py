"""Contractions over a whole batch, one block of lanes after another."""

from __future__ import annotations

from equivariant.nn.gaunt.kernels.blocks import (
    Extent,
    Operand,
    clear,
    fetch,
    place,
    settle,
    settle_sum,
    start,
    workspace,
)
from equivariant.nn.gaunt.kernels.compiled import kernel
from equivariant.nn.gaunt.kernels.contraction import (
    Deep,
    Flat,
    Nested,
    contract,
    contract_weighted,
    derive,
    derive_weighted,
)
from equivariant.nn.gaunt.kernels.lanes import BYTES


@kernel
def multiply_all(x: Operand, y: Operand, z: Operand, plan: Nested, extent: Extent) -> None:
    """:func:`contract` for every entry and channel; z must be zeros where it is shared."""
    like = plan.coefficients[0]
    memory = workspace(x.rows + y.rows + z.rows)
    space_x = start(memory)
    space_y = space_x + x.rows * BYTES
    space_z = space_y + y.rows * BYTES
    for entry in range(extent.first, extent.last, extent.group):
        for first in range(0, extent.channels, BYTES // extent.size):
            here_x = fetch(space_x, x, extent, entry, first, like)
            here_y = fetch(space_y, y, extent, entry, first, like)
            contract(here_x, here_y, place(space_z, z, extent, entry, first), plan)
            settle(space_z, z, extent, entry, first, like)


@kernel
def derive_all(
    x: Operand, y: Operand, g: Operand, to_x: Operand, to_y: Operand, plan: Nested, extent: Extent
) -> None:
    """:func:`derive` for every entry and channel; shared gradients must be zeros before."""
    like = plan.coefficients[0]
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
            clear(there_y, to_y, like)
            derive(here_x, here_y, here_g, there_x, there_y, plan)
            settle(space_to_x, to_x, extent, entry, first, like)
            settle(space_to_y, to_y, extent, entry, first, like)


@kernel
def multiply_all_weighted(
    x: Operand, y: Operand, w: Operand, z: Operand, plan: Flat, extent: Extent
) -> None:
    """:func:`contract_weighted` for every entry and channel."""
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


@kernel
def derive_all_weighted(
    x: Operand, y: Operand, g: Operand, w: Operand, to_x: Operand, to_y: Operand, to_w: Operand,
    plan: Deep, extent: Extent,
) -> None:  # fmt: skip
    """:func:`derive_weighted` for every entry and channel.

    Weights of stride 0 serve the whole batch, and their gradient is summed over it.
    """
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
