"""Descent on groups, against energies whose minimum is known."""

from __future__ import annotations

import math

import pytest
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import GL, SE2, SO2, SO3, Affine, Sim
from equivariant.nn.canonical.descent import DescentConfig, descend


def targets(group, count=5, *, scale=0.3):
    return group.sample(count, generator=torch.Generator().manual_seed(3), scale=scale)


def squared_distance(group, goals):
    """|log(goal⁻¹ g)|² for each item's own goal."""
    return lambda g, item: group.log(group.inverse(goals[item]) @ g).square().sum(-1)


@pytest.mark.parametrize("group", [SO2(), SO3(), SE2(), Sim(2), GL(2), Affine(2)], ids=str)
def test_known_minima_are_found(group):
    coordinates = 0.4 * torch.randn(5, group.dim, generator=torch.Generator().manual_seed(1))
    goals = group.exp(coordinates.double())
    config = DescentConfig(steps=80, kept=1)
    energy = squared_distance(group, goals)
    found, value = descend(energy, group, group.identity(1), items=5, config=config)
    assert (found - goals).abs().max() < 1e-3
    assert bool(group.contains(found).all())
    torch.testing.assert_close(value, energy(found, torch.arange(5)))
    unmoved, _ = descend(
        energy, group, group.identity(1), items=5, config=DescentConfig(steps=0, kept=1)
    )
    assert torch.equal(unmoved, group.identity(5))  # the broken twin stays where it starts


def test_the_result_moves_with_the_item_where_the_minimum_is_found():
    group, h = Affine(2), targets(Affine(2), 1, scale=0.2)[0]
    goals = targets(group, scale=0.2)
    config = DescentConfig(steps=80, kept=1)
    start = group.identity(1)
    found, _ = descend(squared_distance(group, goals), group, start, items=5, config=config)
    moved, _ = descend(squared_distance(group, h @ goals), group, start, items=5, config=config)
    torch.testing.assert_close(moved, h @ found, rtol=0, atol=5e-3)


def test_several_starts_escape_local_minima():
    group, goal = SO2(), SO2().exp(torch.tensor([[2.5]], dtype=torch.float64))

    def energy(g, item):
        """A deep hollow of width 0.3 at the goal, and a shallow one at zero."""
        return -torch.exp(-((g - goal) ** 2).sum((1, 2)) / 0.18) - 0.3 * torch.exp(
            -((g - torch.eye(2)) ** 2).sum((1, 2)) / 2
        )

    ring = group.exp(torch.arange(8, dtype=torch.float64)[:, None] * math.pi / 4)
    trapped, shallow = descend(energy, group, ring[:1], items=1)
    found, deep = descend(energy, group, ring, items=1)
    assert (trapped - torch.eye(2)).abs().max() < 0.1 and float(shallow) > -0.5
    assert (found - goal).abs().max() < 1e-2 and float(deep) < -0.9


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_energies_never_rise_and_their_scale_does_not_matter(factor):
    group, goals = SE2(), targets(SE2())
    values = []
    for steps in range(12):
        config = DescentConfig(steps=steps, kept=1)
        scaled = squared_distance(group, goals)
        _, value = descend(
            lambda g, item, f=scaled: factor * f(g, item), group, group.identity(1),
            items=5, config=config,
        )  # fmt: skip
        values.append(value / factor)
    history = torch.stack(values)
    assert bool((history.diff(dim=0) <= 0).all()) and bool((history[-1] < 0.1 * history[0]).all())


def test_items_do_not_depend_on_one_another_and_nothing_is_random():
    group, goals = SE2(), targets(SE2())
    energy = squared_distance(group, goals)
    starts = targets(group, 4)
    found, _ = descend(energy, group, starts, items=5)
    again, _ = descend(energy, group, starts, items=5)
    assert torch.equal(found, again)
    alone, _ = descend(squared_distance(group, goals[3:4]), group, starts, items=1)
    torch.testing.assert_close(alone[0], found[3], rtol=0, atol=1e-12)


def test_flat_and_infinite_energies_leave_the_start():
    eye = SO2().identity(1)
    for energy in (
        lambda g, item: g.sum((1, 2)) * 0.0,
        lambda g, item: (g[:, 0, 0] - 1 - 1e-300).log(),
    ):
        found, _ = descend(energy, SO2(), eye, items=2)
        assert torch.equal(found, eye.expand(2, 2, 2))


def test_no_items_and_gradient_modes():
    energy = squared_distance(SO2(), targets(SO2()))
    assert descend(energy, SO2(), SO2().identity(1), items=0)[0].shape == (0, 2, 2)
    with torch.no_grad():
        found, value = descend(energy, SO2(), SO2().identity(1), items=5)
    assert not found.requires_grad and not value.requires_grad


def test_refusals():
    energy = squared_distance(SO2(), targets(SO2()))
    for wrong in ({"steps": -1}, {"kept": 0}, {"length": 0.0}, {"length": math.nan}):
        with pytest.raises(ConventionError, match="steps"):
            DescentConfig(**wrong)
    with pytest.raises(ConventionError, match="one start"):
        descend(energy, SO2(), SO2().identity(0), items=5)
    with pytest.raises(ShapeError, match="starts"):
        descend(energy, SO2(), SO3().identity(1), items=5)
