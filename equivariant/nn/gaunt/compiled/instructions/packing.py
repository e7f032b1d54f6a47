"""Features between memory and blocks of lanes: coefficient by coefficient, channels in lanes.

An operand's row in memory is a list of blocks (offset in bytes, first coefficient, width): one
record of ``width`` numbers per channel, records side by side. e3nn's layout has one block per
irrep; channels-last has one block of width 1 per coefficient. A shared operand has one record
that serves all channels. Rows of a block of lanes lie ``BYTES`` apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.compilation import kernel
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import (
    BYTES,
    PIECE,
    read,
    store,
    unweave,
    weave,
)

Records = NDArray[np.int64]


@kernel
def fill(
    target: int, source: int, stride: int, blocks: Records, shared: bool,
    entries: int, first: int, channels: int, size: int, like: Any,
) -> None:  # fmt: skip
    """Gather ``channels`` channels from ``first`` on of some batch entries into lanes.

    Lane e·channels + c holds channel first + c of entry e. ``size`` is that of a number.
    """
    for block in range(blocks.shape[0]):
        width = blocks[block, 2]
        rows = target + blocks[block, 1] * BYTES
        for entry in range(entries):
            lane = rows + entry * channels * size
            record = source + entry * stride + blocks[block, 0]
            if shared:
                for number in range(width):
                    value = read(record + number * size, like)
                    for channel in range(channels):
                        store(lane + number * BYTES + channel * size, value)
            else:
                split(record + first * width * size, lane, width, channels, size, like)


@kernel
def spill(
    source: int, target: int, stride: int, blocks: Records, shared: bool,
    entries: int, first: int, channels: int, size: int, like: Any,
) -> None:  # fmt: skip
    """The inverse of :func:`fill`; what is shared gains the sum over its channels."""
    for block in range(blocks.shape[0]):
        width = blocks[block, 2]
        rows = source + blocks[block, 1] * BYTES
        for entry in range(entries):
            lane = rows + entry * channels * size
            record = target + entry * stride + blocks[block, 0]
            if shared:
                for number in range(width):
                    value = read(record + number * size, like)
                    for channel in range(channels):
                        value += read(lane + number * BYTES + channel * size, like)
                    store(record + number * size, value)
            else:
                join(lane, record + first * width * size, width, channels, size, like)


@kernel
def split(record: int, lane: int, width: int, channels: int, size: int, like: Any) -> None:
    """Records side by side become rows of lanes."""
    count = PIECE // size
    done = 0
    if width == 1:
        while done + count <= channels:
            unweave(record + done * size, lane + done * size, 1, like)
            done += count
    elif woven(width):
        while done + count <= channels:
            split_piece(record + done * width * size, lane + done * size, width, like)
            done += count
    for channel in range(done, channels):
        for number in range(width):
            value = read(record + (channel * width + number) * size, like)
            store(lane + number * BYTES + channel * size, value)


@kernel
def join(lane: int, record: int, width: int, channels: int, size: int, like: Any) -> None:
    """Rows of lanes become records side by side."""
    count = PIECE // size
    done = 0
    if width == 1:
        while done + count <= channels:
            weave(lane + done * size, record + done * size, 1, like)
            done += count
    elif woven(width):
        while done + count <= channels:
            join_piece(lane + done * size, record + done * width * size, width, like)
            done += count
    for channel in range(done, channels):
        for number in range(width):
            value = read(lane + number * BYTES + channel * size, like)
            store(record + (channel * width + number) * size, value)


@kernel
def woven(width: int) -> bool:
    """Whether records of a width are shuffled: those of irreps, and of (L+1)² in one channel.

    Others are moved number by number: each width costs time at compilation.
    """
    return width in (3, 4, 5, 7, 9, 11, 13, 16)


@kernel
def split_piece(record: int, lane: int, width: int, like: Any) -> None:
    """One register's worth of records, by shuffles; see :func:`woven`."""
    if width == 3:
        unweave(record, lane, 3, like)
    elif width == 4:
        unweave(record, lane, 4, like)
    elif width == 5:
        unweave(record, lane, 5, like)
    elif width == 7:
        unweave(record, lane, 7, like)
    elif width == 9:
        unweave(record, lane, 9, like)
    elif width == 11:
        unweave(record, lane, 11, like)
    elif width == 13:
        unweave(record, lane, 13, like)
    elif width == 16:
        unweave(record, lane, 16, like)


@kernel
def join_piece(lane: int, record: int, width: int, like: Any) -> None:
    """The inverse of :func:`split_piece`."""
    if width == 3:
        weave(lane, record, 3, like)
    elif width == 4:
        weave(lane, record, 4, like)
    elif width == 5:
        weave(lane, record, 5, like)
    elif width == 7:
        weave(lane, record, 7, like)
    elif width == 9:
        weave(lane, record, 9, like)
    elif width == 11:
        weave(lane, record, 11, like)
    elif width == 13:
        weave(lane, record, 13, like)
    elif width == 16:
        weave(lane, record, 16, like)
