"""Null spaces of the conditions on an equivariant map: which of the ways is taken.

The conditions A_i W = W B_i are the rows of one matrix, C vec W = 0, with

    C_i = A_i ⊗ 1 - 1 ⊗ B_iᵀ         (vec W row by row)

Where all A_i and B_i are signed permutations the solutions are sums over orbits. Other conditions
are decomposed while there are few unknowns. Beyond that C is kept sparse and taken apart into
blocks that share no unknown; of a block that is still large random vectors are filtered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from equivariant.actions.null_spaces.decomposed import decomposed
from equivariant.actions.null_spaces.filtered import filtered
from equivariant.actions.null_spaces.memory import check_memory
from equivariant.actions.null_spaces.orbits import orbit_sums, signed_permutations

Matrices = NDArray[np.float64]

DENSE = 256
"""Largest number of unknowns whose conditions are decomposed rather than filtered."""
_ADVICE = "Split the action into a sum of smaller ones, or take tensors of fewer indices."


def null_space(left: Matrices, right: Matrices) -> Matrices:
    """Orthonormal basis of the solutions W of A_i W = W B_i.

    Args:
        left: A_i, shape (conditions, outputs, outputs), float64, finite.
        right: B_i, shape (conditions, inputs, inputs).

    Returns:
        Shape (outputs * inputs, rank), rows in the order of W row by row.

    Raises:
        ConventionError: The singular values have no clear gap, so the rank cannot be told, or an
            array would take more than 4 GiB.

    Example:
        >>> turn = np.array([[[0.0, -1.0], [1.0, 0.0]]])
        >>> null_space(turn, turn).shape
        (4, 2)
    """
    unknowns = left.shape[1] * right.shape[1]
    size = [max(np.abs(a).max(), np.abs(b).max()) for a, b in zip(left, right, strict=True)]
    kept = np.array(size) > 1e-12
    if not kept.any():
        check_memory(unknowns**2, "all maps", argument="act_in", advice=_ADVICE)
        return np.eye(unknowns)
    left, right = left[kept], right[kept]
    moves = signed_permutations(left), signed_permutations(right)
    if moves[0] is not None and moves[1] is not None:
        return orbit_sums(moves[0], moves[1])
    scale = np.array(size)[kept][:, None, None]
    left, right = left / scale, right / scale
    if unknowns <= DENSE:
        outs, ins = np.eye(left.shape[1]), np.eye(right.shape[1])
        rows = [np.kron(a, ins) - np.kron(outs, b.T) for a, b in zip(left, right, strict=True)]
        return decomposed(np.concatenate(rows))
    return _by_blocks(_conditions(left, right))


def _conditions(left: Matrices, right: Matrices) -> sparse.csr_matrix:
    """C, sparse."""
    outs, ins = left.shape[1], right.shape[1]
    entries = int(np.count_nonzero(left)) * ins + int(np.count_nonzero(right)) * outs
    check_memory(3 * entries, "conditions on maps", argument="act_in", advice=_ADVICE)
    eye_out, eye_in = sparse.identity(outs), sparse.identity(ins)
    rows = [
        sparse.kron(_sparse(a), eye_in) - sparse.kron(eye_out, _sparse(b.T))
        for a, b in zip(left, right, strict=True)
    ]
    C = sparse.vstack(rows).tocsr()
    C.eliminate_zeros()
    return C


def _by_blocks(C: sparse.csr_matrix) -> Matrices:
    """Null spaces of the parts of C that share no unknown, each embedded in all unknowns."""
    n = C.shape[1]
    shared = sparse.bmat([[None, C], [C.T, None]])  # conditions beside the unknowns in them
    label = connected_components(shared, directed=False)[1][C.shape[0] :]
    label = np.unique(label, return_inverse=True)[1]
    count = int(label.max()) + 1
    order = np.argsort(label, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(label, minlength=count))[:-1])
    by_column = C.tocsc()
    largest = abs(C).max()
    parts: list[tuple[NDArray[np.int64], Matrices]] = []
    rank = 0
    for own in members:
        block = by_column[:, own].tocsr()
        block = block[np.diff(block.indptr) > 0]
        if not block.shape[0] or abs(block).max() < 1e-12 * largest:
            found: Matrices = np.eye(len(own))
        elif len(own) <= DENSE:
            found = decomposed(block.toarray())
        else:
            found = filtered(block)
        rank += found.shape[1]
        check_memory(n * rank, "a basis of equivariant maps", argument="act_in", advice=_ADVICE)
        parts.append((own, found))
    basis = np.zeros((n, rank))
    start = 0
    for own, found in parts:
        basis[own, start : start + found.shape[1]] = found
        start += found.shape[1]
    return basis


def _sparse(matrix: Matrices) -> sparse.csr_matrix:
    """A matrix without the entries that are rounding."""
    kept = np.where(np.abs(matrix) > 1e-14 * np.abs(matrix).max(initial=0.0), matrix, 0.0)
    return sparse.csr_matrix(kept)
