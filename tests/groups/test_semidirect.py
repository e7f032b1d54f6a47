"""Semidirect products: the contract, their peers with a class of their own, left Haar measure."""

import math

import pytest
import torch

from equivariant.errors import ConventionError
from equivariant.groups import (
    E2,
    E3,
    GL,
    O2,
    O3,
    SE2,
    SE3,
    SL,
    SO2,
    SO3,
    Affine,
    ScaledRotations,
    Semidirect,
    Sim,
    Torus,
    Translation,
    haar_density,
)
from equivariant.testing import GroupContract


class _PrincipalBranch(GroupContract):
    """Coordinates small enough that the logarithms of products stay on the principal branch."""

    def draw(self, *batch, generator):
        shape = (*batch, self.group.dim)
        return self.group.exp(0.3 * torch.randn(shape, generator=generator, dtype=torch.float64))


class TestSemidirectSL2(_PrincipalBranch):
    group = Semidirect(SL(2))


class TestSemidirectGL3(_PrincipalBranch):
    group = Semidirect(GL(3))


class TestSemidirectScaledRotations(GroupContract):
    group = Semidirect(ScaledRotations(2))
    tolerance = 1e-11


class TestSemidirectO2(GroupContract):
    group = Semidirect(O2())


class TestSemidirectSO3(GroupContract):
    group = Semidirect(SO3())
    tolerance = 1e-11


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


PEERS = [
    (Semidirect(SO2()), SE2()),
    (Semidirect(O2()), E2()),
    (Semidirect(SO3()), SE3()),
    (Semidirect(O3()), E3()),
    (Semidirect(ScaledRotations(2)), Sim(2)),
    (Semidirect(ScaledRotations(3)), Sim(3)),
    (Semidirect(GL(2)), Affine(2)),
]


@pytest.mark.parametrize(("ours", "peer"), PEERS, ids=str)
def test_groups_with_a_class_of_their_own_are_the_same(ours, peer):
    x = 0.4 * normal(20, peer.dim)
    torch.testing.assert_close(ours.basis(), peer.basis())
    torch.testing.assert_close(ours.exp(x), peer.exp(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(ours.log(peer.exp(x)), x, atol=1e-11, rtol=0)
    for name in ("space_dim", "turns", "preserves_lengths", "orthogonal_dim", "direction_names"):
        assert getattr(ours, name) == getattr(peer, name), name
    torch.testing.assert_close(
        ours.project(peer.exp(x) + 0.01), peer.project(peer.exp(x) + 0.01), atol=1e-12, rtol=0
    )


def test_special_elements_and_generators_are_those_of_the_linear_group():
    group = Semidirect(O3())
    assert set(group.special_elements()) == set(O3().special_elements())
    assert torch.equal(group.discrete_generators()[0, :3, :3], -torch.eye(3, dtype=torch.float64))
    mirror = group.join(-O3().identity(), torch.ones(3, dtype=torch.float64))
    assert group.distance(group.identity(), mirror) == math.inf
    left = group.without()["reflections"](mirror)
    torch.testing.assert_close(left[:3, :3], O3().identity())
    torch.testing.assert_close(left[:3, 3], mirror[:3, 3])
    assert bool((group.without()["translations"](mirror)[:3, 3] == 0).all())


def test_left_haar_density_is_the_jacobian_of_left_translations():
    """(h, t) ↦ (a h, b + a t) multiplies dt dμ(h) by |det a|: the density must take it back."""
    group, generator = Semidirect(GL(2)), torch.Generator().manual_seed(0)
    g, moved = group.sample(2, 50, generator=generator, scale=0.4)
    change = group.left_haar_log_density(g @ moved) - group.left_haar_log_density(moved)
    torch.testing.assert_close(change, -torch.linalg.det(g[:, :2, :2]).log())
    torch.testing.assert_close(
        Semidirect(SL(2)).left_haar_log_density(group.identity(5)), torch.zeros(5).double()
    )
    x = torch.tensor([0.3, 0.0, 0.0, 0.3, 0.0, 0.0], dtype=torch.float64)
    expected = ((1 - math.exp(-0.3)) / 0.3) ** 2  # a scale: two translations shrink by it
    assert float(haar_density(group, x)) == pytest.approx(expected)


def test_what_moves_no_space_linearly_is_refused():
    for group in (SE2(), Affine(2)):
        with pytest.raises(ConventionError, match="linear"):
            Semidirect(group)
    half_turn = Semidirect(SL(2)).special_elements()["half turn 01"]
    with pytest.raises(ConventionError, match="negative real axis"):
        Semidirect(SL(2)).log(half_turn)


@pytest.mark.parametrize(
    "group", [SE2(), SE3(), E2(), E3(), Sim(2), Sim(3), Affine(2), Semidirect(SL(3))], ids=str
)
def test_groups_with_translations_name_their_linear_part(group):
    """Its elements with any shift are elements, and the linear parts of elements are its."""
    linear = group.linear_group
    generator = torch.Generator().manual_seed(0)
    g = group.sample(6, generator=generator)
    assert bool(linear.contains(g[:, :-1, :-1]).all())
    assert group.dim == linear.dim + linear.matrix_size
    joined = g.clone()
    joined[:, :-1, :-1] = linear.sample(6, generator=generator)
    joined[:, :-1, -1] = torch.randn(6, linear.matrix_size, generator=generator)
    assert bool(group.contains(joined).all())


def test_groups_without_translations_have_no_linear_part():
    assert {group.linear_group for group in (SO2(), GL(2), SO3(), Translation(2), Torus(2))} == {
        None
    }


def test_matrices_that_are_no_tensors_of_floats_are_refused():
    with pytest.raises(ConventionError, match="torch tensor"):
        GL(2).check_element(torch.eye(2).numpy())
    with pytest.raises(ConventionError, match="floating-point"):
        GL(2).check_member(torch.eye(2, dtype=torch.int64))
