"""The order in which kernels visit the matrices of edges, as flat arrays."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.edges.nonzero_couplings import EdgeTerms
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import PIECE

ROWS = 5  # of a result that are summed at once; with four registers each, they fill a machine


class Filters(NamedTuple):
    """Which harmonic and which weight make each number of a filter: addresses of two lists."""

    harmonic: int
    weight: int
    filters: int
    harmonics: int
    weights: int


class MatrixLists(NamedTuple):
    """How rows of a result are made, in blocks; addresses of lists.

    A block is five integers: how many rows and the first of them, where its list in ``rows``, of
    rows of the input, starts and how long it is, and where its entries of the matrix start. Entry
    p is the sum of ``coefficients`` times ``filters``, offsets in bytes, from number ``terms[p]``
    to ``terms[p + 1]``. ``entries`` is the number of all, rounded up to whole registers.
    """

    blocks: int
    rows: int
    terms: int
    filters: int
    coefficients: int
    entries: int
    blocks_in_all: int


class PairLists(NamedTuple):
    """Tiles of pairs of rows, and how numbers of a filter are made of pairs; addresses of lists.

    A tile is four rows of x and as many of y as make a register of pairs. Number p of a filter is
    the sum of ``coefficients`` times products at ``places``, offsets in bytes, from number
    ``terms[p]`` to ``terms[p + 1]``.
    """

    tiles: int
    terms: int
    places: int
    coefficients: int
    tiles_in_all: int


EdgeLists = tuple[NDArray[Any], ...]


def matrices(terms: EdgeTerms, dtype: np.dtype[Any]) -> tuple[MatrixLists, EdgeLists]:
    """How y is made of x.

    Args:
        terms: The form.
        dtype: Of the coefficients.

    Returns:
        Addresses and the arrays that must live as long. Every row of y is in one block.
    """
    present = np.zeros((terms.sizes[2], terms.sizes[0]), bool)
    present[terms.column, terms.row] = True
    entry = np.full(present.shape, -1)
    blocks, entries = [], 0
    rows: list[NDArray[np.int64]] = []
    for first, last in _blocks(present):
        taken = np.nonzero(present[first:last].any(0))[0]
        number = np.arange(len(taken) * (last - first)).reshape(len(taken), last - first)
        entry[first:last, taken] = entries + number.T
        blocks.append((last - first, first, sum(len(each) for each in rows), len(taken), entries))
        rows.append(taken)
        entries += number.size
    count = PIECE // dtype.itemsize
    whole = (entries + count - 1) // count * count
    place = entry[terms.column, terms.row]
    order = np.argsort(place, kind="stable")
    kept = (
        np.array(blocks), np.concatenate(rows),
        np.searchsorted(place[order], np.arange(whole + 1)),
        terms.filter[order] * PIECE, terms.value[order].astype(dtype),
    )  # fmt: skip
    return MatrixLists._make([*_addresses(kept), whole, len(blocks)]), kept


def pairs(terms: EdgeTerms, dtype: np.dtype[Any]) -> tuple[PairLists, EdgeLists]:
    """How the gradient by filters is made of products of rows of x and y.

    Args:
        terms: The form.
        dtype: Of the coefficients.

    Returns:
        Addresses and the arrays that must live as long. Tiles that no coefficient needs are left
        out.
    """
    count = PIECE // dtype.itemsize
    height = count // 4
    code = terms.row // 4 * terms.sizes[2] + terms.column // height
    names, tile = np.unique(code, return_inverse=True)
    lane = terms.row % 4 + 4 * (terms.column % height)
    place = (tile.reshape(-1) * count + lane) * PIECE
    tops, lefts = names % terms.sizes[2] * height, names // terms.sizes[2] * 4
    tiles = np.concatenate(
        [
            np.minimum(lefts[:, None] + np.arange(4), terms.sizes[0] - 1),
            np.minimum(tops[:, None] + np.arange(height), terms.sizes[2] - 1),
        ],
        axis=1,
    )
    order = np.lexsort((place, terms.filter))
    kept = (
        np.ascontiguousarray(tiles),
        np.searchsorted(terms.filter[order], np.arange(terms.sizes[1] + 1)),
        place[order], terms.value[order].astype(dtype),
    )  # fmt: skip
    return PairLists._make([*_addresses(kept), len(tiles)]), kept


def filters(terms: EdgeTerms) -> tuple[Filters, EdgeLists]:
    """What filters are made of.

    Args:
        terms: The form.

    Returns:
        Addresses and the arrays that must live as long.
    """
    kept = tuple(np.ascontiguousarray(each, np.int64) for each in (terms.harmonic, terms.weight))
    return Filters._make([*_addresses(kept), len(kept[0]), *terms.factors]), kept


def _addresses(arrays: EdgeLists) -> list[int]:
    return [array.ctypes.data for array in arrays]


def _blocks(present: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Ranges of at most ``ROWS`` rows, of nearly one length, that have entries in common."""
    length = len(present)
    apart = [r for r in range(1, length) if not (present[r - 1] & present[r]).any()]
    found = []
    for first, last in pairwise([0, *apart, length]):
        count = -(-(last - first) // ROWS)
        found += list(pairwise(first + (last - first) * part // count for part in range(count + 1)))
    return found
