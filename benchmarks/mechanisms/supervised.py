"""Classes as positives: supervised contrast against two views of one object.

Hypothesis: labels that name the kinds make held-out kinds easier to tell than views alone do.
Labels that are shuffled among the objects name nothing, and must not help.

In a first trial views were turned about the vertical and stretched. They tell kinds apart nearly by
themselves (0.867), and labels had little to add (0.017 ± 0.009). In the second trial views are
turned about any axis, which leaves room.
"""

from __future__ import annotations

import torch

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes
from benchmarks.mechanisms.soft_targets import turned
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import Side, preset

BATCH, TAU = 64, 0.1


def experiment() -> Experiment:
    return Experiment(
        name="supervised",
        title="SupCon against NT-Xent",
        planted="labels name the kinds",
        control="labels are shuffled among the objects",
        metric="knn_accuracy",
        higher=True,
        steps=200,
        measure=measure,
        shared_baseline=True,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, CloudEncoder)
    draws = run.generator()
    order = torch.randperm(len(objects), generator=torch.Generator().manual_seed(run.seed + 1))
    told = objects.label if condition == "planted" else objects.label[order]
    objective = preset("nt_xent" if arm == "baseline" else "supcon_out", tau=TAU).build()

    def loss() -> torch.Tensor:
        rows = batch(len(objects), BATCH, draws)
        surface = objects.surface[rows]
        a, b = encoder(torch.cat([turned(surface, draws), turned(surface, draws)])).chunk(2)
        return objective(a=Side.of(a, label=told[rows]), b=Side.of(b, label=told[rows])).total

    train([encoder], loss, run)
    with torch.no_grad():
        x, y = (encoder.body(turned(side.surface, draws)) for side in (objects, held_out))
    return {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}
