"""Turns at which a student still disagrees with its teacher.

Hypothesis: an augmenter that seeks turns of large disagreement shows the student what it has not
learned of the teacher's invariance; the same augmenter left as it was drawn shows a few turns. A
teacher that is not invariant has none to give.

In a first trial both arms made 300 steps, of which half were the augmenter's: its student moved 150
times, the baseline's 300 times. In the second trial both students move equally often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import about_z, resample, shapes
from benchmarks.mechanisms.taught_equivariance import DIM, Quantiles
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, perceptron, train
from equivariant.actions import Points
from equivariant.groups import SO2
from equivariant.losses import embedding_distance
from equivariant.nn import GroupAugmenter
from equivariant.training import AlternatingLearner

BATCH, NOISE, EVERY = 64, 4, 2


def experiment() -> Experiment:
    return Experiment(
        name="learned_turns",
        title="HARD (an augmenter of turns, trained against the student) against it untrained",
        planted="a teacher that no turn about the vertical changes",
        control="a teacher that reads coordinates",
        metric="drift",
        higher=False,
        steps=300,
        measure=measure,
    )


class Turned(nn.Module):
    """Turns about the vertical, chosen by a network."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = GroupAugmenter(
            Points(SO2()), perceptron(3 + NOISE, 32, 1), lambda x: x.mean(1), noise=NOISE
        )

    def forward(self, clouds: Tensor, *, generator: torch.Generator) -> Tensor:
        g = self.turn.elements(clouds, generator=generator)
        flat = clouds[:, :, :2] @ g.transpose(1, 2)
        return torch.cat([flat, clouds[:, :, 2:]], 2)


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    invariant, plain, student, augmenter = fresh(
        run, Quantiles, lambda: CloudEncoder(DIM), lambda: CloudEncoder(DIM, 16), Turned
    )
    teacher = (invariant if condition == "planted" else plain).requires_grad_(False).eval()
    draws = run.generator()

    def disagreement(
        model: nn.Module, made: nn.Module, clouds: Mapping[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        x = made(clouds["x"], generator=generator)
        return embedding_distance(model(x), teacher(x)).mean()

    learner = AlternatingLearner(student, augmenter, disagreement, every=EVERY)
    learner.generator = draws

    def loss() -> Tensor:
        if arm == "baseline":
            learner.done.zero_()  # always the student's turn
        x = resample(objects.surface[batch(len(objects), BATCH, draws)], draws)
        total: Tensor = learner(x=x)[0]
        return total

    alternate = run.steps * EVERY // (EVERY - 1)  # as many steps of the student as the baseline
    train([learner], loss, replace(run, steps=alternate) if arm == "mechanism" else run)
    with torch.no_grad():
        clouds = resample(held_out.surface, draws)
        turned = clouds @ about_z(len(clouds), draws).transpose(1, 2)
        z, moved = (nn.functional.normalize(student(x), dim=1) for x in (clouds, turned))
        spread = augmenter.turn.elements(clouds, generator=draws).mean(0)
    return {
        "drift": float((z - moved).norm() / (z - z.mean(0)).norm()),
        "turns_alike": float(spread.norm() / 2**0.5),
    }
