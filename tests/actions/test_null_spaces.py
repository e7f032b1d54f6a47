"""Null spaces of conditions: all ways agree, large ones are solved or refused in words."""

import numpy as np
import pytest
import torch
from scipy import sparse

from equivariant.actions import EquivariantMaps, Tensors, Trivial, equivariant_basis
from equivariant.actions.intertwiners import Intertwiners
from equivariant.actions.null_spaces import check_memory, null_space, solve
from equivariant.actions.null_spaces.filtered import filtered
from equivariant.actions.null_spaces.orbits import orbit_sums, signed_permutations
from equivariant.errors import ConventionError
from equivariant.groups import (
    GL,
    SE3,
    SL,
    SO3,
    Cyclic,
    Generated,
    IndefiniteOrthogonal,
    Lorentz,
    Octahedral,
    Permutation,
    Scaling,
    TrivialGroup,
    Union,
)  # fmt: skip


def conditions(group, type_in, type_out):
    found = Intertwiners.of(Tensors(group, *type_in), Tensors(group, *type_out))
    return found.left, found.right


def dense(left, right):
    """All of C, decomposed: the oracle."""
    outs, ins = np.eye(left.shape[1]), np.eye(right.shape[1])
    rows = [np.kron(a, ins) - np.kron(outs, b.T) for a, b in zip(left, right, strict=True)]
    C = np.linalg.qr(np.concatenate([*rows, np.zeros((len(rows[0][0]),) * 2)]), mode="r")
    _, s, vh = np.linalg.svd(C)
    rank = vh.shape[0] - int((s > 1e-9).sum())
    return vh[vh.shape[0] - rank :].T


def same_space(a, b):
    assert a.shape == b.shape
    np.testing.assert_allclose(a.T @ a, np.eye(a.shape[1]), atol=1e-12)
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-9)


@pytest.mark.parametrize(
    "group",
    [SO3(), Lorentz(), SL(2), SE3(), GL(3), IndefiniteOrthogonal(1, 2), Scaling(3),
     Union(SO3(), Octahedral())],
    ids=str,
)  # fmt: skip
def test_blocks_and_filters_find_what_is_decomposed(group, monkeypatch):
    """The path of large maps on maps that both can do: the same projector."""
    found = conditions(group, (1, 1), (2, 0))
    monkeypatch.setattr(solve, "DENSE", 8)
    same_space(null_space(*found), dense(*found))


@pytest.mark.parametrize("types", [((1, 0), (1, 0)), ((2, 0), (1, 0)), ((1, 1), (2, 0))])
@pytest.mark.parametrize(
    "group",
    [Permutation(4), Cyclic(5), Octahedral(mirrored=True),
     Generated(torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None]),
     Generated(torch.tensor([[[0.0, -1.0], [1.0, 0.0]]]))],
    ids=str,
)  # fmt: skip
def test_sums_over_orbits_are_what_is_decomposed(group, types):
    left, right = conditions(group, *types)
    moves = signed_permutations(left), signed_permutations(right)
    same_space(orbit_sums(*moves), dense(left, right))


def test_orbits_with_a_wrong_sign_are_another_space():
    """The broken twin: signs dropped, a quarter turn keeps what it must not."""
    left, right = conditions(Generated(torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])), (1, 0), (2, 0))
    plain = orbit_sums(signed_permutations(abs(left)), signed_permutations(abs(right)))
    assert plain.shape[1] > 0 == dense(left, right).shape[1]


@pytest.mark.parametrize(
    "matrix", [[[1.0, 1.0], [0.0, 1.0]], [[0.0, 2.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]
)
def test_what_is_no_signed_permutation(matrix):
    assert signed_permutations(np.array([matrix])) is None


def test_large_maps_of_permutations_are_orbits():
    """46,656 unknowns: partitions of 6 marks into at most 6 sets, Bell's number."""
    maps = EquivariantMaps(Tensors(Permutation(6), 3), Tensors(Permutation(6), 3))
    assert maps.rank == 203
    g = Permutation(6).sample(generator=torch.Generator().manual_seed(0))
    W = maps.assemble(torch.randn(maps.rank, dtype=torch.float64))
    moved = Tensors(Permutation(6), 3).matrix(g)
    torch.testing.assert_close(moved @ W, W @ moved)


@pytest.mark.exhaustive
def test_four_indices_of_spacetime():
    """65,536 unknowns; the invariants of eight indices are those of two spins: 14 squared."""
    maps = EquivariantMaps(Tensors(Lorentz(), 4), Tensors(Lorentz(), 4))
    assert maps.rank == 14**2
    g = Lorentz().sample(generator=torch.Generator().manual_seed(0), scale=0.3)
    W = maps.projection(torch.randn(256, 256, dtype=torch.float64))
    moved = Tensors(Lorentz(), 4).matrix(g)
    torch.testing.assert_close(moved @ W, W @ moved, atol=1e-10, rtol=1e-10)


def test_four_indices_of_space():
    """6,561 unknowns; 91 is the number of rotation-invariant tensors of eight indices."""
    assert EquivariantMaps(Tensors(SO3(), 4), Tensors(SO3(), 4)).rank == 91


def test_filters_of_conditions_with_long_rows():
    """A dense condition, whose square is not formed."""
    rng = np.random.default_rng(0)
    C = np.linalg.qr(rng.standard_normal((300, 200)))[0].T * rng.uniform(1, 3, (200, 1))
    found = filtered(sparse.csr_matrix(C))
    assert found.shape == (300, 100)
    assert np.abs(C @ found).max() < 1e-9


def test_unclear_ranks_are_refused():
    with pytest.raises(ConventionError, match="gap"):
        null_space(np.diag([1.0, 3e-9, 5e-10])[None], np.zeros((1, 1, 1)))


@pytest.mark.parametrize(
    "ask",
    [
        lambda: equivariant_basis(128 * Tensors(SO3(), 2), 128 * Tensors(SO3(), 2)),
        lambda: equivariant_basis(Tensors(TrivialGroup(3), 5), Tensors(TrivialGroup(3), 5)),
        lambda: EquivariantMaps(Tensors(Lorentz(), 7), Tensors(Lorentz(), 1)),
        lambda: equivariant_basis(Tensors(Cyclic(300), 1), 300 * Trivial(300)),
    ],
)  # fmt: skip
def test_maps_beyond_memory_are_refused_in_words(ask):
    with pytest.raises(ConventionError, match=r"at most 4 GiB, got .* GiB"):
        ask()


def test_memory_is_said():
    check_memory(2**29, "an array", argument="x", advice="")
    with pytest.raises(ConventionError, match=r"x: expected an array of at most 4 GiB, got 8 GiB"):
        check_memory(2**30, "an array", argument="x", advice="")
