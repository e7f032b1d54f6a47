"""Null spaces of the conditions on an equivariant map: by singular values, or by filtering.

The conditions A_i W = W B_i are the rows of one matrix, C vec W = 0, with

    C_i = A_i ⊗ 1 - 1 ⊗ B_iᵀ         (vec W row by row)

Small ones are decomposed. Of large ones C is kept sparse and random vectors are passed through a
Chebyshev polynomial f of CᵀC with f(0) = 1 that is tiny on the rest of the spectrum: what comes
out lies in the null space, and how many directions come out is its dimension.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh

from equivariant.errors import ConventionError

Matrices = NDArray[np.float64]

DENSE = 256
"""Largest number of unknowns whose conditions are decomposed rather than filtered."""
_NULL = 1e-9  # singular values below this share of the largest count as zero
_GAP = 1e4  # by how much the first that does not exceeds the last that does
_SPARE = 8  # vectors beyond the dimension of the null space
_ROUNDS = 8


def null_space(left: Matrices, right: Matrices) -> Matrices:
    """Orthonormal basis of the solutions W of A_i W = W B_i.

    Args:
        left: A_i, shape (conditions, outputs, outputs), float64.
        right: B_i, shape (conditions, inputs, inputs).

    Returns:
        Shape (outputs * inputs, rank), rows in the order of W row by row.

    Raises:
        ConventionError: The singular values have no clear gap, so the rank cannot be told.

    Example:
        >>> turn = np.array([[[0.0, -1.0], [1.0, 0.0]]])
        >>> null_space(turn, turn).shape
        (4, 2)
    """
    unknowns = left.shape[1] * right.shape[1]
    size = [max(np.abs(a).max(), np.abs(b).max()) for a, b in zip(left, right, strict=True)]
    kept = np.array(size) > 1e-12
    if not kept.any():
        return np.eye(unknowns)
    scale = np.array(size)[kept][:, None, None]
    left, right = left[kept] / scale, right[kept] / scale
    return _decomposed(left, right) if unknowns <= DENSE else _filtered(left, right)


def _decomposed(left: Matrices, right: Matrices) -> Matrices:
    """By the singular values of C."""
    outs, ins = np.eye(left.shape[1]), np.eye(right.shape[1])
    rows = [np.kron(a, ins) - np.kron(outs, b.T) for a, b in zip(left, right, strict=True)]
    _, s, vh = np.linalg.svd(np.concatenate(rows), full_matrices=False)
    rank = _count_zeros(s)
    found: Matrices = vh[len(s) - rank :].T
    return found


def _count_zeros(s: Matrices) -> int:
    """How many of descending singular values are zero, relative to the first, with a gap check."""
    if s[0] < 1e-12:
        return len(s)
    relative = s / s[0]
    zeros = int((relative <= _NULL).sum())
    if 0 < zeros < len(s):
        last, first = max(relative[-zeros], len(s) * np.finfo(float).eps), relative[-zeros - 1]
        if first < _GAP * last:
            raise _unclear(first, last)
    return zeros


def _filtered(left: Matrices, right: Matrices) -> Matrices:
    """By Chebyshev filters of CᵀC on random vectors."""
    outs, ins = sparse.identity(left.shape[1]), sparse.identity(right.shape[1])
    rows = [
        sparse.kron(_sparse(a), ins) - sparse.kron(outs, _sparse(b.T))
        for a, b in zip(left, right, strict=True)
    ]
    C = sparse.vstack(rows).tocsr()
    transposed = C.T.tocsr()
    n = C.shape[1]
    operator = LinearOperator((n, n), matvec=lambda x: transposed @ (C @ x), dtype=np.float64)
    rng = np.random.default_rng(0)
    start = rng.standard_normal(n)
    found = eigsh(operator, k=1, which="LA", v0=start, tol=1e-2, return_eigenvectors=False)
    top = 1.05 * float(found[0])
    if top < 1e-20:
        return np.eye(n)
    filtered = _Filter(C, transposed, top)
    basis = np.zeros((n, 0))
    while True:  # twice as many vectors each time, until some come out empty
        fresh = rng.standard_normal((n, min(max(32, basis.shape[1]), n - basis.shape[1])))
        rank = basis.shape[1]
        basis = filtered.null_directions(np.concatenate([basis, fresh], 1), known=rank)
        if basis.shape[1] <= rank + fresh.shape[1] - _SPARE or basis.shape[1] == n:
            return basis


class _Filter:
    """Chebyshev filters of CᵀC, whose largest eigenvalue is below ``top``."""

    def __init__(self, C: Any, transposed: Any, top: float) -> None:
        self.C, self.transposed, self.top = C, transposed, top
        self.edge = top / 50

    def null_directions(self, block: Matrices, *, known: int) -> Matrices:
        """Orthonormal basis of what survives; the first ``known`` columns are null already.

        The stop band starts nearer to zero each time, until what is left satisfies the
        conditions.
        """
        for _ in range(_ROUNDS):
            block = np.concatenate([block[:, :known], self.apply(block[:, known:])], 1)
            u, s, _ = np.linalg.svd(block, full_matrices=False)
            rank = int((s > 1e-9 * s[0]).sum()) if s[0] > 1e-9 else 0
            if rank == 0:
                return np.zeros((block.shape[0], 0))
            residual = float(np.linalg.norm(self.C @ u[:, :rank], axis=0).max())
            if residual <= 1e-7 * math.sqrt(self.top) and s[rank - 1] > 1e-6 * s[0]:
                if residual > 1e-12 * math.sqrt(self.top):
                    u = np.linalg.qr(self.apply(u[:, :rank]))[0]
                found: Matrices = u[:, :rank]
                return found
            self.edge /= 10
        raise _unclear(float(s[rank - 1] / s[0]), residual / math.sqrt(self.top))

    def apply(self, block: Matrices) -> Matrices:
        """f(CᵀC) block, f(x) = T_m(t(x)) / T_m(t(0)) with t from the stop band to [-1, 1].

        m is such that f is below 1e-13 in the band. The three-term recurrence is scaled so that
        no number of it overflows.
        """
        middle, half = 0.5 * (self.top + self.edge), 0.5 * (self.top - self.edge)
        ratio = middle / half
        degree = math.ceil(math.log(2e13) / math.acosh(ratio))
        previous, scale = block, 1.0 / ratio
        current = self._shifted(block, middle) * (scale / half)
        for _ in range(degree - 1):
            after = 1.0 / (2.0 * ratio - scale)
            moved = self._shifted(current, middle)
            previous, current = current, (2.0 * after / half) * moved - (scale * after) * previous
            scale = after
        return current

    def _shifted(self, block: Matrices, middle: float) -> Matrices:
        found: Matrices = middle * block - self.transposed @ (self.C @ block)
        return found


def _sparse(matrix: Matrices) -> sparse.csr_matrix:
    """A matrix without the entries that are rounding."""
    kept = np.where(np.abs(matrix) > 1e-14 * np.abs(matrix).max(initial=0.0), matrix, 0.0)
    return sparse.csr_matrix(kept)


def _unclear(first: float, last: float) -> ConventionError:
    return ConventionError(
        expected="singular values with a clear gap between zero and the rest",
        got=f"neighbours {first:.1e} and {last:.1e} of the largest", argument="act_in",
        advice="Actions must be exact in float64, and elements no small distance from others.",
    )  # fmt: skip
