"""The search finds planted peaks, never loses ground, and stays in its ball."""

import math

import pytest
import torch

from equivariant.actions import Points, Trivial, Vectors
from equivariant.errors import ConventionError
from equivariant.groups import SE3, SO2, SO3
from equivariant.measure import worst_case
from equivariant.measure.motions.graph_motion import GraphMotion


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def peak(x, width=0.01, at=2.0):
    """1 everywhere on the circle but near one angle, where it is 2."""
    away = 2 - 2 * (x @ torch.tensor([math.cos(at), math.sin(at)], dtype=x.dtype))
    return (1 + 1 / (1 + away / width**2)).unsqueeze(-1)


def test_a_narrow_peak_over_the_circle():
    angles = torch.linspace(0, 1, 5, dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], -1)
    found = worst_case(
        peak, x, act_in=Vectors(SO2()), act_out=Trivial(1), draws=8, starts=2, steps=60
    )
    low = peak(x)[:, 0]
    expected = (2 - low) / ((2 + low) / 2)
    torch.testing.assert_close(found.errors, expected, atol=1e-6, rtol=0)
    assert found.drawn.max() < 0.5 * expected.min()
    turned = SO2().log(found.elements)[:, 0] + angles
    torch.testing.assert_close(turned, torch.full_like(turned, 2.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_never_below_the_draws(seed):
    weight = draw(3, 3, seed=seed)
    found = worst_case(
        lambda x: (x @ weight).tanh(), draw(6, 3), act_in=Vectors(SO3()), act_out=Vectors(SO3()),
        draws=4, starts=1, steps=15, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    assert (found.errors >= found.drawn).all()
    assert (found.errors > found.drawn).any()
    g, x = found.elements, draw(6, 3)
    left = ((g @ x.unsqueeze(-1)).squeeze(-1) @ weight).tanh()
    right = (g @ (x @ weight).tanh().unsqueeze(-1)).squeeze(-1)
    by_hand = (left - right).norm(dim=1) / ((left.norm(dim=1) + right.norm(dim=1)) / 2)
    torch.testing.assert_close(found.errors, by_hand)


def test_an_equivariant_map_stays_at_zero():
    found = worst_case(
        lambda x: 2 * x, draw(4, 3), act_in=Vectors(SO3()), act_out=Vectors(SO3()), draws=3,
        starts=1, steps=3,
    )  # fmt: skip
    assert found.errors.max() < 1e-14
    assert "worst relative error" in str(found)


def test_a_ball_where_the_group_is_not_compact():
    arguments = {"act_in": Points(SE3()), "act_out": Trivial(3), "draws": 8, "starts": 2}
    cloud = draw(3, 5, 3)
    with pytest.raises(ConventionError, match="radius"):
        worst_case(lambda p: p.mean(1), cloud, **arguments)
    found = worst_case(lambda p: p.mean(1) + 9, cloud, radius=0.5, steps=20, **arguments)
    far = SE3().log(found.elements).norm(dim=1)
    assert far.max() <= 0.5 + 1e-9
    assert far.min() > 0.49  # a translation is never far enough


def test_unbatched_motions_and_graphs():
    turn = lambda g, x: x @ g.mT  # noqa: E731
    x = draw(4, 2)
    shared = worst_case(lambda x: x**3, x, act_in=turn, act_out=turn, group=SO2(), draws=5)
    assert shared.elements.shape == (1, 2, 2)
    g = shared.elements[0]
    left, right = (x @ g.T) ** 3, x**3 @ g.T
    expected = (left - right).norm() / ((left.norm() + right.norm()) / 2)
    torch.testing.assert_close(shared.errors[0], expected)
    data = {"pos": draw(5, 3), "batch": torch.tensor([0, 0, 1, 1, 1])}
    motion = GraphMotion(nodes={"pos": Vectors(SO3())})
    graphs = worst_case(
        lambda d: {**d, "pos": d["pos"] ** 3}, data, act_in=motion, act_out=motion, draws=5,
        starts=1, steps=5,
    )  # fmt: skip
    assert graphs.errors.shape == (2,)


def test_the_share_of_unseen_elements():
    """59 draws bound the share of worse elements by 5 %, with 95 % confidence."""
    found = worst_case(
        torch.sin, draw(2, 3), act_in=Vectors(SO3()), act_out=Vectors(SO3()), draws=59, steps=0
    )
    assert found.unseen_share() == pytest.approx(0.0495, abs=1e-4)
    assert found.unseen_share() == pytest.approx(1 - 0.05 ** (1 / 59))
    torch.testing.assert_close(found.errors, found.drawn)
    with pytest.raises(ConventionError, match="starts"):
        worst_case(torch.sin, draw(2, 3), act_in=Vectors(SO3()), act_out=Vectors(SO3()), starts=99)
