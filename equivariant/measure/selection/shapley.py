"""What two players of a game are worth together beyond what each is worth alone."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Float

Game = Callable[[Tensor], Tensor]
"""From coalitions, shape (K, n), bool, to their values, shape (K,), floating point."""

MOST_EXACT = 16
"""Players up to whom all coalitions of the others are asked, 2¹⁴ times four."""


def shapley_interaction(
    game: Game,
    players: int,
    a: int,
    b: int,
    *,
    samples: int | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """The Shapley interaction index of two players.

        I(a, b) = E_S [v(S ∪ {a, b}) - v(S ∪ {a}) - v(S ∪ {b}) + v(S)]

    S are the players before both in a random order in which a and b stand side by side: its size
    is uniform in 0 ... n - 2, and all sets of a size are equally likely. It is 0 where players
    add up, positive where they need one another, negative where they replace one another.

    Args:
        game: v: the value of coalitions, K at a time. It may be differentiable: then so is I.
        players: n, at least 2.
        a: One player, in 0 ... n - 1.
        b: The other.
        samples: Number of sets S that are drawn; None asks all 2ⁿ⁻², of at most 16 players.
        generator: Of the sets that are drawn.

    Returns:
        I, shape (): exact, or an unbiased estimate.

    Raises:
        ConventionError: The players are not two of the game, there are too many of them for all
            coalitions, or a number is out of range.
        ShapeError: The game does not return one value per coalition.

    Example:
        >>> both = lambda s: (s[:, 0] & s[:, 1]).double()  # worth 1 together, 0 alone
        >>> float(shapley_interaction(both, 3, 0, 1)), float(shapley_interaction(both, 3, 0, 2))
        (1.0, 0.0)

    Source: Grabisch, Roubens 1999; as an alignment of parts in Li et al. 2023 (G2L).
    """
    _check(players, a, b, samples)
    others = torch.tensor([p for p in range(players) if p not in (a, b)], dtype=torch.int64)
    if samples is None:
        sets, weight = _all_sets(len(others))
    else:
        sets = _drawn_sets(len(others), samples, generator)
        weight = torch.full((samples,), 1.0 / samples, dtype=torch.float64)
    without = torch.zeros(len(sets), players, dtype=torch.bool)
    without[:, others] = sets
    first, second, together = without.clone(), without.clone(), without.clone()
    first[:, a], second[:, b] = True, True
    together[:, a], together[:, b] = True, True
    value = game(torch.cat([together, first, second, without]))
    if value.shape != (4 * len(sets),):
        raise ShapeError(
            expected=f"one value for each of {4 * len(sets)} coalitions",
            got=f"shape {tuple(value.shape)}", argument="game",
            advice="A game takes coalitions (K, n) and returns values (K,).",
        )  # fmt: skip
    both, one, other, none = value.chunk(4)
    return (weight.to(value) * (both - one - other + none)).sum()


def _all_sets(count: int) -> tuple[Tensor, Tensor]:
    """All subsets of the others, and the probability of each."""
    numbers = torch.arange(2**count)
    sets = (numbers[:, None] >> torch.arange(count)) & 1 == 1
    each = torch.tensor(
        [1.0 / ((count + 1) * comb(count, size)) for size in range(count + 1)], dtype=torch.float64
    )
    return sets, each[sets.sum(1)]


def _drawn_sets(count: int, samples: int, generator: torch.Generator | None) -> Tensor:
    """Subsets of uniform size, and of a size uniform."""
    rank = torch.rand(samples, count, generator=generator).argsort(1).argsort(1)
    size = torch.randint(count + 1, (samples, 1), generator=generator)
    return rank < size


def _check(players: int, a: int, b: int, samples: int | None) -> None:
    if a == b or not (0 <= a < players and 0 <= b < players):
        raise ConventionError(
            expected=f"two different players from 0 to {players - 1}", got=f"{a} and {b}",
            argument="b", advice="A game of fewer than two players has no interaction.",
        )  # fmt: skip
    if samples is None and players > MOST_EXACT:
        raise ConventionError(
            expected=f"at most {MOST_EXACT} players for all coalitions", got=str(players),
            argument="players", advice="Draw them: samples=1000.",
        )  # fmt: skip
    if samples is not None and samples < 1:
        raise ConventionError(
            expected="at least one sample", got=str(samples), argument="samples",
            advice="None asks all coalitions.",
        )  # fmt: skip
