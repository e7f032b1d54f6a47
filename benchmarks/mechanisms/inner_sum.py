"""One near positive is enough: the sum over positives inside the logarithm.

Hypothesis: with labels that name groups of four kinds, SupCon's outer sum pulls every object to
all others of its group and forgets the kinds; the inner sum is content with the near ones, so the
kinds stay. With labels that name the kinds, there is nothing to keep.
"""

from __future__ import annotations

import torch

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.look import GROUP
from benchmarks.mechanisms.shapes import shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import Side, preset

BATCH, TAU = 64, 0.1


def experiment() -> Experiment:
    return Experiment(
        name="inner_sum",
        title="SupCon-in against SupCon-out",
        planted="labels name groups of four kinds; the kinds are not told",
        control="labels name the kinds themselves",
        metric="kind_accuracy",
        higher=True,
        steps=200,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    told = objects.label // GROUP if condition == "planted" else objects.label
    (encoder,) = fresh(run, CloudEncoder)
    draws = run.generator()
    objective = preset("supcon_out" if arm == "baseline" else "supcon_in", tau=TAU).build()

    def loss() -> torch.Tensor:
        rows = batch(len(objects), BATCH, draws)
        surface = objects.surface[rows]
        a, b = encoder(torch.cat([view(surface, draws), view(surface, draws)])).chunk(2)
        return objective(a=Side.of(a, label=told[rows]), b=Side.of(b, label=told[rows])).total

    train([encoder], loss, run)
    with torch.no_grad():
        x, y = (encoder(view(side.surface, draws)) for side in (objects, held_out))
    return {"kind_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}
