"""The interaction index against enumeration of all orders, and in closed forms."""

from __future__ import annotations

import itertools

import pytest
import torch

from equivariant.errors import EquivariantError
from equivariant.measure.selection.shapley import MOST_EXACT, shapley_interaction


def random_game(players, seed=0):
    values = torch.randn(2**players, generator=torch.Generator().manual_seed(seed)).double()

    def game(coalitions):
        return values[(coalitions.long() * 2 ** torch.arange(players)).sum(1)]

    return game, values


def by_orders(values, players, a, b):
    """Mean over all orders of the players in which a and b are one."""
    others = [p for p in range(players) if p not in (a, b)]
    total, count = 0.0, 0
    for order in itertools.permutations(["both", *others]):
        before = sum(2**p for p in order[: order.index("both")])
        together = values[before + 2**a + 2**b] - values[before + 2**a] - values[before + 2**b]
        total, count = total + float(together + values[before]), count + 1
    return total / count


@pytest.mark.parametrize("players", [2, 3, 4, 5, 6])
def test_enumeration_of_all_orders(players):
    game, values = random_game(players)
    for a, b in itertools.permutations(range(players), 2):
        expected = by_orders(values, players, a, b)
        assert float(shapley_interaction(game, players, a, b)) == pytest.approx(expected, abs=1e-12)


def test_twin_with_all_sets_alike_is_told_apart():
    """Uniform over sets is Banzhaf's index, another number from three others on."""
    game, values = random_game(5)
    found = float(shapley_interaction(game, 5, 0, 1))
    twin = 0.0
    for sizes in itertools.product([0, 1], repeat=3):
        s = sum(bit * 2**p for bit, p in zip(sizes, (2, 3, 4), strict=True))
        twin += float(values[s + 3] - values[s + 1] - values[s + 2] + values[s]) / 8
    assert abs(found - twin) > 0.05


@pytest.mark.parametrize("size", [2, 3, 4])
def test_unanimity(size):
    """All of a team needed: 1 / (size - 1) within the team, 0 across."""

    def game(coalitions):
        return coalitions[:, :size].all(1).double()

    assert float(shapley_interaction(game, 6, 0, 1)) == pytest.approx(1 / (size - 1))
    assert float(shapley_interaction(game, 6, 0, 5)) == 0.0


def test_what_adds_up_has_none_and_what_replaces_is_negative():
    worth = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    assert float(shapley_interaction(lambda s: s.double() @ worth, 4, 1, 3)) == pytest.approx(0)
    assert float(shapley_interaction(lambda s: s[:, :2].any(1).double(), 4, 0, 1)) == -1.0


def test_estimate_is_unbiased_and_its_error_falls():
    game, values = random_game(6)
    exact = by_orders(values, 6, 2, 4)
    source = torch.Generator().manual_seed(0)
    found = [
        float(shapley_interaction(game, 6, 2, 4, samples=50, generator=source)) for _ in range(400)
    ]
    mean = sum(found) / 400
    error = (sum((x - mean) ** 2 for x in found) / 399 / 400) ** 0.5
    assert abs(mean - exact) < 4 * error and error < 0.05
    again = torch.Generator().manual_seed(0)
    assert float(shapley_interaction(game, 6, 2, 4, samples=50, generator=again)) == found[0]


def test_it_is_differentiable_by_what_the_game_is_made_of():
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)

    def game(coalitions):
        return (coalitions.double() @ x).square()

    value = shapley_interaction(game, 4, 0, 1)  # 2 x_0 x_1
    (gradient,) = torch.autograd.grad(value, x)
    torch.testing.assert_close(value, 2 * x[0] * x[1])
    torch.testing.assert_close(gradient, 2 * torch.stack([x[1], x[0], 0 * x[0], 0 * x[0]]))


@pytest.mark.parametrize(
    "call",
    [
        lambda g: shapley_interaction(g, 4, 1, 1), lambda g: shapley_interaction(g, 4, 0, 4),
        lambda g: shapley_interaction(g, 1, 0, 0), lambda g: shapley_interaction(g, 4, -1, 0),
        lambda g: shapley_interaction(g, MOST_EXACT + 1, 0, 1),
        lambda g: shapley_interaction(g, 4, 0, 1, samples=0),
        lambda g: shapley_interaction(lambda s: s.double(), 4, 0, 1),
    ],
)  # fmt: skip
def test_refusals(call):
    with pytest.raises(EquivariantError):
        call(random_game(4)[0])
