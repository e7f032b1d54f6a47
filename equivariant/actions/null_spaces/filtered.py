"""Null spaces of many unknowns: random vectors, filtered.

Random vectors are passed through a Chebyshev polynomial f of CᵀC with f(0) = 1 that is tiny on the
rest of the spectrum: what comes out lies in the null space, and how many directions come out is its
dimension.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh

from equivariant.actions.null_spaces.decomposed import unclear
from equivariant.actions.null_spaces.memory import check_memory

Matrices = NDArray[np.float64]

_SPARE = 8  # vectors beyond the dimension of the null space
_ROUNDS = 8
_FIRST = 32  # vectors at first
_SHORT = 16  # entries of a row of C up to which CᵀC is formed: it then has fewer than C and Cᵀ


def filtered(C: sparse.csr_matrix) -> Matrices:
    """Orthonormal basis of the null space of a sparse matrix.

    Args:
        C: Shape (conditions, unknowns), at least 9 unknowns, float64.

    Returns:
        Shape (unknowns, rank).

    Raises:
        ConventionError: The rank cannot be told, or vectors would take more than 4 GiB.

    Example:
        >>> C = sparse.csr_matrix(np.diag(np.arange(20.0))[3:])
        >>> filtered(C).shape
        (20, 3)
    """
    n = C.shape[1]
    square = _Square(C)
    rng = np.random.default_rng(0)
    start = rng.standard_normal(n)
    operator = LinearOperator((n, n), matvec=square, dtype=np.float64)
    found = eigsh(operator, k=1, which="LA", v0=start, tol=1e-2, return_eigenvectors=False)
    top = 1.05 * float(found[0])
    if top < 1e-20:
        return np.eye(n)
    sieve = _Filter(C, square, top)
    basis = np.zeros((n, 0))
    fresh = min(_FIRST, n)
    while True:  # as many more vectors as seem to be missing, until some come out empty
        rank = basis.shape[1]
        block = np.concatenate([basis, rng.standard_normal((n, fresh))], 1)
        basis = sieve.null_directions(block, known=rank)
        if basis.shape[1] <= rank + fresh - _SPARE or basis.shape[1] == n:
            return basis
        expected = max(sieve.rank, basis.shape[1])
        check_memory(
            4 * n * expected, f"about {expected:,} maps of {n:,} entries", argument="act_in",
            advice="Split the action into a sum of smaller ones.",
        )  # fmt: skip
        missing = round(1.1 * (expected - basis.shape[1])) + 2 * _SPARE
        fresh = min(max(_FIRST, missing), n - basis.shape[1])


class _Square:
    """x ↦ CᵀC x, formed where that has fewer entries."""

    def __init__(self, C: sparse.csr_matrix) -> None:
        self._C, self._transposed = C, C.T.tocsr()
        lengths = np.diff(C.indptr)
        short = np.square(lengths).sum() <= _SHORT * C.nnz
        self._product = (self._transposed @ C).tocsr() if short else None
        if self._product is not None and self._product.nnz > 2 * C.nnz:
            self._product = None

    def __call__(self, x: Matrices) -> Matrices:
        found: Matrices = (
            self._transposed @ (self._C @ x) if self._product is None else self._product @ x
        )
        return found


class _Filter:
    """Chebyshev filters of CᵀC, whose largest eigenvalue is below ``top``.

    ``rank`` is an estimate of the null space's dimension from the vectors filtered first: the
    trace of f(CᵀC) is the mean of xᵀ f(CᵀC) x over normal x.
    """

    def __init__(self, C: sparse.csr_matrix, square: _Square, top: float) -> None:
        self.C, self.square, self.top = C, square, top
        self.edge = top / 50
        self.rank = 0

    def null_directions(self, block: Matrices, *, known: int) -> Matrices:
        """Orthonormal basis of what survives; the first ``known`` columns are null already.

        The stop band starts nearer to zero each time, until what is left satisfies the
        conditions.
        """
        for _ in range(_ROUNDS):
            passed = self.apply(block[:, known:])
            if not known:
                self.rank = round(float((block * passed).sum()) / block.shape[1])
            block = np.concatenate([block[:, :known], passed], 1)
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
        raise unclear(float(s[rank - 1] / s[0]), residual / math.sqrt(self.top))

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
        found: Matrices = middle * block - self.square(block)
        return found
