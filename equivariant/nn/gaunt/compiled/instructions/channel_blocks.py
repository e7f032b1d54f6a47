"""Where kernels find one block of an operand's channels, and how results get back to memory.

A *block of lanes* is a matrix: a row per coefficient, BYTES wide, in whose lanes (the places of a
vector register) stand channels of one batch entry, or few channels of several entries. An operand
whose rows in memory already look like that ("ir_mul" with whole vectors) is used where it lies;
every other is copied into scratch memory by :func:`fetch` and back by :func:`settle`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.compilation import kernel
from equivariant.nn.gaunt.compiled.instructions.packing import Records, fill, spill
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import BYTES, read, splat, store


class Operand(NamedTuple):
    """A feature in memory: entry e starts at ``address + e * stride``, both in bytes.

    ``blocks`` as in :mod:`packing`, ``rows`` coefficients in all; ``shared`` if one record serves
    all channels; ``direct`` where rows hold whole vectors, so that kernels work on them in place.
    """

    address: int
    stride: int
    rows: int
    shared: bool
    direct: bool
    blocks: Records


class Extent(NamedTuple):
    """Batch entries from ``first`` up to ``last``, with ``channels`` channels of ``size`` bytes.

    A block of lanes holds ``group`` entries, or a part of the channels of one.
    """

    first: int
    last: int
    channels: int
    group: int
    size: int


@kernel
def workspace(rows: int) -> NDArray[np.uint8]:
    """Zeros for rows of lanes."""
    return np.zeros((rows + 1) * BYTES, np.uint8)


@kernel
def start(memory: NDArray[np.uint8]) -> int:
    """Address of the first row, a multiple of ``BYTES``."""
    return (memory.ctypes.data + BYTES - 1) // BYTES * BYTES


@kernel
def hold(memory: NDArray[np.uint8]) -> None:
    """Keep scratch memory alive until here.

    Kernels know it by its address alone (:func:`start`), which the compiler does not connect with
    the array: it would free the array after its last use by name, that is, before the loops that
    work in it. To write one number after them is such a use.
    """
    memory[0] = 0


@kernel
def place(scratch: int, operand: Operand, extent: Extent, entry: int, first: int) -> int:
    """Where kernels work on the block that starts at an entry and a channel."""
    if operand.direct:
        return operand.address + entry * operand.stride + first * extent.size
    return scratch


@kernel
def fetch(scratch: int, operand: Operand, extent: Extent, entry: int, first: int, like: Any) -> int:
    """:func:`place`, after the block's numbers have been copied there from memory."""
    if not operand.direct:
        entries = min(extent.group, extent.last - entry)
        channels = min(BYTES // extent.size, extent.channels - first)
        source = operand.address + entry * operand.stride
        fill(
            scratch, source, operand.stride, operand.blocks, operand.shared,
            entries, first, channels, extent.size, like,
        )  # fmt: skip
    return place(scratch, operand, extent, entry, first)


@kernel
def settle(
    scratch: int, operand: Operand, extent: Extent, entry: int, first: int, like: Any
) -> None:
    """Bring a result from where kernels worked into memory; shared ones are summed up there."""
    if not operand.direct:
        entries = min(extent.group, extent.last - entry)
        channels = min(BYTES // extent.size, extent.channels - first)
        target = operand.address + entry * operand.stride
        spill(
            scratch, target, operand.stride, operand.blocks, operand.shared,
            entries, first, channels, extent.size, like,
        )  # fmt: skip


@kernel
def settle_sum(scratch: int, operand: Operand, extent: Extent, first: int, like: Any) -> None:
    """Bring a result that all entries share into memory: the sum over entries in lanes."""
    if not operand.direct:
        channels = min(BYTES // extent.size, extent.channels - first)
        for row in range(operand.rows):
            there = operand.address + operand.blocks[row, 0] + first * extent.size
            for channel in range(channels):
                total = like - like
                for entry in range(extent.group):
                    lane = (entry * channels + channel) * extent.size
                    total += read(scratch + row * BYTES + lane, like)
                store(there + channel * extent.size, total)


@kernel
def clear(address: int, operand: Operand, like: Any) -> None:
    """Zeros where a block is about to be summed."""
    for row in range(operand.rows):
        offset = operand.blocks[row, 0] if operand.direct else row * BYTES
        store(address + offset, splat(like - like))
