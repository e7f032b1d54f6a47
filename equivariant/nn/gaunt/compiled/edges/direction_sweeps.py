"""Harmonics of directions and their gradients, in double precision with vectors in lanes.

A degree is made of the one below and of the direction, see :class:`DirectionHarmonics`; the
coefficients of all steps are one list of (place below, axis, place above), sorted by the last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.compilation import kernel
from equivariant.nn.gaunt.compiled.instructions.channel_blocks import hold
from equivariant.nn.gaunt.compiled.instructions.register_tiles import load_register, splat_register
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import (
    PIECE,
    fused,
    multiply,
    read,
    store,
)

LANES = PIECE // 8
Terms = NDArray[np.int64]
Doubles = NDArray[Any]


@kernel
def evaluate_directions(
    vectors: Doubles, harmonics: Doubles, terms: Terms, values: Doubles, scales: Doubles,
    smallest: float,
) -> None:  # fmt: skip
    """Harmonics of every row of vectors; those with no component of ``smallest`` have none."""
    size = scales.shape[0]
    memory = np.empty((size + 4) * LANES + LANES, np.float64)
    here = (memory.ctypes.data + PIECE - 1) // PIECE * PIECE
    unit = here + size * PIECE
    for first in range(0, vectors.shape[0], LANES):
        count = min(LANES, vectors.shape[0] - first)
        normalize(vectors, first, count, unit, smallest)
        climb(here, unit, terms, values, size)
        for lane in range(count):
            for place in range(size):
                value = read(here + place * PIECE + lane * 8, 0.0)
                harmonics[first + lane, place] = value * scales[place]
    hold(memory)


@kernel
def derive_directions(
    vectors: Doubles, gradient: Doubles, result: Doubles, terms: Terms, values: Doubles,
    scales: Doubles, smallest: float,
) -> None:  # fmt: skip
    """Gradients by vectors, given those by harmonics."""
    size = scales.shape[0]
    memory = np.empty((2 * size + 7) * LANES + LANES, np.float64)
    here = (memory.ctypes.data + PIECE - 1) // PIECE * PIECE
    unit = here + size * PIECE
    back = unit + 4 * PIECE
    toward = back + size * PIECE
    for first in range(0, vectors.shape[0], LANES):
        count = min(LANES, vectors.shape[0] - first)
        normalize(vectors, first, count, unit, smallest)
        climb(here, unit, terms, values, size)
        for place in range(size):
            store(back + place * PIECE, splat_register(0.0))
            for lane in range(count):
                value = gradient[first + lane, place] * scales[place]
                store(back + place * PIECE + lane * 8, value)
        descend(here, unit, back, toward, terms, values, size)
        for lane in range(count):
            along = 0.0
            for axis in range(3):
                place = axis * PIECE + lane * 8
                along += read(unit + place, 0.0) * read(toward + place, 0.0)
            for axis in range(3):
                place = axis * PIECE + lane * 8
                across = read(toward + place, 0.0) - along * read(unit + place, 0.0)
                value = across * read(unit + 3 * PIECE + lane * 8, 0.0)
                result[first + lane, axis] = value
    hold(memory)


@kernel
def normalize(vectors: Doubles, first: int, count: int, unit: int, smallest: float) -> None:
    """Unit vectors and inverse lengths in lanes, 0 where there is no direction."""
    for axis in range(4):
        store(unit + axis * PIECE, splat_register(0.0))
    for lane in range(count):
        x = np.float64(vectors[first + lane, 0])
        y = np.float64(vectors[first + lane, 1])
        z = np.float64(vectors[first + lane, 2])
        largest = max(abs(x), abs(y), abs(z))
        if largest >= smallest and not np.isnan(x + y + z):
            x, y, z = x / largest, y / largest, z / largest
            inverse = 1.0 / np.sqrt(x * x + y * y + z * z)
            store(unit + lane * 8, x * inverse)
            store(unit + PIECE + lane * 8, y * inverse)
            store(unit + 2 * PIECE + lane * 8, z * inverse)
            store(unit + 3 * PIECE + lane * 8, inverse / largest)


@kernel
def climb(here: int, unit: int, terms: Terms, values: Doubles, size: int) -> None:
    """Harmonics with Σ_m Y² = 2l+1, degree by degree."""
    store(here, splat_register(1.0))
    for axis in range(min(3, size - 1)):
        root = splat_register(np.sqrt(3.0))
        store(here + (axis + 1) * PIECE, multiply(root, load_register(unit + axis * PIECE, 0.0)))
    for place in range(4, size):
        store(here + place * PIECE, splat_register(0.0))
    for term in range(terms.shape[0]):
        below = load_register(here + terms[term, 0] * PIECE, 0.0)
        axis = load_register(unit + terms[term, 1] * PIECE, 0.0)
        above = here + terms[term, 2] * PIECE
        pair = multiply(below, axis)
        total = load_register(above, 0.0)
        store(above, fused(splat_register(values[term]), pair, total))


@kernel
def descend(
    here: int, unit: int, back: int, toward: int, terms: Terms, values: Doubles, size: int
) -> None:
    """The transpose of :func:`climb`, from gradients at ``back`` to those by unit vectors."""
    for axis in range(3):
        store(toward + axis * PIECE, splat_register(0.0))
    for term in range(terms.shape[0] - 1, -1, -1):
        below, axis = terms[term, 0] * PIECE, terms[term, 1] * PIECE
        above = load_register(back + terms[term, 2] * PIECE, 0.0)
        given = multiply(splat_register(values[term]), above)
        total = load_register(back + below, 0.0)
        store(back + below, fused(given, load_register(unit + axis, 0.0), total))
        total = load_register(toward + axis, 0.0)
        store(toward + axis, fused(given, load_register(here + below, 0.0), total))
    for axis in range(min(3, size - 1)):
        given = load_register(back + (axis + 1) * PIECE, 0.0)
        total = load_register(toward + axis * PIECE, 0.0)
        store(toward + axis * PIECE, fused(splat_register(np.sqrt(3.0)), given, total))
