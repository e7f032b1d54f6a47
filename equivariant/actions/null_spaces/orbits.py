"""Null spaces of conditions between signed permutations: sums over orbits, without solving."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from equivariant.actions.null_spaces.memory import check_memory

Matrices = NDArray[np.float64]
_Moves = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where each axis goes, and with which sign."""


def signed_permutations(matrices: Matrices) -> list[_Moves] | None:
    """Of each matrix where it takes each axis and with which sign; None where one is no such.

    Args:
        matrices: Shape (k, n, n).

    Example:
        >>> signed_permutations(np.array([[[0.0, -1.0], [1.0, 0.0]]]))
        [(array([1, 0]), array([ 1, -1]))]
        >>> signed_permutations(np.array([[[1.0, 1.0], [0.0, 1.0]]])) is None
        True
    """
    size = np.abs(matrices)
    counts = (size == 1.0).astype(np.int64)
    single = (counts.sum(1) == 1).all() and (counts.sum(2) == 1).all()
    if not single or not (size.sum(1) == 1.0).all():
        return None
    rows = size.argmax(1)
    signs = np.take_along_axis(matrices, rows[:, None], 1)[:, 0].astype(np.int64)
    return list(zip(rows, signs, strict=True))


def orbit_sums(left: list[_Moves], right: list[_Moves]) -> Matrices:
    """Orthonormal basis of the solutions W of A_i W = W B_i, all of them signed permutations.

        s_i W_{ij} = t_j W_{a(i) b(j)},   A e_i = s_i e_{a(i)},   B e_j = t_j e_{b(j)}

    Entries are joined with those that they go to. Every orbit in which no entry meets its own
    negative gives one map: the signed sum of its entries.

    Args:
        left: A_i as :func:`signed_permutations` has them.
        right: B_i.

    Returns:
        Shape (outputs * inputs, rank).

    Raises:
        ConventionError: It would take more than 4 GiB.

    Example:
        >>> shift = signed_permutations(np.eye(3)[[2, 0, 1]][None])
        >>> orbit_sums(shift, shift).shape
        (9, 3)
    """
    outs, ins = len(left[0][0]), len(right[0][0])
    size = outs * ins
    check_memory(
        2 * size * (len(left) + 1), "orbits", argument="act_in",
        advice="Split the action into a sum of smaller ones.",
    )  # fmt: skip
    here = np.arange(size)
    joined = _steps(left, right)
    count, label = connected_components(joined, directed=False)
    positive, negative = label[:size], label[size:]
    alive = positive != negative
    first = np.full(count, size)
    np.minimum.at(first, positive, here)
    np.minimum.at(first, negative, here)
    # Of an orbit and its mirror image the one that holds its first entry with a plus is taken.
    chosen = np.flatnonzero(alive & (first[positive] == here))
    rank = len(chosen)
    check_memory(
        size * max(rank, 1), f"a basis of {rank} maps of {size:,} entries", argument="act_in",
        advice="Split the action into a sum of smaller ones.",
    )  # fmt: skip
    column = np.full(count, -1)
    column[positive[chosen]] = np.arange(rank)
    basis = np.zeros((size, rank))
    for sign, of in ((1.0, positive), (-1.0, negative)):
        member = alive & (column[of] >= 0)
        basis[here[member], column[of[member]]] = sign
    lengths = np.sqrt(np.square(basis).sum(0))
    found: Matrices = basis / lengths
    return found


def _steps(left: list[_Moves], right: list[_Moves]) -> sparse.coo_matrix:
    """Which entries, and negatives of entries behind them, are joined by one condition."""
    outs, ins = len(left[0][0]), len(right[0][0])
    size = outs * ins
    here = np.arange(size)
    ends, starts = [], []
    for (a, s), (b, t) in zip(left, right, strict=True):
        there = (a[:, None] * ins + b[None, :]).ravel()
        flipped = (s[:, None] * t[None, :]).ravel() < 0
        starts += [here, here + size]  # the second copy of an entry is its negative
        ends += [there + size * flipped, there + size * ~flipped]
    ones = np.ones(2 * size * len(left), dtype=np.int8)
    where = np.concatenate(starts), np.concatenate(ends)
    return sparse.coo_matrix((ones, where), shape=(2 * size, 2 * size))
