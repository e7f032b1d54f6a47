"""Bodies of which each follows one rule and heeds one other body, or all others.

Hypothesis: rules that change one slot and read one other hold for any number of bodies when
bodies do heed one other each; a network that reads the mean of all bodies learned a mean over as
many as it saw. Where bodies do heed the mean of all, there is no rule of two slots to find.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.training import Run, fresh, perceptron, train
from equivariant.nn import ProductionSystem

BATCH, SEEN, ASKED, HELD_OUT, DIM = 128, 4, 8, 400, 10
STEP_S, PULL = 0.5, 1.0


def experiment() -> Experiment:
    return Experiment(
        name="rules_of_bodies",
        title="Production rules (one slot reads one other) against reading the mean of all slots",
        planted="bodies that fly free, or are pulled to the one of their color; 4 seen, 8 asked",
        control="bodies that fly free, or are pulled to the middle of all",
        metric="error",
        higher=False,
        steps=500,
        measure=measure,
    )


class MeanField(nn.Module):
    """Every slot is changed by one network, which reads it and the mean of all slots."""

    def __init__(self) -> None:
        super().__init__()
        self.network = perceptron(2 * DIM, 96, DIM)

    def forward(self, slots: Tensor, *, generator: torch.Generator) -> tuple[Tensor, None]:
        everyone = slots.mean(1, keepdim=True).expand_as(slots)
        return slots + self.network(torch.cat([slots, everyone], 2)), None


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    (model,) = fresh(
        run,
        MeanField
        if arm == "baseline"
        else lambda: ProductionSystem(DIM, rules=3, hidden=32, parallel=True),
    )
    draws = run.generator()

    def loss() -> Tensor:
        slots, after = bodies(BATCH, SEEN, condition, draws)
        return (model(slots, generator=draws)[0] - after).square().mean()

    train([model], loss, run)
    errors = []
    with torch.no_grad():
        for count in (SEEN, ASKED):
            slots, after = bodies(HELD_OUT, count, condition, draws)
            found = model(slots, generator=draws)[0]
            errors.append(float((found - after).norm() / (after - slots).norm()))
    return {"error": errors[1], "error_as_seen": errors[0]}


def bodies(
    count: int, each: int, condition: Condition, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Slots (position, velocity in the plane, kind, color) before and after one step.

    Even bodies fly free. An odd one is pulled to the even body before it, whose color it has, or
    to the middle of all.
    """
    x = torch.randn(count, each, 2, generator=draws)
    v = 0.5 * torch.randn(count, each, 2, generator=draws)
    kind = (torch.arange(each) % 2).float().expand(count, each)
    colors = nn.functional.normalize(torch.randn(count, each // 2, 5, generator=draws), dim=2)
    color = colors.repeat_interleave(2, 1)
    partner = x[:, torch.arange(each) // 2 * 2]
    aim = partner if condition == "planted" else x.mean(1, keepdim=True)
    after = x + STEP_S * v + kind[..., None] * PULL * STEP_S * (aim - x)
    still = torch.cat([v, kind[..., None], color], 2)
    order = torch.rand(count, each, generator=draws).argsort(1)[..., None].expand(-1, -1, DIM)
    return torch.cat([x, still], 2).gather(1, order), torch.cat([after, still], 2).gather(1, order)
