"""The group law of true, reversed and broken actions."""

import pytest
import torch

from equivariant.actions import IrrepsAction, Points, Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import SE3, SO3
from equivariant.measure import group_law_error
from equivariant.testing import assert_group_law


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("action", "z"),
    [
        (IrrepsAction("2x0e + 1x1o + 1x3o", SO3()), draw(5, 12)),
        (Points(SE3()), draw(5, 7, 3)),
        ({"a": Vectors(SO3()), "b": None}, {"a": draw(4, 3), "b": draw(2)}),
    ],
    ids=["irreps", "points", "tree"],
)
def test_true_actions(action, z):
    found = assert_group_law(action, z)
    assert found.composition.shape == (16,)
    assert found.reversed.min() > 1e-3
    assert found.effect.min() > 1e-2


def test_errors_by_hand():
    z = draw(6, 3)

    def crooked(g, z):
        return z @ g.mT + 0.1 * z.abs()

    found = group_law_error(crooked, z, group=SO3(), samples=3)
    generator = torch.Generator().manual_seed(0)
    g, h = SO3().sample(3, generator=generator), SO3().sample(3, generator=generator)
    for k in range(3):
        both, whole = crooked(g[k], crooked(h[k], z)), crooked(g[k] @ h[k], z)
        expected = (both - whole).norm() / whole.norm()
        assert float(found.composition[k]) == pytest.approx(float(expected))
    assert float(found.identity) == pytest.approx(0.1)
    with pytest.raises(AssertionError, match="not an action"):
        assert_group_law(crooked, z, group=SO3())


def test_reversed_actions_are_named():
    z = draw(6, 3)
    with pytest.raises(AssertionError, match="other way round"):
        assert_group_law(lambda g, z: z @ g, z, group=SO3())


def test_an_action_that_does_nothing():
    found = group_law_error(Trivial(3), draw(4, 3), group=SO3(), samples=2)
    assert found.worst == 0
    assert found.effect.max() == 0
    with pytest.raises(ConventionError, match="group"):
        group_law_error(Trivial(3), draw(4, 3))


def test_single_precision():
    found = assert_group_law(Vectors(SO3()), draw(4, 3).float())
    assert found.worst > 0
