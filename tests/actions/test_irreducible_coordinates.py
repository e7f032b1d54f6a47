"""Projection in irreducible coordinates beside the group's mean, exactly over the whole orbit."""

import numpy as np
import pytest
import torch

from equivariant.actions import (
    EquivariantMaps,
    IrreducibleCoordinates,
    IrrepsAction,
    SpectralMaps,
    Tensors,
    Trivial,
    Vectors,
)  # fmt: skip
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import (
    O2,
    O3,
    SE3,
    SO2,
    SO3,
    Cyclic,
    Dihedral,
    Embedded,
    Generated,
    Lorentz,
    Octahedral,
    Permutation,
    Spin3,
)  # fmt: skip


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turns(group, degree):
    """Elements and weights whose weighted mean is Haar's, exactly up to a degree of the entries."""
    steps = torch.arange(degree + 1, dtype=torch.float64) * (2 * torch.pi / (degree + 1))
    if group.matrix_size == 2:
        return SO2().exp(steps[:, None]), torch.full_like(steps, 1 / len(steps))
    about_z = SO3().exp(torch.nn.functional.pad(steps[:, None], (2, 0)))
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(degree // 2 + 1))
    tilt = SO3().exp(torch.nn.functional.pad(nodes.arccos()[:, None], (1, 1)))
    g = (about_z[:, None, None] @ tilt[None, :, None] @ about_z[None, None]).flatten(0, 2)
    weight = (weights / 2)[None, :, None].expand(len(steps), -1, len(steps)).flatten()
    return g, weight / len(steps) ** 2


def elements(group, degree):
    if hasattr(group, "elements"):
        g = group.elements()
        return g, torch.full((len(g),), 1 / len(g), dtype=torch.float64)
    if group in (O2(), O3()):
        g, weight = turns(group, degree)
        mirror = torch.eye(group.matrix_size, dtype=torch.float64)
        mirror[0, 0] = -1
        return torch.cat([g, g @ mirror]), torch.cat([weight, weight]) / 2
    return turns(group, degree)


CASES = [
    (SO3(), Tensors(SO3(), 2), Tensors(SO3(), 1) + Tensors(SO3(), 2)),
    (SO3(), IrrepsAction("2x0e+3x1o+1x2e", SO3()), Tensors(SO3(), 2) + Trivial(3)),
    (O3(), 2 * Tensors(O3(), 1) + Tensors(O3(), 2), Tensors(O3(), 3)),
    (SO2(), Vectors(SO2(), 3) + Trivial(2), Tensors(SO2(), 3)),
    (O2(), Tensors(O2(), 2), Tensors(O2(), 1) + Tensors(O2(), 2)),
    (Cyclic(6), Tensors(Cyclic(6), 1), 2 * Tensors(Cyclic(6), 1)),
    (Dihedral(5, mirrored=False), Tensors(Dihedral(5, mirrored=False), 2),
     Tensors(Dihedral(5, mirrored=False), 1)),
    (Octahedral(), Tensors(Octahedral(), 2), Tensors(Octahedral(), 2)),
    (Generated(Permutation(4).discrete_generators()),
     Tensors(Generated(Permutation(4).discrete_generators()), 1, 1),
     Tensors(Generated(Permutation(4).discrete_generators()), 1)),
]  # fmt: skip
CASE = pytest.mark.parametrize(
    ("group", "act_in", "act_out"), CASES, ids=[str(c[0]) for c in CASES]
)


def mean_over_the_group(W, group, act_in, act_out):
    g, weight = elements(group, 8)
    left, right = act_out.matrix(g), act_in.matrix(g)
    return torch.einsum("g,gij->ij", weight, left.transpose(-1, -2) @ W @ right)


@CASE
def test_projection_is_the_mean_over_the_whole_orbit(group, act_in, act_out):
    spectral, W = SpectralMaps(act_in, act_out), normal(act_out.dim, act_in.dim)
    P = spectral.projection(W)
    torch.testing.assert_close(
        P, mean_over_the_group(W, group, act_in, act_out), atol=1e-10, rtol=0
    )
    torch.testing.assert_close(P, spectral.maps.projection(W), atol=1e-10, rtol=0)
    torch.testing.assert_close(spectral.projection(P), P, atol=1e-10, rtol=0)
    assert spectral.rank == spectral.maps.rank
    assert spectral.projection(W.float()).dtype == torch.float32


@CASE
def test_sizes_add_up_and_norms_are_those_of_dense_matrices(group, act_in, act_out):
    spectral, W = SpectralMaps(act_in, act_out), normal(act_out.dim, act_in.dim, seed=1)
    P = mean_over_the_group(W, group, act_in, act_out)
    torch.testing.assert_close(spectral.sizes(W).sum(), W.square().sum())
    torch.testing.assert_close(spectral.broken(W).sum(), (W - P).square().sum())
    kept = spectral.sizes(P)
    unlike = [
        (a, b)
        for a in range(kept.shape[0])
        for b in range(kept.shape[1])
        if (a, b) not in spectral.shared
    ]
    assert all(float(kept[a, b]) < 1e-18 for a, b in unlike)
    largest = torch.linalg.matrix_norm(P, ord=2)
    torch.testing.assert_close(spectral.equivariant_norm(W), largest, atol=1e-10, rtol=0)
    assert float(spectral.broken(P).sum()) < 1e-18


@CASE
def test_the_action_is_block_diagonal(group, act_in, act_out):
    for action in (act_in, act_out):
        found = IrreducibleCoordinates(action)
        eye = torch.eye(action.dim, dtype=torch.float64)
        torch.testing.assert_close(found.basis @ found.basis.T, eye, atol=1e-11, rtol=0)
        g, _ = elements(group, 2)
        moved = found.basis @ action.matrix(g[:7]) @ found.basis.T
        for kind, rows in zip(found.types, found.slices, strict=True):
            own = moved[:, rows, rows]
            first = own[:, : kind.dim, : kind.dim]
            eye = torch.eye(kind.copies, dtype=torch.float64)
            repeated = torch.stack([torch.kron(eye, one.contiguous()) for one in first])
            torch.testing.assert_close(own, repeated, atol=1e-10, rtol=0)
            moved[:, rows, rows] = 0
        assert float(moved.abs().max()) < 1e-10


def test_kinds_of_types():
    """Real, complex and quaternionic: by how much commutes with one copy."""
    for group, commuting in ((SO3(), 1), (SO2(), 2), (Cyclic(2), 1)):
        kind = IrreducibleCoordinates(Tensors(group, 1)).types[-1]
        assert len(kind.commuting) == commuting
    i = [[0.0, -1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.0]]
    j = [[0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0]]
    quaternions = torch.tensor([i, j])
    for group in (Generated(quaternions), Spin3()):
        act = Tensors(group, 1)
        (kind,) = IrreducibleCoordinates(2 * act).types
        assert (kind.dim, kind.copies, len(kind.commuting)) == (4, 2, 4)
    group = Generated(quaternions)
    act, W = 2 * Tensors(group, 1), normal(8, 8)
    expected = mean_over_the_group(W, group, act, act)
    torch.testing.assert_close(SpectralMaps(act, act).projection(W), expected, atol=1e-10, rtol=0)


def test_many_copies_are_found():
    many = 16 * Tensors(SO3(), 2)
    found = IrreducibleCoordinates(many)
    assert [(kind.dim, kind.copies) for kind in found.types] == [(1, 16), (3, 16), (5, 16)]
    W = normal(many.dim, many.dim)
    expected = EquivariantMaps(many, many).projection(W)
    torch.testing.assert_close(SpectralMaps(many, many).projection(W), expected, atol=1e-9, rtol=0)


def test_what_a_broken_projection_misses():
    """The twins: copies that are not turned alike, and complex types taken for real ones."""
    act = Tensors(SO3(), 2) + Tensors(SO3(), 1)
    maps, W = SpectralMaps(act, act), normal(12, 12)
    right = maps.projection(W)
    columns = maps.inputs.slices[1]
    assert maps.inputs.types[1].copies == 2
    turn = SO3().sample(generator=torch.Generator().manual_seed(3))
    maps.inputs.basis[columns][:3] = turn @ maps.inputs.basis[columns][:3]
    assert float((maps.projection(W) - right).norm()) > 1e-2

    turning = Vectors(SO2(), 2)
    maps = SpectralMaps(turning, turning)
    W = normal(4, 4)
    right = maps.projection(W)
    (kind,) = maps.outputs.types
    object.__setattr__(kind, "commuting", kind.commuting[:1])
    assert float((maps.projection(W) - right).norm()) > 1e-2


def test_where_a_symmetry_is_broken():
    """What is added between vectors and one axis stands there in the table, and nowhere else."""
    act = Trivial(1) + Tensors(SO3(), 1)
    maps = SpectralMaps(act, act)
    W = torch.eye(4, dtype=torch.float64)
    W[0, 3] = 0.5  # a scalar that reads off one component of the vector
    table = maps.broken(W)
    assert table[0, 1] == pytest.approx(0.25)
    assert float(table.sum()) == pytest.approx(0.25)


def test_refusals_of_coordinates():
    for action in (Tensors(Lorentz(), 1), Tensors(SE3(), 1)):
        with pytest.raises(ConventionError, match="orthogonal"):
            IrreducibleCoordinates(action)
    maps = SpectralMaps(Tensors(SO3(), 1), Tensors(SO3(), 2))
    with pytest.raises(ShapeError, match="weights"):
        maps.projection(torch.zeros(3, 9))
    with pytest.raises(ConventionError, match="one group"):
        SpectralMaps(Tensors(SO3(), 1), Tensors(Embedded(SO2(), 3, (0, 1)), 1))
