"""Convolutions edge by edge: gather a row, multiply it by the edge's matrix, add it up.

Edges are taken as many at a time as a register has lanes. Their matrices are made with edges in
lanes and then transposed, so that for each edge the entries lie in the order in which they are
used; they never leave the cache. Arguments are plain tuples, see :mod:`product.sweeps`.
"""

from __future__ import annotations

from typing import Any

from equivariant.nn.gaunt.compiled.compilation import kernel
from equivariant.nn.gaunt.compiled.edges.rows import (
    EdgeFactors,
    EdgeSpan,
    Feature,
    RowPlace,
    brought,
    collect,
    memory_for,
    pack,
    pack_all,
    place_of,
    scratch_bytes,
    spread,
    unpack_all,
    wipe,
)
from equivariant.nn.gaunt.compiled.edges.visiting_order import Filters, MatrixLists, PairLists
from equivariant.nn.gaunt.compiled.instructions.channel_blocks import hold, start
from equivariant.nn.gaunt.compiled.instructions.register_tiles import (
    combine_rows,
    load_register,
    pair_sums,
    read_integer,
    splat_register,
    transpose,
)
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import (
    BYTES,
    PIECE,
    fused,
    multiply,
    read,
    store,
)

EdgeOperands = tuple[tuple[Any, ...], ...]
EdgeArguments = tuple[Any, ...]
EdgeNumbers = tuple[int, int, int, int, int, int]


@kernel
def multiply_edges(to: EdgeOperands, lists: EdgeArguments, numbers: EdgeNumbers) -> None:
    """y_t += x_s M_e. Rows of y that several edges may share must be zeros where direct."""
    x = Feature(*to[0])
    y = Feature(*to[1])
    factors = EdgeFactors(*to[2])
    made_of = Filters(*lists[0])
    plan = MatrixLists(*lists[1])
    span = EdgeSpan(*numbers)
    like = lists[-1]
    edges = PIECE // span.size
    matrix_bytes = plan.entries * span.size
    scratch_x = scratch_bytes(x, span)
    scratch_y = scratch_bytes(y, span)
    filters, entries = filter_bytes(made_of), plan.entries * PIECE
    memory = memory_for(scratch_x + scratch_y + filters + entries + edges * PIECE)
    space_x = start(memory)
    space_y = space_x + scratch_x
    space_filters = space_y + scratch_y
    space_entries = space_filters + filters
    space_made = space_filters + filters - made_of.filters * PIECE
    wipe(space_x, scratch_x + scratch_y, like)
    unpack_all(space_x, x, span, like)
    for first in range(span.first, span.last, edges):
        number = min(edges, span.last - first)
        make_filters(space_filters, factors, made_of, first, number, span.size, like)
        make_matrices(space_made, space_entries, plan, span, like)
        for edge in range(first, first + number):
            matrix = space_entries + (edge - first) * matrix_bytes
            here = brought(space_x, x, span, edge, like)
            there = place_of(space_y, y, span, edge)
            apply(here, there, matrix, plan, span, y.numbers == 0, like)
            if y.records and not y.numbers:
                pack(space_y, y, span, edge, like)
    pack_all(space_y, y, span, like)
    hold(memory)


@kernel
def derive_edges(to: EdgeOperands, lists: EdgeArguments, numbers: EdgeNumbers) -> None:
    """Gradients by x, where its address is not 0, and by the factors of filters, given that by y.

    x_s += M_e g_t as in :func:`multiply_edges`, and h_eb = Σ_ac T_bac Σ_channels x_sa g_tc.
    """
    x = Feature(*to[0])
    g = Feature(*to[1])
    factors = EdgeFactors(*to[2])
    to_x = Feature(*to[3])
    to_factors = EdgeFactors(*to[4])
    made_of = Filters(*lists[0])
    plan = MatrixLists(*lists[1])
    products = PairLists(*lists[2])
    span = EdgeSpan(*numbers)
    like = lists[-1]
    edges = PIECE // span.size
    matrix_bytes = plan.entries * span.size
    scratch_x = scratch_bytes(x, span)
    scratch_g = scratch_bytes(g, span)
    scratch_to = scratch_bytes(to_x, span) if to_x.address else 0
    scratch = scratch_x + scratch_g + scratch_to
    filters, entries = filter_bytes(made_of), plan.entries * PIECE
    pairs = products.tiles_in_all * PIECE
    memory = memory_for(scratch + 2 * filters + entries + (2 * pairs + PIECE) * edges)
    space_x = start(memory)
    space_g = space_x + scratch_x
    space_to = space_g + scratch_g
    space_filters = space_to + scratch_to
    space_to_filters = space_filters + filters
    space_entries = space_to_filters + filters
    space_pairs = space_entries + entries + edges * PIECE
    space_turned = space_pairs + pairs * edges
    space_made = space_filters + filters - made_of.filters * PIECE
    wipe(space_x, scratch, like)
    unpack_all(space_x, x, span, like)
    unpack_all(space_g, g, span, like)
    for first in range(span.first, span.last, edges):
        number = min(edges, span.last - first)
        make_filters(space_filters, factors, made_of, first, number, span.size, like)
        if to_x.address:
            make_matrices(space_made, space_entries, plan, span, like)
        for edge in range(first, first + number):
            matrix = space_entries + (edge - first) * matrix_bytes
            here_x = brought(space_x, x, span, edge, like)
            here_g = brought(space_g, g, span, edge, like)
            if to_x.address:
                there = place_of(space_to, to_x, span, edge)
                apply(here_g, there, matrix, plan, span, to_x.numbers == 0, like)
                if to_x.records and not to_x.numbers:
                    pack(space_to, to_x, span, edge, like)
            correlate(here_x, here_g, space_pairs + (edge - first) * pairs, products, span, like)
        transpose_tiles(space_pairs, space_turned, pairs, span.size, like)
        unmake_filters(
            space_turned, space_filters, space_to_filters, made_of, products, span.size, like
        )
        settle_factors(space_to_filters, to_factors, made_of, first, number, span.size, like)
    if to_x.address:
        pack_all(space_to, to_x, span, like)
    hold(memory)


@kernel
def filter_bytes(made_of: Filters) -> int:
    """Memory for harmonics, weights and filters, with edges in lanes."""
    return (made_of.harmonics + made_of.weights + made_of.filters) * PIECE


@kernel
def make_filters(
    space: int,
    factors: EdgeFactors,
    made_of: Filters,
    first: int,
    number: int,
    size: int,
    like: Any,
) -> None:
    """Harmonics, weights and their products, of some edges."""
    weights = space + made_of.harmonics * PIECE
    filters = weights + made_of.weights * PIECE
    source = factors.harmonics + first * factors.harmonics_stride
    spread(space, source, factors.harmonics_stride, made_of.harmonics, number, size, like)
    source = factors.weights + first * factors.weights_stride
    spread(weights, source, factors.weights_stride, made_of.weights, number, size, like)
    for place in range(made_of.filters):
        one = load_register(space + read_integer(made_of.harmonic + 8 * place) * PIECE, like)
        other = load_register(weights + read_integer(made_of.weight + 8 * place) * PIECE, like)
        store(filters + place * PIECE, multiply(one, other))


@kernel
def make_matrices(space: int, entries: int, plan: MatrixLists, span: EdgeSpan, like: Any) -> None:
    """Entries of the matrices of some edges, for the blocks of rows of a span.

    Filters are at ``space``.
    """
    count = PIECE // span.size
    length = plan.entries * span.size
    square = entries + length * count
    low = entry_of(plan, span.first_block) // count * count
    last = read_integer(plan.terms + 8 * low)
    for first in range(low, entry_of(plan, span.last_block), count):
        for place in range(first, first + count):
            total = splat_register(like - like)
            term = last
            last = read_integer(plan.terms + 8 * place + 8)
            while term < last:
                factor = load_register(space + read_integer(plan.filters + 8 * term), like)
                coefficient = read(plan.coefficients + term * span.size, like)
                total = fused(splat_register(coefficient), factor, total)
                term += 1
            store(square + (place - first) * PIECE, total)
        transpose(square, PIECE, entries + first * span.size, length, like)


@kernel
def entry_of(plan: MatrixLists, block: int) -> int:
    """Where the entries of a block start."""
    if block < plan.blocks_in_all:
        number: int = read_integer(plan.blocks + 40 * block + 32)
        return number
    return plan.entries


@kernel
def apply(
    here: RowPlace,
    there: RowPlace,
    matrix: int,
    plan: MatrixLists,
    span: EdgeSpan,
    fresh: bool,
    like: Any,
) -> None:
    """Rows of a result from rows of a feature and one matrix, for all channels."""
    lanes = BYTES // span.size
    for first in range(0, span.channels, lanes):
        left = min(BYTES, ((span.channels - first) * span.size + PIECE - 1) // PIECE * PIECE)
        source = here.address + first // lanes * here.block
        target = there.address + first // lanes * there.block
        done = 0
        while done < left:
            pieces = (left - done) // PIECE
            pieces = 4 if pieces >= 4 else min(pieces, 2)
            for number in range(span.first_block, span.last_block):
                block = plan.blocks + 40 * number
                apply_block(
                    matrix + read_integer(block + 32) * span.size,
                    source + done, plan.rows + 8 * read_integer(block + 16),
                    read_integer(block + 24), here.step,
                    target + done + read_integer(block + 8) * there.step, there.step, fresh,
                    like, read_integer(block), pieces,
                )  # fmt: skip
            done += pieces * PIECE


@kernel
def apply_block(
    matrix: int, source: int, places: int, count: int, step: int, target: int, there: int,
    fresh: bool, like: Any, height: int, pieces: int,
) -> None:  # fmt: skip
    """One block of rows in registers; see :func:`combine_rows`.

    Every call is written out with constants for the height and width of the block: only then does
    the compiler unroll the loops over them and keep all sums in registers. A call with variables
    would work on arrays in memory, several times slower; fifteen sizes are the price.
    """
    if pieces == 4:
        if height == 5:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 5, 4)
        elif height == 4:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 4, 4)
        elif height == 3:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 3, 4)
        elif height == 2:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 2, 4)
        else:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 1, 4)
    elif pieces == 2:
        if height == 5:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 5, 2)
        elif height == 4:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 4, 2)
        elif height == 3:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 3, 2)
        elif height == 2:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 2, 2)
        else:
            combine_rows(matrix, source, places, count, step, target, there, fresh, like, 1, 2)
    elif height == 5:
        combine_rows(matrix, source, places, count, step, target, there, fresh, like, 5, 1)
    elif height == 4:
        combine_rows(matrix, source, places, count, step, target, there, fresh, like, 4, 1)
    elif height == 3:
        combine_rows(matrix, source, places, count, step, target, there, fresh, like, 3, 1)
    elif height == 2:
        combine_rows(matrix, source, places, count, step, target, there, fresh, like, 2, 1)
    else:
        combine_rows(matrix, source, places, count, step, target, there, fresh, like, 1, 1)


@kernel
def correlate(
    x: RowPlace, y: RowPlace, target: int, plan: PairLists, span: EdgeSpan, like: Any
) -> None:
    """Products of rows of two features, summed over channels."""
    lanes = BYTES // span.size
    tile_bytes = 8 * (4 + PIECE // span.size // 4)
    for first in range(0, span.channels, lanes):
        pieces = (min(lanes, span.channels - first) * span.size + PIECE - 1) // PIECE
        here_x = x.address + first // lanes * x.block
        here_y = y.address + first // lanes * y.block
        for number in range(plan.tiles_in_all):
            pair_sums(
                plan.tiles + number * tile_bytes, here_x, x.step, here_y, y.step,
                target + number * PIECE, pieces, first == 0, like,
            )  # fmt: skip


@kernel
def transpose_tiles(source: int, target: int, length: int, size: int, like: Any) -> None:
    """From pairs of each edge to edges of each pair."""
    count = PIECE // size
    for tile in range(length // PIECE):
        transpose(source + tile * PIECE, length, target + tile * PIECE * count, PIECE, like)


@kernel
def unmake_filters(
    pairs: int, space: int, target: int, made_of: Filters, plan: PairLists, size: int, like: Any
) -> None:
    """Gradients by harmonics and weights, from products of rows; both as filters lie."""
    wipe(target, (made_of.harmonics + made_of.weights) * PIECE, like)
    weights = made_of.harmonics * PIECE
    for place in range(made_of.filters):
        total = splat_register(like - like)
        last = read_integer(plan.terms + 8 * place + 8)
        for term in range(read_integer(plan.terms + 8 * place), last):
            product = load_register(pairs + read_integer(plan.places + 8 * term), like)
            coefficient = read(plan.coefficients + term * size, like)
            total = fused(splat_register(coefficient), product, total)
        one = read_integer(made_of.harmonic + 8 * place) * PIECE
        other = weights + read_integer(made_of.weight + 8 * place) * PIECE
        to_one = fused(load_register(space + other, like), total, load_register(target + one, like))
        to_other = fused(
            load_register(space + one, like), total, load_register(target + other, like)
        )
        store(target + one, to_one)
        store(target + other, to_other)


@kernel
def settle_factors(
    space: int, to: EdgeFactors, made_of: Filters, first: int, number: int, size: int, like: Any
) -> None:
    """Gradients of some edges into memory, where wanted."""
    if to.harmonics:
        target = to.harmonics + first * to.harmonics_stride
        collect(space, target, to.harmonics_stride, made_of.harmonics, number, size, like)
    if to.weights:
        target = to.weights + first * to.weights_stride
        weights = space + made_of.harmonics * PIECE
        collect(weights, target, to.weights_stride, made_of.weights, number, size, like)
