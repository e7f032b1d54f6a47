"""Rows of features that edges have, and numbers of edges, between memory and blocks of lanes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.compilation import kernel
from equivariant.nn.gaunt.compiled.instructions.packing import join, split
from equivariant.nn.gaunt.compiled.instructions.register_tiles import read_integer, splat_register
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import BYTES, PIECE, read, store


class Feature(NamedTuple):
    """Rows in memory: row n starts at ``address + n * stride``, in bytes.

    It has ``width`` components in ``records`` blocks, see :mod:`packing`, listed at ``blocks``,
    or no blocks where kernels work on it in place. Edge e has the row whose number is the int64
    at ``numbers + 8 * e``, or, where ``numbers`` is 0, row e; there are ``rows``.
    """

    address: int
    stride: int
    width: int
    blocks: int
    records: int
    numbers: int
    rows: int


class EdgeFactors(NamedTuple):
    """Harmonics and weights of edges, or their gradients, 0 where not wanted."""

    harmonics: int
    harmonics_stride: int
    weights: int
    weights_stride: int


class EdgeSpan(NamedTuple):
    """Edges, channels of ``size`` bytes, and blocks of rows that a sweep takes."""

    first: int
    last: int
    channels: int
    size: int
    first_block: int
    last_block: int


class RowPlace(NamedTuple):
    """Where a row is worked on: components ``step`` apart, blocks of lanes ``block`` apart."""

    address: int
    step: int
    block: int


@kernel
def memory_for(size: int) -> NDArray[np.uint8]:
    """Memory with anything in it, for :func:`start` and :func:`hold` of :mod:`channel_blocks`."""
    return np.empty(size + BYTES, np.uint8)


@kernel
def wipe(address: int, size: int, like: Any) -> None:
    """Zeros in whole registers."""
    for offset in range(0, size, PIECE):
        store(address + offset, splat_register(like - like))


@kernel
def row_bytes(feature: Feature, span: EdgeSpan) -> int:
    """Bytes that one row of features takes once it is cut into blocks of lanes."""
    lanes = BYTES // span.size
    return (span.channels + lanes - 1) // lanes * feature.width * BYTES


@kernel
def scratch_bytes(feature: Feature, span: EdgeSpan) -> int:
    """Memory that a feature needs besides its own: none, a row, or all rows."""
    if feature.records == 0:
        return 0
    return row_bytes(feature, span) * (feature.rows if feature.numbers else 1)


@kernel
def unpack(target: int, feature: Feature, span: EdgeSpan, row: int, like: Any) -> None:
    """One row into blocks of lanes."""
    lanes = BYTES // span.size
    for first in range(0, span.channels, lanes):
        channels = min(lanes, span.channels - first)
        lane = target + first // lanes * feature.width * BYTES
        for block in range(feature.blocks, feature.blocks + 24 * feature.records, 24):
            width = read_integer(block + 16)
            record = feature.address + row * feature.stride + read_integer(block)
            record += first * width * span.size
            split(record, lane + read_integer(block + 8) * BYTES, width, channels, span.size, like)


@kernel
def pack(source: int, feature: Feature, span: EdgeSpan, row: int, like: Any) -> None:
    """One row out of blocks of lanes."""
    lanes = BYTES // span.size
    for first in range(0, span.channels, lanes):
        channels = min(lanes, span.channels - first)
        lane = source + first // lanes * feature.width * BYTES
        for block in range(feature.blocks, feature.blocks + 24 * feature.records, 24):
            width = read_integer(block + 16)
            record = feature.address + row * feature.stride + read_integer(block)
            record += first * width * span.size
            join(lane + read_integer(block + 8) * BYTES, record, width, channels, span.size, like)


@kernel
def unpack_all(space: int, feature: Feature, span: EdgeSpan, like: Any) -> None:
    """Rows that several edges may share, once for all of them."""
    if feature.records and feature.numbers:
        for row in range(feature.rows):
            unpack(space + row * row_bytes(feature, span), feature, span, row, like)


@kernel
def pack_all(space: int, feature: Feature, span: EdgeSpan, like: Any) -> None:
    """The inverse of :func:`unpack_all`."""
    if feature.records and feature.numbers:
        for row in range(feature.rows):
            pack(space + row * row_bytes(feature, span), feature, span, row, like)


@kernel
def row_of(feature: Feature, edge: int) -> int:
    """Number of the row that an edge has."""
    if feature.numbers:
        number: int = read_integer(feature.numbers + 8 * edge)
        return number
    return edge


@kernel
def place_of(space: int, feature: Feature, span: EdgeSpan, edge: int) -> RowPlace:
    """Where the row of an edge is worked on."""
    if feature.records == 0:
        address = feature.address + row_of(feature, edge) * feature.stride
        return RowPlace(address, span.channels * span.size, BYTES)
    length = row_bytes(feature, span)
    row = row_of(feature, edge) if feature.numbers else 0
    return RowPlace(space + row * length, BYTES, feature.width * BYTES)


@kernel
def brought(space: int, feature: Feature, span: EdgeSpan, edge: int, like: Any) -> RowPlace:
    """:func:`place_of`, after the edge's row has been unpacked there if it has one of its own."""
    if feature.records and not feature.numbers:
        unpack(space, feature, span, edge, like)
    return place_of(space, feature, span, edge)


@kernel
def spread(
    target: int, source: int, stride: int, width: int, number: int, size: int, like: Any
) -> None:
    """Numbers of some edges with edges in lanes; what is beyond them is 0."""
    wipe(target, width * PIECE, like)
    for edge in range(number):
        for place in range(width):
            value = read(source + edge * stride + place * size, like)
            store(target + place * PIECE + edge * size, value)


@kernel
def collect(
    source: int, target: int, stride: int, width: int, number: int, size: int, like: Any
) -> None:
    """The inverse of :func:`spread`."""
    for edge in range(number):
        for place in range(width):
            value = read(source + place * PIECE + edge * size, like)
            store(target + edge * stride + place * size, value)
