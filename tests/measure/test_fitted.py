"""Representations are recovered from features alone; networks that have none are told apart."""

import pytest
import torch
from e3nn.o3 import spherical_harmonics
from torch import nn

from equivariant.actions import IrrepsAction, Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO2, SO3
from equivariant.measure import fit_action, fit_representation


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def harmonics(x):
    """1x0e + 1x1o + 1x2e features of a vector."""
    second = spherical_harmonics(2, x, normalize=False)
    return torch.cat([x.square().sum(-1, keepdim=True), x, second], -1)


def test_a_hidden_representation_is_recovered():
    mix, x = draw(9, 9, seed=1), draw(200, 3)
    found = fit_representation(lambda x: harmonics(x) @ mix.T, x, act_in=Vectors(SO3()))
    assert found.r2.min() > 0.999
    assert found.null.max() < 0.5
    assert found.homomorphism.max() < 1e-6
    assert found.generator_r2.min() > 0.999
    assert found.bracket < 1e-6
    assert found.exponential.max() < 1e-6
    assert found.rank == found.dim == 9
    h = 1e-5
    action = IrrepsAction("1x0e + 1x1o + 1x2e", SO3())
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    slope = (action.matrix(SO3().exp(h * axis)) - action.matrix(SO3().exp(-h * axis))) / (2 * h)
    expected = mix @ slope @ torch.linalg.inv(mix)
    torch.testing.assert_close(found.generators[2], expected, atol=1e-5, rtol=1e-5)
    assert "homomorphism" in str(found)


def test_matrices_of_given_elements_and_orthogonal_fits():
    x, g = draw(100, 3), SO3().sample(1, generator=torch.Generator().manual_seed(4))[0]
    turn, _ = torch.linalg.qr(draw(3, 3, seed=2))
    z, moved = x @ turn.T, x @ g.T @ turn.T
    for orthogonal in (False, True):
        found = fit_action(z, moved, orthogonal=orthogonal)
        torch.testing.assert_close(found.matrix, turn @ g @ turn.T, atol=1e-8, rtol=0)
        assert found.r2 > 0.999 > 0.5 > found.null
    stretched = fit_action(z, 2 * moved, orthogonal=True)
    assert stretched.r2 < 0.9
    noisy = fit_action(z, moved + 0.5 * draw(100, 3, seed=6))
    assert 0.5 < noisy.r2 < 0.95
    again = fit_representation(
        lambda x: x, x, act_in=Vectors(SO3()), elements=(g[None], g.T[None]), orthogonal=True
    )
    assert again.r2.shape == (1, 3)
    assert again.homomorphism.max() < 1e-9


def test_a_random_network_is_rejected():
    torch.manual_seed(0)
    first, second = nn.Linear(3, 64).double(), nn.Linear(64, 12).double()
    first.weight.data, second.weight.data = 3 * draw(64, 3, seed=1), draw(12, 64, seed=2) / 8
    found = fit_representation(
        lambda x: second(first(x).tanh()).tanh(), draw(300, 3), act_in=Vectors(SO3())
    )
    assert found.r2.max() < 0.9
    assert found.homomorphism.max() > 0.1
    assert found.bracket > 1e-2
    assert found.null.max() < 0.2


def test_constant_and_dependent_features():
    x = draw(100, 3)
    constant = fit_representation(lambda x: torch.ones(len(x), 4).double(), x,
                                  act_in=Vectors(SO3()))  # fmt: skip
    assert constant.r2.abs().max() == 0
    assert constant.rank == 1
    assert constant.homomorphism.max() < 1e-6
    assert torch.isfinite(constant.exponential).all()
    zero = fit_action(torch.zeros(10, 2).double(), torch.zeros(10, 2).double())
    assert zero.rank == 0
    assert torch.equal(zero.matrix, torch.zeros(2, 2).double())
    doubled = fit_representation(
        lambda x: torch.cat([x, x, torch.ones_like(x)], -1), x, act_in=Vectors(SO3())
    )
    assert doubled.rank == 4
    assert doubled.r2.min() > 0.999
    assert doubled.homomorphism.max() < 1e-6
    assert doubled.bracket < 1e-6
    assert doubled.exponential.max() < 1e-6


def test_clusters_stay_on_one_side():
    z = draw(10, 20).repeat_interleave(10, 0)
    target = draw(10, 20, seed=1).repeat_interleave(10, 0)
    leaking = fit_action(z, target)
    honest = fit_action(z, target, clusters=torch.arange(10).repeat_interleave(10))
    assert leaking.r2 > 0.99 > 0.1 > honest.r2


def test_one_generator_and_wrong_arguments():
    circle = fit_representation(lambda x: x, draw(30, 2), act_in=Vectors(SO2()))
    assert circle.bracket == 0
    torch.testing.assert_close(circle.generators, SO2().basis(), atol=1e-8, rtol=0)
    x = draw(20, 3)
    with pytest.raises(ConventionError, match="group"):
        fit_representation(lambda x: x, x, act_in=Trivial(3))
    with pytest.raises(ShapeError, match="split"):
        fit_action(x[:1], x[:1])
    with pytest.raises(ShapeError, match="cluster"):
        fit_action(x, x, clusters=torch.arange(3))
