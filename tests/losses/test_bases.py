"""Equiangular bases: Welch's bound, orthonormal frames, known optima, refusals."""

import math

import pytest
import torch

from equivariant.errors import ConventionError
from equivariant.losses import equiangular_basis, welch_bound


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def coherence_by_loops(vectors):
    rows = [[float(x) for x in row] for row in vectors]
    cosines = [
        abs(sum(x * y for x, y in zip(rows[a], rows[b], strict=True)))
        for a in range(len(rows))
        for b in range(a)
    ]
    return max(cosines)


@pytest.mark.parametrize(("count", "dim"), [(4, 2), (4, 3), (16, 8), (30, 12), (60, 40)])
def test_the_threshold_is_met_and_welch_respected(count, dim):
    bound = welch_bound(count, dim)
    threshold = 1.5 * bound
    basis = equiangular_basis(
        count, dim, threshold=threshold, generator=seeded(), dtype=torch.float64
    )
    assert basis.vectors.shape == (count, dim)
    torch.testing.assert_close(basis.vectors.norm(dim=1), torch.ones(count).double())
    assert basis.coherence == pytest.approx(coherence_by_loops(basis.vectors), abs=1e-12)
    assert bound <= basis.coherence <= threshold


@pytest.mark.parametrize(("count", "dim", "optimum"), [(4, 3, 1 / 3), (3, 2, 0.5), (6, 3, 5**-0.5)])
def test_known_optima_are_reached(count, dim, optimum):
    """Diagonals of the cube, the Mercedes star and the axes of the icosahedron attain Welch."""
    assert welch_bound(count, dim) == pytest.approx(optimum)
    basis = equiangular_basis(count, dim, threshold=1.01 * optimum, generator=seeded())
    assert optimum <= basis.coherence <= 1.01 * optimum


def test_random_vectors_would_not_do():
    random = torch.nn.functional.normalize(torch.randn(30, 12, generator=seeded()), dim=1)
    basis = equiangular_basis(30, 12, threshold=0.35, generator=seeded())
    assert coherence_by_loops(random) > 0.6
    assert coherence_by_loops(basis.vectors) <= 0.35 + 1e-6


@pytest.mark.parametrize(("count", "dim"), [(5, 5), (3, 8), (1, 4), (1, 1)])
def test_with_room_enough_the_basis_is_orthonormal(count, dim):
    basis = equiangular_basis(
        count, dim, threshold=0.0, steps=1, generator=seeded(), dtype=torch.float64
    )
    torch.testing.assert_close(basis.vectors @ basis.vectors.T, torch.eye(count).double())
    assert basis.coherence < 1e-12
    assert welch_bound(count, dim) == 0.0


def test_the_generator_decides():
    draws = [equiangular_basis(8, 5, threshold=0.5, generator=seeded(s)).vectors for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].dtype == torch.float32
    assert not draws[0].requires_grad


def test_refusals():
    bound = math.sqrt((10 - 4) / (4 * 9))
    with pytest.raises(ConventionError, match=f"Welch's bound {bound:.6g}"):
        equiangular_basis(10, 4, threshold=0.99 * bound)
    with pytest.raises(ConventionError, match=r"largest \|cosine\| of 0\.\d+"):
        equiangular_basis(10, 4, threshold=1.001 * bound, steps=5, generator=seeded())
    with pytest.raises(ConventionError, match="threshold"):
        equiangular_basis(4, 4, threshold=1.5)
    for count, dim in ((0, 3), (3, 0)):
        with pytest.raises(ConventionError, match="1 or more"):
            equiangular_basis(count, dim)
    with pytest.raises(ConventionError, match="steps"):
        equiangular_basis(4, 4, steps=0)
    with pytest.raises(ConventionError, match="rate"):
        equiangular_basis(4, 4, rate=0.0)
