"""A student that takes invariance over from a teacher, on turned inputs or on upright ones.

Hypothesis: what a teacher does with turned clouds is seen only where it is shown them. A teacher
that is not invariant itself has no invariance to give.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.redundant_views import radii
from benchmarks.mechanisms.shapes import about_z, resample, shapes
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, perceptron, train
from equivariant.training import DistillationLearner

DIM, BATCH = 16, 64


def experiment() -> Experiment:
    return Experiment(
        name="taught_equivariance",
        title="Distillation on turned inputs (HARD's) against distillation on upright ones",
        planted="a teacher that no turn about the vertical changes",
        control="a teacher that reads coordinates",
        metric="drift",
        higher=False,
        steps=200,
        measure=measure,
    )


class Quantiles(nn.Module):
    """A perceptron on quantiles of heights and distances from the axis."""

    def __init__(self) -> None:
        super().__init__()
        self.network = perceptron(32, 64, DIM)

    def forward(self, clouds: Tensor) -> Tensor:
        embedding: Tensor = self.network(radii(clouds))
        return embedding


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    invariant, plain, student = fresh(
        run, Quantiles, lambda: CloudEncoder(DIM), lambda: CloudEncoder(DIM)
    )
    learner = DistillationLearner(student, invariant if condition == "planted" else plain)
    draws = run.generator()

    def loss() -> Tensor:
        clouds = resample(objects.surface[batch(len(objects), BATCH, draws)], draws)
        turn = about_z(len(clouds), draws)
        x = clouds @ turn.transpose(1, 2) if arm == "mechanism" else clouds
        total: Tensor = learner(x=x)[0]
        return total

    learner.train()
    train([student], loss, run)
    with torch.no_grad():
        clouds = resample(held_out.surface, draws)
        turned = clouds @ about_z(len(clouds), draws).transpose(1, 2)
        z, moved = _centered(student(clouds)), _centered(student(turned))
    return {"drift": float((z - moved).norm() / z.norm())}


def _centered(z: Tensor) -> Tensor:
    """Unit vectors about their mean."""
    z = nn.functional.normalize(z, dim=1)
    return z - z.mean(0)
