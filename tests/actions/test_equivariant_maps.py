"""Bases of equivariant maps: characters, EMLP's numbers, group averages, groups without a mean."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from equivariant.actions import (
    CartesianTensors,
    Dual,
    EquivariantMaps,
    IrrepsAction,
    Points,
    Tensors,
    Trivial,
    Vectors,
    equivariant_basis,
)  # fmt: skip
from equivariant.actions.intertwiners import Intertwiners
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import (
    GL,
    O2,
    O3,
    SE3,
    SL,
    SO,
    SO2,
    SO3,
    CubeFaces,
    Cyclic,
    Dihedral,
    Embedded,
    Generated,
    IndefiniteOrthogonal,
    Lorentz,
    O,
    Octahedral,
    Permutation,
    Product,
    Scaling,
    Symplectic,
    Translation,
    TrivialGroup,
)  # fmt: skip
from equivariant.nn import Hypernetwork

TYPES = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0)]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rank(group, type_in, type_out):
    return EquivariantMaps(Tensors(group, *type_in), Tensors(group, *type_out)).rank


def test_ranks_are_those_of_the_published_library():
    path = Path(os.environ.get("EQUIVARIANT_DATA", "../shared/data")) / "emlp" / "ranks.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there: set EQUIVARIANT_DATA")
    groups = {"SO(3)": SO3(), "SO13p": Lorentz(), "S(4)": Permutation(4), "SL(2)": SL(2),
              "Scaling(3)": Scaling(3), "Trivial(3)": TrivialGroup(3)}  # fmt: skip
    for key, published in json.loads(path.read_text()).items():
        name, types = key.split("|")
        ends = [tuple(map(int, one.split(","))) for one in types.split("->")]
        assert rank(groups[name], *ends) == published, key


@pytest.mark.parametrize(
    "group",
    [Cyclic(4), Dihedral(3), Dihedral(4, mirrored=False), Octahedral(), Octahedral(mirrored=True),
     CubeFaces(), Generated(Permutation(4).discrete_generators())],
    ids=str,
)  # fmt: skip
def test_ranks_of_finite_groups_by_characters(group):
    """dim Hom = mean of χ_out(g) χ_in(g) over the elements."""
    trace = group.elements().diagonal(dim1=1, dim2=2).sum(-1)
    for a in TYPES:
        for b in TYPES[1:4]:
            expected = (trace ** (sum(a) + sum(b))).mean()
            assert rank(group, a, b) == round(float(expected)), (a, b)


@pytest.mark.parametrize("mirrored", [False, True])
def test_ranks_of_rotations_by_characters(mirrored):
    """∫ (1 + 2 cos θ)^n (1 - cos θ) dθ / π; of O(3) nothing where n is odd."""
    theta = (np.arange(400) + 0.5) * np.pi / 400
    for n in range(6):
        expected = round(float(np.mean((1 + 2 * np.cos(theta)) ** n * (1 - np.cos(theta)))))
        group = O3() if mirrored else SO3()
        found = rank(group, (n // 2, 0), (n - n // 2, 0))
        assert found == (0 if mirrored and n % 2 else expected)
        assert rank(O(3) if mirrored else SO(3), (n // 2, 0), (n - n // 2, 0)) == found


def test_ranks_of_pairings():
    """Groups whose invariant tensors are known: forms, volumes, and both kinds of index."""
    for n in (2, 4):
        assert rank(SO(n), (1, 0), (n - 1, 0)) == rank(O(n), (1, 0), (n - 1, 0)) + 1  # volume
    assert rank(SO(5), (2, 0), (2, 0)) == 3
    assert rank(SO(5), (2, 0), (3, 0)) == 1
    assert rank(GL(3), (1, 0), (1, 0)) == 1
    assert rank(GL(3), (1, 1), (1, 1)) == 2
    assert rank(GL(3), (1, 0), (0, 1)) == 0
    assert rank(SL(3), (2, 0), (0, 1)) == 1  # volume
    assert rank(Symplectic(2), (0, 0), (2, 0)) == 1
    assert rank(Symplectic(2), (2, 0), (2, 0)) == 3
    assert rank(IndefiniteOrthogonal(1, 3), (2, 0), (2, 0)) == 3
    assert rank(IndefiniteOrthogonal(1, 3, "special"), (2, 0), (2, 0)) == 4
    assert rank(IndefiniteOrthogonal(1, 1, "connected"), (1, 0), (1, 0)) == 2
    assert rank(Translation(2), (1, 0), (1, 0)) == 3
    # With homogeneous coordinates only the last may be read off, and it does not see the others.
    assert rank(SE3(), (1, 0), (0, 0)) == 1
    assert rank(Embedded(SO2(), 3, (0, 1)), (1, 0), (1, 0)) == 3
    assert rank(Embedded(O2(), 3, (0, 1)), (1, 0), (1, 0)) == 2
    assert rank(Product(SO3(), SO3()), (1, 0), (1, 0)) == 2
    assert rank(Permutation(6), (1, 0), (1, 0)) == 2
    assert rank(Permutation(1), (1, 0), (1, 0)) == 1


@pytest.mark.parametrize(
    "group",
    [Lorentz(), SL(2), SL(3), Symplectic(1), Scaling(2), SE3(), O3(), Permutation(4), Octahedral(),
     IndefiniteOrthogonal(1, 2), GL(2), Embedded(O2(), 3, (1, 2)), Product(SO2(), Scaling(1))],
    ids=str,
)  # fmt: skip
def test_bases_commute_with_random_elements(group):
    """Also of groups that are not compact; and a map that is not in the space does not."""
    g = group.sample(5, generator=torch.Generator().manual_seed(0), scale=0.4)
    for a, b in (((1, 0), (1, 0)), ((1, 1), (1, 1)), ((2, 0), (0, 1)), ((1, 0), (0, 1))):
        act_in, act_out = Tensors(group, *a), Tensors(group, *b)
        Q = equivariant_basis(act_in, act_out)
        assert Q.dtype == torch.float64
        assert Q.shape[:2] == (act_out.dim, act_in.dim)
        gram = Q.flatten(0, 1).T @ Q.flatten(0, 1)
        torch.testing.assert_close(gram, torch.eye(Q.shape[2]).double(), atol=1e-12, rtol=0)
        left, right = act_out.matrix(g), act_in.matrix(g)
        for W in Q.unbind(-1):
            torch.testing.assert_close(left @ W, W @ right, atol=1e-10, rtol=1e-10)
        if Q.shape[2] < act_in.dim * act_out.dim:
            W = normal(act_out.dim, act_in.dim)
            outside = W - EquivariantMaps(act_in, act_out).projection(W)
            assert float((left @ outside - outside @ right).abs().max()) > 1e-2


def act_pairs():
    yield 2 * Tensors(SO3(), 0) + 3 * Tensors(SO3(), 1), Tensors(SO3(), 1) + 2 * Tensors(SO3(), 2)
    yield IrrepsAction("2x0e + 2x1o + 1x2e", O3()), Trivial(3) + Vectors(O3(), 2)
    yield Points(O3()), CartesianTensors(O3(), 2) + IrrepsAction("1x3o", O3())
    yield Tensors(CubeFaces(), 1) + Tensors(CubeFaces(), 0), 2 * Tensors(CubeFaces(), 1)
    yield Vectors(SO2(), 3), Dual(Vectors(SO2())) + Trivial(1)


@pytest.mark.parametrize(("act_in", "act_out"), list(act_pairs()))
def test_projection_is_orthogonal_and_the_mean_over_the_group(act_in, act_out):
    """P² = P = Pᵀ; P W is the Reynolds average; the mean squared commutator is 2 |W - P W|²."""
    maps = EquivariantMaps(act_in, act_out)
    basis = maps.basis().flatten(0, 1)
    P = basis @ basis.T
    torch.testing.assert_close(P @ P, P, atol=1e-12, rtol=0)
    W = normal(act_out.dim, act_in.dim)
    dense = (P @ W.flatten()).reshape(W.shape)
    torch.testing.assert_close(maps.projection(W), dense, atol=1e-12, rtol=0)
    torch.testing.assert_close(maps.projection(maps.projection(W)), dense, atol=1e-12, rtol=0)
    least = Intertwiners.of(act_in, act_out).projection(W.numpy())
    torch.testing.assert_close(dense, torch.from_numpy(least), atol=1e-9, rtol=0)
    group = maps.group
    finite = getattr(group, "elements", None)
    g = finite() if finite else group.sample(4000, generator=torch.Generator().manual_seed(1))
    left, right = act_out.matrix(g), act_in.matrix(g)
    averaged = left.transpose(-1, -2) @ W @ right
    commutator = (left @ W - W @ right).square().sum((-2, -1))
    broken = 2 * (W - dense).square().sum()
    if finite:
        torch.testing.assert_close(averaged.mean(0), dense, atol=1e-10, rtol=0)
        torch.testing.assert_close(commutator.mean(), broken, atol=1e-9, rtol=0)
        return
    for sample, expected in ((averaged.flatten(1), dense.flatten()), (commutator[:, None], broken)):
        error = sample.std(0) / len(g) ** 0.5
        assert bool(((sample.mean(0) - expected).abs() <= 5 * error + 1e-9).all())


def test_coefficients_and_batches():
    act_in, act_out = 2 * Tensors(SO3(), 1) + Trivial(2), Tensors(SO3(), 1) + Tensors(SO3(), 2)
    maps = EquivariantMaps(act_in, act_out)
    coefficients = normal(4, maps.rank)
    W = maps.assemble(coefficients)
    assert W.shape == (4, act_out.dim, act_in.dim)
    torch.testing.assert_close(maps.coefficients(W), coefficients)
    dense = torch.einsum("oir,br->boi", maps.basis(), coefficients)
    torch.testing.assert_close(W, dense)
    assert maps.projection(W.float()).dtype == torch.float32
    assert maps.rank + maps.codimension == act_in.dim * act_out.dim
    assert maps.projection(W[:0]).shape == (0, *W.shape[1:])
    nothing = EquivariantMaps(Tensors(SO3(), 0), Tensors(SO3(), 1))
    assert nothing.basis().shape == (3, 1, 0)
    assert float(nothing.projection(torch.ones(3, 1)).abs().max()) == 0


def test_large_maps():
    """729 unknowns, and 36 of which are more than the first block of random vectors."""
    maps = EquivariantMaps(Tensors(SO3(), 3), Tensors(SO3(), 3))
    assert maps.rank == 15
    assert rank(Permutation(4), (2, 0), (3, 0)) == 1 + 15 + 25 + 10
    g = SO3().sample(generator=torch.Generator().manual_seed(0))
    W = maps.projection(normal(27, 27))
    moved = Tensors(SO3(), 3).matrix(g)
    torch.testing.assert_close(moved @ W, W @ moved, atol=1e-10, rtol=0)
    many = EquivariantMaps(128 * Tensors(SO3(), 2), 128 * Tensors(SO3(), 2))
    assert many.rank == 3 * 128**2


def test_further_elements_and_what_is_missing_without_them():
    flip = torch.diag(torch.tensor([1.0, -1.0])).double()[None]
    vector = Vectors(SO2())
    assert EquivariantMaps(vector, vector).rank == 2
    with pytest.raises(ShapeError):
        EquivariantMaps(vector, vector, elements=torch.eye(3).double()[None])
    assert EquivariantMaps(vector, vector, elements=flip).rank == 1


@dataclass(frozen=True)
class _Impostor(SO3):
    """Says that it is equal to every SO(3) and turns about z only."""

    def basis(self):
        return super().basis()[2:]

    dim = 1

    def exp(self, coordinates):
        return super().exp(torch.nn.functional.pad(coordinates, (2, 0)))

    def __eq__(self, other):
        return isinstance(other, SO3)

    def __hash__(self):
        return hash(SO3())


def test_remembered_bases_belong_to_their_numbers():
    """Equal names and equal hashes do not mix two groups up."""
    assert rank(SO3(), (1, 0), (1, 0)) == 1
    assert rank(_Impostor(), (1, 0), (1, 0)) == 3
    assert rank(SO3(), (1, 0), (1, 0)) == 1
    kept = equivariant_basis(Tensors(SO3(), 1), Tensors(SO3(), 1))
    kept.zero_()
    assert float(equivariant_basis(Tensors(SO3(), 1), Tensors(SO3(), 1)).norm()) == pytest.approx(1)


def test_refusals_of_maps():
    maps = EquivariantMaps(Tensors(SO3(), 1), Tensors(SO3(), 1))
    with pytest.raises(ShapeError, match=r"weights|W"):
        maps.projection(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="coefficients"):
        maps.assemble(torch.zeros(2))
    with pytest.raises(ConventionError):
        EquivariantMaps(Tensors(SO3(), 1), Tensors(SO2(), 1))
    with pytest.raises(ConventionError, match="identity"):
        EquivariantMaps(Hypernetwork(SO3(), 3), Tensors(SO3(), 1))
