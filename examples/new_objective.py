"""An objective of your own, as data: terms over named sides, with tests inherited from a contract.

    python examples/new_objective.py      evaluates it
    pytest examples/new_objective.py      runs the tests that every objective has to pass

This one pulls second views to first views that an action has moved, lets the hardest four negatives
push, and keeps up the variance of columns.
"""

import torch

from equivariant.actions import Vectors
from equivariant.groups import SO3
from equivariant.losses import (
    ContrastTerm,
    FunctionTerm,
    Hardest,
    Loss,
    Objective,
    Pairs,
    Side,
    variance,
)
from equivariant.testing import ObjectiveContract


def plan(tau: float = 0.1, spread: float = 0.5):
    """The terms: what is compared with what, and how."""
    options = {"pairs": Pairs.same("id"), "tau": tau, "hardest": Hardest(count=4)}
    return [
        ContrastTerm("hard", anchors="moved", candidates="b", **options),
        FunctionTerm("spread", spread, function=variance, of=("b",)),
    ]


def main(pairs: int = 32) -> float:
    generator = torch.Generator().manual_seed(0)
    action = Vectors(SO3(), channels=8)
    g = SO3().sample(pairs, generator=generator).float()
    z_a = torch.randn(pairs, 24, generator=generator, requires_grad=True)
    z_b = action(g, z_a.detach()) + 0.1 * torch.randn(pairs, 24, generator=generator)
    value = Objective(plan(), action)(z_a, z_b, g)
    value.total.backward()
    return value.total.item()


class TestHardEquivariant(ObjectiveContract):
    least = 6

    def build(self) -> Loss:
        return Loss(plan())

    def sides(self, objects: int, generator: torch.Generator) -> dict[str, Side]:
        z = torch.randn(2, objects, 6, generator=generator, dtype=torch.float64)
        return {"moved": Side.of(z[0]), "b": Side.of(z[1])}


if __name__ == "__main__":
    print(f"value {main():.3f}")
