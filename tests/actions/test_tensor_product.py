"""Tensor products of actions: against Kronecker products, characters and known ranks."""

import pytest
import torch

from equivariant.actions import (
    EquivariantMaps,
    Factor,
    IrrepsAction,
    TensorProduct,
    Tensors,
    Trivial,
    Vectors,
)  # fmt: skip
from equivariant.actions.intertwiners import algebra_matrices
from equivariant.errors import ConventionError
from equivariant.groups import (
    SL,
    SO2,
    SO3,
    Dihedral,
    Embedded,
    Lorentz,
    Octahedral,
    Permutation,
    Product,
)  # fmt: skip
from equivariant.testing import ActionContract


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_product(first, second):
    group = Product(first.group, second.group)
    return TensorProduct(Factor(first, group, 0), Factor(second, group, 1))


class TestTensorProduct(ActionContract):
    action = TensorProduct(Vectors(SO3()), IrrepsAction("1x0e + 1x1o", SO3()))


class TestOfAProduct(ActionContract):
    action = of_product(Vectors(SO3()), Tensors(SO2(), 2))


@pytest.mark.parametrize(
    "action",
    [TensorProduct(Tensors(Lorentz(), 1), Tensors(Lorentz(), 1, 1)),
     of_product(Vectors(SO3()) + Trivial(1), Tensors(Permutation(3), 1)),
     TensorProduct(Trivial(2), Tensors(SL(2), 1)), TensorProduct(Tensors(SL(2), 1), Trivial(2))],
    ids=str,
)  # fmt: skip
def test_matrices_and_algebras_are_kronecker_products(action):
    group = action.group
    g = group.sample(3, generator=torch.Generator().manual_seed(0), scale=0.3)
    sides = [
        side.matrix(g) if side.group else torch.eye(side.dim).double().repeat(3, 1, 1)
        for side in (action.left, action.right)
    ]
    expected = torch.stack(
        [torch.kron(a.contiguous(), b.contiguous()) for a, b in zip(*sides, strict=True)]
    )
    torch.testing.assert_close(action.matrix(g), expected)
    closed, h = action.algebra(), 1e-6
    for k, x in enumerate(torch.eye(group.dim, dtype=torch.float64)):
        slope = (action.matrix(group.exp(h * x)) - action.matrix(group.exp(-h * x))) / (2 * h)
        torch.testing.assert_close(closed[k], slope, atol=1e-8, rtol=0)
    assert len(algebra_matrices(action, group)) == group.dim


def test_ranks_of_products_of_groups():
    """End of V ⊗ W under G x H: dim End(V) dim End(W); finite ones by characters."""
    cases = [
        (Vectors(SO3()), Tensors(Permutation(5), 1), 2),
        (Tensors(SO2(), 1), Tensors(SO2(), 1), 4),
        (Tensors(SO3(), 2), Tensors(Permutation(4), 1), 6),
        (Tensors(Lorentz(), 1), Tensors(SL(2), 1), 1),
        (Tensors(Lorentz(), 2), Tensors(Dihedral(4), 1), 4),
    ]
    for first, second, expected in cases:
        act = of_product(first, second)
        assert EquivariantMaps(act, act).rank == expected
    act = of_product(Tensors(Octahedral(), 1), Tensors(Dihedral(3), 2))
    chars = [a.group.elements() for a in (Tensors(Octahedral(), 1), Tensors(Dihedral(3), 1))]
    one, two = (g.diagonal(dim1=1, dim2=2).sum(-1) for g in chars)
    assert EquivariantMaps(act, act).rank == round(float((one**2).mean() * (two**4).mean()))
    sum_of_both = Tensors(Product(SO2(), SO2()), 1)
    assert EquivariantMaps(sum_of_both, sum_of_both).rank == 4  # two planes, each with its turns
    turned = Tensors(Embedded(SO2(), 4, (0, 1)), 1)  # the twin: one of them alone
    assert EquivariantMaps(turned, turned).rank == 2 + 4


def test_maps_of_products_commute():
    """SO(3) x S_4 and Lorentz x SL(2), with sums on the left split into pieces."""
    rows = 2 * Tensors(Lorentz(), 1) + Tensors(Lorentz(), 0)
    sets = of_product(Vectors(SO3(), 2) + Trivial(1), Tensors(Permutation(4), 1))
    for act in (sets, of_product(rows, Tensors(SL(2), 1))):
        assert len(act.pieces()) == 2
        maps = EquivariantMaps(act, act)
        W = maps.projection(normal(act.dim, act.dim))
        g = act.group.sample(4, generator=torch.Generator().manual_seed(0), scale=0.4)
        moved = act.matrix(g)
        torch.testing.assert_close(moved @ W, W @ moved, atol=1e-10, rtol=0)
        free = normal(act.dim, act.dim)
        assert float((moved @ free - free @ moved).abs().max()) > 0.1


def test_products_of_two_groups_are_refused():
    with pytest.raises(ConventionError, match="one group"):
        TensorProduct(Vectors(SO3()), Vectors(SO2()))
    with pytest.raises(ConventionError, match="one group"):
        TensorProduct(Trivial(2), Trivial(3))
    act = TensorProduct(Vectors(SO3()), Trivial(2))
    assert act.orthogonal
    assert act.under(Octahedral()).group == Octahedral()
