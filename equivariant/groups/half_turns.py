"""Half turns of every one-parameter group of rotations that a Lie algebra holds."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from equivariant.shapes import Coordinates, Float

_REAL = 1e-9  # of the largest frequency: real parts below are rounding
_CONDITION = 1e6  # of eigenvectors: beyond it a generator counts as not diagonalizable


def half_turns(basis: Float[Tensor, "d n n"]) -> dict[str, Coordinates]:
    """Coordinates whose exponentials are half turns, by name.

    A generator X whose eigenvalues are ±i ω (and it is diagonalizable) makes rotations exp(t X);
    at t = π / max ω the fastest of them has turned half round, where logarithms, angles and
    signs of quaternions jump. Looked at are the basis and the rotations of coordinate planes
    that the algebra holds, so that GL(n), whose basis has no rotation, has its half turns too.

    Args:
        basis: Of the Lie algebra, mutually orthogonal, float64; d may be 0.

    Returns:
        ``"half turn k"`` for the k-th basis vector and ``"half turn ij"`` for the plane of axes
        i and j where it is no basis vector; shape (d,) each.

    Example:
        >>> from equivariant.groups import SE3, Translation
        >>> list(half_turns(SE3().basis())), list(half_turns(Translation(2).basis()))
        (['half turn 0', 'half turn 1', 'half turn 2'], [])
    """
    d, n = basis.shape[0], basis.shape[-1]
    if not d:
        return {}
    candidates = {f"half turn {k}": row for k, row in enumerate(torch.eye(d).double())}
    dual = basis / basis.square().sum((-2, -1), keepdim=True)
    for i, j in combinations(range(n), 2):
        plane = torch.zeros(n, n, dtype=torch.float64)
        plane[j, i], plane[i, j] = 1.0, -1.0
        row = torch.einsum("ij,dij->d", plane, dual)
        if torch.allclose(torch.einsum("d,dij->ij", row, basis), plane, atol=1e-12):
            candidates[f"half turn {i}{j}"] = row
    found: dict[str, Coordinates] = {}
    for name, row in candidates.items():
        frequency = _frequency(torch.einsum("d,dij->ij", row, basis))
        if frequency > 0:
            turn = math.pi / frequency * row
            if not any(_along_one_line(turn, other) for other in found.values()):
                found[name] = turn
    return found


def _frequency(generator: Tensor) -> float:
    """The largest ω among eigenvalues ±i ω; 0 where exp(t X) does not stay bounded."""
    values, vectors = torch.linalg.eig(generator)
    largest = float(values.imag.abs().max())
    if largest <= _REAL * float(generator.abs().max()):
        return 0.0
    bounded = float(values.real.abs().max()) <= _REAL * largest
    return largest if bounded and float(torch.linalg.cond(vectors)) < _CONDITION else 0.0


def _along_one_line(a: Tensor, b: Tensor) -> bool:
    return abs(float(a @ b)) > (1 - 1e-12) * float(a.norm() * b.norm())
