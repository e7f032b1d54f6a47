"""Compiled loops on several threads: each takes a part of the batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import torch

from equivariant.nn.gaunt.compiled.instructions.channel_blocks import Extent, Operand
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import BYTES

SMALLEST = 100_000  # terms times blocks of lanes for which a thread pays
_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_pools.clear)


def number_of_parts(extent: Extent, terms: int, *, single: bool) -> int:
    """How many threads a sweep is worth, at most ``torch.get_num_threads()``.

    Args:
        extent: Entries and channels.
        terms: Coefficients that are not zero.
        single: Whether the rows are the channels of one entry, which :func:`cut` can cut.

    Returns:
        At least 1.

    Example:
        >>> number_of_parts(Extent(0, 4, 64, 1, 4), 10, single=False)
        1
    """
    lanes = BYTES // extent.size
    entries = (extent.last - extent.first + extent.group - 1) // extent.group
    blocks = entries * ((extent.channels + lanes - 1) // lanes)
    units = blocks if single else entries
    return max(1, min(torch.get_num_threads(), units, blocks * terms // SMALLEST))


def in_parts(function: Callable[..., None], parts: list[tuple[Any, ...]]) -> None:
    """Call a compiled function for each list of arguments, all at once.

    Args:
        function: Releases the interpreter's lock; parts write to different places.
        parts: Arguments of each call.
    """
    if len(parts) == 1:
        function(*parts[0])
        return
    operands, lists, extent = parts[0]
    function(operands, lists, (0, 0, *extent[2:]))  # compiled once, not by every thread
    count = len(parts)
    if count not in _pools:
        _pools[count] = ThreadPoolExecutor(count - 1, thread_name_prefix="gaunt")
    waiting = [_pools[count].submit(function, *part) for part in parts[1:]]
    function(*parts[0])
    for each in waiting:
        each.result()


def cut(operands: list[Operand], extent: Extent, count: int) -> list[tuple[list[Operand], Extent]]:
    """Cut a sweep into nearly equal parts.

    Args:
        operands: All operands. With one entry, of single records, its channels are cut; otherwise
            the entries.
        extent: All entries.
        count: Number of parts.

    Returns:
        Operands and extent of every part that is not empty.
    """
    if extent.last - extent.first > 1:
        blocks = (extent.last - extent.first + extent.group - 1) // extent.group
        edges = [blocks * part // count * extent.group for part in range(count + 1)]
        return [
            (operands, extent._replace(first=first, last=min(last, extent.last)))
            for first, last in pairwise(edges)
            if first < last
        ]
    lanes = BYTES // extent.size
    blocks = (extent.channels + lanes - 1) // lanes
    edges = [min(blocks * part // count * lanes, extent.channels) for part in range(count + 1)]
    return [
        (
            [_moved(operand, first * extent.size) for operand in operands],
            extent._replace(channels=last - first),
        )
        for first, last in pairwise(edges)
        if first < last
    ]


def _moved(operand: Operand, offset: int) -> Operand:
    """The operand from a later channel on."""
    if operand.shared:
        return operand
    return operand._replace(address=operand.address + offset * operand.rows)
