"""The order in which kernels visit the matrices of edges, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.kernels.couplings import Integers
from equivariant.nn.gaunt.kernels.lanes import PIECE

ROWS = 5  # of a result that are summed at once; with four registers each, they fill a machine


@dataclass(frozen=True, eq=False)
class EdgeTerms:
    """The form Σ_e Σ value · x[row] h_e[filter] y[column], and what filters are made of.

    h_e[f] is the number ``harmonic[f]`` of an edge's harmonics times the number ``weight[f]`` of
    its weights.

    Args:
        row: Places in x, shape (terms,).
        filter: Places in h.
        column: Places in y.
        value: Coefficients, float64.
        sizes: Components of x, of h and of y.
        harmonic: Shape (filters,).
        weight: Shape (filters,).
    """

    row: Integers
    filter: Integers
    column: Integers
    value: NDArray[np.float64]
    sizes: tuple[int, int, int]
    harmonic: Integers
    weight: Integers

    def turned(self) -> EdgeTerms:
        """The same form with x and y exchanged."""
        sizes = self.sizes[2], self.sizes[1], self.sizes[0]
        rest = self.value, sizes, self.harmonic, self.weight
        return EdgeTerms(self.column, self.filter, self.row, *rest)


class Filters(NamedTuple):
    """Which harmonic and which weight make each number of a filter; how many there are of each."""

    harmonic: Integers
    weight: Integers
    harmonics: int
    weights: int


class Matrices(NamedTuple):
    """Blocks of rows of a result, and the list of entries of the matrices that they need.

    Block k has ``heights[k]`` rows from ``firsts[k]`` on; it takes the rows ``rows`` of the input
    from ``starts[k]`` to ``starts[k + 1]``, and the entries of the matrix from ``entries[k]`` on.
    Entry p is the sum of coefficients times filters from ``terms[p]`` to ``terms[p + 1]``.
    ``filters`` are offsets in bytes.
    """

    heights: Integers
    firsts: Integers
    starts: Integers
    rows: Integers
    entries: Integers
    terms: Integers
    filters: Integers
    coefficients: NDArray[Any]


class Pairs(NamedTuple):
    """Tiles of pairs of rows of both features, and which pairs make each number of a filter.

    ``tiles`` has a row per tile: four rows of x, and as many of y as make a register of pairs.
    ``places`` are offsets in bytes.
    """

    tiles: Integers
    terms: Integers
    places: Integers
    coefficients: NDArray[Any]


def matrices(terms: EdgeTerms, dtype: np.dtype[Any]) -> Matrices:
    """How y is made of x.

    Args:
        terms: The form.
        dtype: Of the coefficients.

    Returns:
        The lists; every row of y is in one block.
    """
    present = np.zeros((terms.sizes[2], terms.sizes[0]), bool)
    present[terms.column, terms.row] = True
    entry = np.full(present.shape, -1)
    heights, firsts, rows, starts, entries = [], [], [], [0], [0]
    for first, last in _blocks(present):
        taken = np.nonzero(present[first:last].any(0))[0]
        number = np.arange(len(taken) * (last - first)).reshape(len(taken), last - first)
        entry[first:last, taken] = entries[-1] + number.T
        heights.append(last - first)
        firsts.append(first)
        rows += taken.tolist()
        starts.append(len(rows))
        entries.append(entries[-1] + number.size)
    place = entry[terms.column, terms.row]
    order = np.argsort(place, kind="stable")
    count = PIECE // dtype.itemsize
    whole = (entries[-1] + count - 1) // count * count
    ends = np.searchsorted(place[order], np.arange(whole + 1))
    return Matrices(
        np.array(heights), np.array(firsts), np.array(starts), np.array(rows, np.int64),
        np.array(entries), ends, terms.filter[order] * PIECE, terms.value[order].astype(dtype),
    )  # fmt: skip


def pairs(terms: EdgeTerms, dtype: np.dtype[Any]) -> Pairs:
    """How the gradient by filters is made of products of rows of x and y.

    Args:
        terms: The form.
        dtype: Of the coefficients.

    Returns:
        The lists, without tiles that no coefficient needs.
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
    ends = np.searchsorted(terms.filter[order], np.arange(terms.sizes[1] + 1))
    return Pairs(
        np.ascontiguousarray(tiles), ends, place[order], terms.value[order].astype(dtype)
    )


def filters(terms: EdgeTerms) -> Filters:
    """What filters are made of, for kernels.

    Args:
        terms: The form.

    Returns:
        The lists.
    """
    harmonics, weights = (int(each.max()) + 1 for each in (terms.harmonic, terms.weight))
    return Filters(terms.harmonic, terms.weight, harmonics, weights)


def _blocks(present: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Ranges of at most ``ROWS`` rows, of nearly one length, that have entries in common."""
    length = len(present)
    apart = [r for r in range(1, length) if not (present[r - 1] & present[r]).any()]
    found = []
    for first, last in pairwise([0, *apart, length]):
        count = -(-(last - first) // ROWS)
        found += list(pairwise(first + (last - first) * part // count for part in range(count + 1)))
    return found
