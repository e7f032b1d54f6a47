"""A small batch: the positive out of its own denominator."""

from __future__ import annotations

import torch

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import preset

BATCH = {"planted": 8, "control": 64}
TAU = 0.1


def experiment() -> Experiment:
    return Experiment(
        name="decoupled",
        title="DCL against NT-Xent",
        planted="batches of 8, whose few negatives leave the softmax at its positive",
        control="batches of 64",
        metric="knn_accuracy",
        higher=True,
        steps=200,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, CloudEncoder)
    draws = run.generator()
    objective = preset("nt_xent" if arm == "baseline" else "dcl", tau=TAU).build()

    def loss() -> torch.Tensor:
        surface = objects.surface[batch(len(objects), BATCH[condition], draws)]
        a, b = encoder(torch.cat([view(surface, draws), view(surface, draws)])).chunk(2)
        return objective(a=a, b=b).total

    train([encoder], loss, run)
    with torch.no_grad():
        x, y = (encoder.body(view(side.surface, draws)) for side in (objects, held_out))
    return {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}
