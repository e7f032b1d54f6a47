"""Weighted sums of powers over a whole batch, and their gradients, one block of lanes at a time.

All that lies between features and results stays in scratch memory, a row of lanes per number:

    own      f and h as they are: true and pseudo functions, or the one there is
    raised   f+h and f−h where there are both, otherwise ``own`` once more
    second   the squares of what is raised, up to every degree that the result or a cube needs
    third    the cubes
    result   rows of the result, or of its gradient
    weights  one row per power and irrep, then as many for their gradients
    to_own, to_second, to_third, to_raised    gradients of these
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.compilation import kernel
from equivariant.nn.gaunt.compiled.instructions.channel_blocks import (
    Extent,
    Operand,
    fetch,
    hold,
    settle,
    start,
    workspace,
)
from equivariant.nn.gaunt.compiled.instructions.packing import fill
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import (
    BYTES,
    add,
    fused,
    load,
    multiply,
    read,
    splat,
    store,
)
from equivariant.nn.gaunt.compiled.powers.inner_loops import (
    clear_rows,
    fold,
    multiply_both,
    multiply_functions,
    square,
)
from equivariant.nn.gaunt.compiled.product.contraction import Nested

PowerIntegers = NDArray[np.int64]
Arguments = tuple[Any, ...]
PowerSpan = tuple[int, int, int, int, int]


class PowerPlan(NamedTuple):
    """Where everything lies, in bytes from the first row of scratch, and the coefficients.

    ``sources[n, r]`` is the row of power n+1 that component r of the result takes, and
    ``targets[n, r]`` the row for its gradient; both are negative where there is none. Irrep i has
    the components from ``irreps[i]`` to ``irreps[i+1]``. ``functions`` is 2 where there are true
    and pseudo parts, each of ``width`` rows, and squares have ``squared`` rows. ``factors`` are
    0, 1, 2, 3 and ½ in the precision of the operands.
    """

    rows: int
    own: int
    raised: int
    second: int
    third: int
    result: int
    weights: int
    to_own: int
    to_raised: int
    to_second: int
    to_third: int
    functions: int
    width: int
    squared: int
    sources: PowerIntegers
    targets: PowerIntegers
    irreps: PowerIntegers
    factors: NDArray[Any]
    squares: Arguments
    products: Arguments
    pulls: Arguments


@kernel
def raise_all(to: Arguments, lists: Arguments, numbers: PowerSpan) -> None:
    """y = Σ_ν w_ν f^ν for every entry and channel: operands x, y and w, and kinds."""
    x = Operand(*to[0])
    y = Operand(*to[1])
    w = Operand(*to[2])
    kinds = to[3]
    plan = PowerPlan(*lists)
    squares = Nested(*plan.squares)
    products = Nested(*plan.products)
    extent = Extent(*numbers)
    like = plan.factors[0]
    memory = workspace(plan.rows)
    base = start(memory)
    for first in range(0, extent.channels, BYTES // extent.size):
        kind = -1
        for entry in range(extent.first, extent.last, extent.group):
            fetch(base + plan.own, x, extent, entry, first, like)
            raise_block(base, plan, squares, products, like)
            if plan.functions == 2:
                half = plan.factors[4]
                fold(base + plan.second, base + plan.second, plan.squared, half)
                fold(base + plan.third, base + plan.third, plan.width, half)
            kind = bring(base + plan.weights, w, kinds, extent, entry, first, kind, like)
            weigh(base, plan, like)
            settle(base + plan.result, y, extent, entry, first, like)
    hold(memory)


@kernel
def derive_all_powers(to: Arguments, lists: Arguments, numbers: PowerSpan) -> None:
    """Gradients by x and w, given that by y: operands x, g, w, to_x, to_w, and kinds.

    The gradient by w is added to what is there, that of each kind to its own.
    """
    x = Operand(*to[0])
    g = Operand(*to[1])
    w = Operand(*to[2])
    to_x = Operand(*to[3])
    to_w = Operand(*to[4])
    kinds = to[5]
    plan = PowerPlan(*lists)
    squares = Nested(*plan.squares)
    products = Nested(*plan.products)
    pulls = Nested(*plan.pulls)
    extent = Extent(*numbers)
    like = plan.factors[0]
    memory = workspace(plan.rows)
    base = start(memory)
    sums = base + plan.weights + w.rows * BYTES
    for first in range(0, extent.channels, BYTES // extent.size):
        kind = -1
        for entry in range(extent.first, extent.last, extent.group):
            fetch(base + plan.own, x, extent, entry, first, like)
            if entry + extent.group > extent.last:
                clear_rows(base + plan.result, g.rows, like)
            fetch(base + plan.result, g, extent, entry, first, like)
            before = kind
            kind = bring(base + plan.weights, w, kinds, extent, entry, first, kind, like)
            if kind != before and before >= 0:
                add_sums(sums, to_w, kinds, extent, entry - 1, first, before, like)
            pull_block(base, plan, squares, products, pulls, like)
            settle(base + plan.to_own, to_x, extent, entry, first, like)
            collect(base, sums, plan, like)
            if kind < 0:
                add_sums(sums, to_w, kinds, extent, entry, first, kind, like)
        if kind >= 0:
            add_sums(sums, to_w, kinds, extent, extent.last - 1, first, kind, like)
    hold(memory)


@kernel
def raise_block(base: int, plan: PowerPlan, squares: Nested, products: Nested, like: Any) -> None:
    """Squares and cubes of the functions of one block."""
    if plan.functions == 2:
        fold(base + plan.own, base + plan.raised, plan.width, plan.factors[1])
    clear_rows(base + plan.second, plan.functions * plan.squared, like)
    clear_rows(base + plan.third, plan.functions * plan.width, like)
    for function in range(plan.functions):
        f = base + plan.raised + function * plan.width * BYTES
        s = base + plan.second + function * plan.squared * BYTES
        square(f, s, squares)
        multiply_functions(s, f, base + plan.third + function * plan.width * BYTES, products)


@kernel
def pull_block(
    base: int, plan: PowerPlan, squares: Nested, products: Nested, pulls: Nested, like: Any
) -> None:
    """The gradient by the functions of one block; squares and cubes are made on the way.

    2 w_2 g f + 3 w_3 g f² in all, where products are cut off at the degrees that count.
    """
    shift = plan.width * BYTES
    clear_rows(base + plan.second, plan.functions * plan.squared, like)
    clear_rows(base + plan.third, plan.functions * plan.width, like)
    clear_rows(base + plan.to_own, plan.functions * plan.width, like)
    clear_rows(base + plan.to_second, plan.functions * plan.width, like)
    clear_rows(base + plan.to_third, plan.functions * plan.width, like)
    spread(base, plan, like)
    if plan.functions == 2:
        half = plan.factors[4]
        fold(base + plan.own, base + plan.raised, plan.width, plan.factors[1])
        fold(base + plan.to_second, base + plan.to_second, plan.width, half)
        fold(base + plan.to_third, base + plan.to_third, plan.width, half)
        clear_rows(base + plan.to_raised, 2 * plan.width, like)
    for function in range(plan.functions):
        f = base + plan.raised + function * shift
        to_f = base + plan.to_raised + function * shift
        s = base + plan.second + function * plan.squared * BYTES
        z = base + plan.third + function * shift
        square(f, s, squares)
        multiply_functions(base + plan.to_second + function * shift, f, to_f, pulls)
        multiply_both(s, f, z, base + plan.to_third + function * shift, to_f, products)
    if plan.functions == 2:
        fold(base + plan.to_raised, base + plan.raised, plan.width, plan.factors[1])
        for row in range(2 * plan.width):
            there = base + plan.to_own + row * BYTES
            more = load(base + plan.raised + row * BYTES, like)
            store(there, add(more, load(there, like)))
        fold(base + plan.second, base + plan.second, plan.squared, half)
        fold(base + plan.third, base + plan.third, plan.width, half)


@kernel
def weigh(base: int, plan: PowerPlan, like: Any) -> None:
    """The result from powers and weights."""
    count = plan.irreps.shape[0] - 1
    for irrep in range(count):
        for row in range(plan.irreps[irrep], plan.irreps[irrep + 1]):
            total = splat(like - like)
            for power in range(plan.sources.shape[0]):
                source = plan.sources[power, row]
                if source >= 0:
                    weight = load(base + plan.weights + (power * count + irrep) * BYTES, like)
                    total = fused(weight, load(base + source, like), total)
            store(base + plan.result + row * BYTES, total)


@kernel
def spread(base: int, plan: PowerPlan, like: Any) -> None:
    """ν w_ν g to the gradient of every power; rows without a component stay."""
    count = plan.irreps.shape[0] - 1
    for irrep in range(count):
        for power in range(plan.targets.shape[0]):
            weight = load(base + plan.weights + (power * count + irrep) * BYTES, like)
            weight = multiply(splat(plan.factors[power + 1]), weight)
            for row in range(plan.irreps[irrep], plan.irreps[irrep + 1]):
                target = plan.targets[power, row]
                if target >= 0:
                    g = load(base + plan.result + row * BYTES, like)
                    store(base + target, multiply(weight, g))


@kernel
def collect(base: int, sums: int, plan: PowerPlan, like: Any) -> None:
    """Σ f^ν g over the components of an irrep, added to the gradients of weights."""
    count = plan.irreps.shape[0] - 1
    for power in range(plan.sources.shape[0]):
        for irrep in range(count):
            there = sums + (power * count + irrep) * BYTES
            total = load(there, like)
            for row in range(plan.irreps[irrep], plan.irreps[irrep + 1]):
                source = plan.sources[power, row]
                if source >= 0:
                    g = load(base + plan.result + row * BYTES, like)
                    total = fused(g, load(base + source, like), total)
            store(there, total)


@kernel
def bring(
    scratch: int, w: Operand, kinds: PowerIntegers, extent: Extent, entry: int, first: int,
    kind: int, like: Any,
) -> int:  # fmt: skip
    """Weights of a block's kinds into lanes, unless they are there; returns their kind.

    That is negative where a block of several entries may hold several kinds.
    """
    channels = min(BYTES // extent.size, extent.channels - first)
    if kinds.shape[0] == 0:
        if kind < 0:
            fill(
                scratch, w.address, 0, w.blocks, False,
                extent.group, first, channels, extent.size, like,
            )  # fmt: skip
        return 0
    if extent.group == 1 and kinds[entry] == kind:
        return kind
    for place in range(min(extent.group, extent.last - entry)):
        lane = scratch + place * channels * extent.size
        source = w.address + kinds[entry + place] * w.stride
        fill(lane, source, 0, w.blocks, False, 1, first, channels, extent.size, like)
    if extent.group == 1:
        return int(kinds[entry])
    return -1


@kernel
def add_sums(
    sums: int, to_w: Operand, kinds: PowerIntegers, extent: Extent, entry: int, first: int,
    kind: int, like: Any,
) -> None:  # fmt: skip
    """Gradients of weights from lanes to memory, and zeros in their place.

    Args as for :func:`bring`: all lanes are of one kind unless that is negative.
    """
    channels = min(BYTES // extent.size, extent.channels - first)
    entries = extent.group
    if kind < 0:
        entries = min(entries, extent.last - entry)
    for row in range(to_w.rows):
        for place in range(entries):
            own = kinds[entry + place] if kind < 0 else kind
            there = to_w.address + own * to_w.stride + to_w.blocks[row, 0] + first * extent.size
            lane = sums + row * BYTES + place * channels * extent.size
            if channels * extent.size == BYTES:
                store(there, add(load(lane, like), load(there, like)))
            else:
                for channel in range(channels):
                    at = channel * extent.size
                    store(there + at, read(there + at, like) + read(lane + at, like))
        store(sums + row * BYTES, splat(like - like))
