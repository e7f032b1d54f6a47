"""Tensors of any matrix group: the contract, loops over indices, sums, duals and products."""

import pytest
import torch

from equivariant.actions import Dual, IrrepsAction, Tensors, Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import SE3, SL, SO2, SO3, Embedded, Lorentz, O, Permutation, Scaling
from equivariant.testing import ActionContract


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestTensors(ActionContract):
    action = 2 * Tensors(SO3(), 2)


class TestMixedTensors(ActionContract):
    action = Tensors(SL(2), 1, 2)


class TestHomogeneousVectors(ActionContract):
    action = Tensors(SE3(), 1)


class TestTensorsOfPermutations(ActionContract):
    action = 2 * Tensors(Permutation(3), 2) + Tensors(Permutation(3), 0)


class TestDual(ActionContract):
    action = Dual(IrrepsAction("1x1o + 1x2e", SO3()))


def test_every_index_moves():
    """Against an einsum that writes all indices out."""
    group = SL(2)
    g = group.sample(generator=torch.Generator().manual_seed(0))
    back, z = group.inverse(g).T, normal(2, 2, 2)
    expected = torch.einsum("ai,bj,ck,ijk->abc", g, g, back, z)
    moved = Tensors(group, 2, 1)(g, z.flatten())
    torch.testing.assert_close(moved, expected.flatten(), atol=1e-12, rtol=1e-12)
    wrong = torch.einsum("ai,bj,ck,ijk->abc", g, g, g, z)
    assert float((moved - wrong.flatten()).abs().max()) > 0.1


@pytest.mark.parametrize("group", [SL(2), Lorentz(), Scaling(2), SE3()])
@pytest.mark.parametrize(("p", "q"), [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)])
def test_the_algebra_is_the_derivative(group, p, q):
    action, step = 2 * Tensors(group, p, q), 1e-5
    for X, basis in zip(action.algebra(), torch.eye(group.dim).double(), strict=True):
        ahead, behind = (action.matrix(group.exp(s * basis)) for s in (step, -step))
        torch.testing.assert_close(X, (ahead - behind) / (2 * step), atol=1e-8, rtol=0)


def test_sums_multiples_products_and_duals():
    group = SO3()
    action = 4 * Tensors(group, 0) + Tensors(group, 1) * 2 + Tensors(group, 1, 1)
    assert action.dim == 4 + 6 + 9
    assert (2 * action).dim == 38
    assert [count for _, count in action.pieces()] == [4, 2, 1]
    product = (2 * Tensors(SL(2), 1)) * Tensors(SL(2), 0, 1)
    assert (product.p, product.q, product.channels) == (1, 1, 2)
    assert (Tensors(SL(2), 2, 1).dual.p, Tensors(SL(2), 2, 1).dual.q) == (1, 2)
    assert Tensors(SO3(), 2).orthogonal
    assert Tensors(Permutation(3), 1).orthogonal
    assert not Tensors(SE3(), 1).orthogonal
    assert not Tensors(Lorentz(), 1).orthogonal
    g, a, z = SL(2).sample(generator=torch.Generator().manual_seed(0)), normal(4), normal(4, seed=1)
    action = Tensors(SL(2), 1, 1)
    paired = Dual(action)(g, a) @ action(g, z)
    assert float(paired) == pytest.approx(float(a @ z), abs=1e-12)


def test_actions_change_their_group():
    about_z = Embedded(SO2(), 3, (0, 1))
    action = 2 * Tensors(O(3), 1) + Trivial(3) + Vectors(O(3), 2)
    turned = action.under(about_z)
    assert turned.group == about_z
    assert turned.dim == action.dim
    g, z = about_z.sample(generator=torch.Generator().manual_seed(0)), normal(action.dim)
    torch.testing.assert_close(turned(g, z), action(g, z))
    with pytest.raises(ConventionError, match="3 x 3"):
        action.under(SL(2))
    with pytest.raises(ConventionError, match="at least 0"):
        Tensors(SO3(), -1)
    with pytest.raises(ConventionError, match="one group"):
        Tensors(SO3(), 1) * Tensors(SL(2), 1)
