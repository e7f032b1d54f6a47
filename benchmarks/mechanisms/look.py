"""Classes with hidden sub-classes: positives from the neighbourhood alone."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import Nearest, Pairs, Side, contrast

BATCH, TAU = 128, 0.1
NEIGHBORS = 16
GROUP = 4  # kinds of object in one labelled class


def experiment() -> Experiment:
    return Experiment(
        name="look",
        title="LOOK (nearest neighbours only) against SupCon",
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

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        z, label = encoder(view(objects.surface[rows], draws)), told[rows]
        if arm == "baseline":
            side = Side.of(z, label=label)
            return contrast(side, side, Pairs.same("label").not_self(), tau=TAU).mean()
        return objective(z, label)

    train([encoder], loss, run)
    with torch.no_grad():
        x, y = (encoder(view(side.surface, draws)) for side in (objects, held_out))
    group, kind = (held_out.label // GROUP, objects.label // GROUP), held_out.label
    return {
        "kind_accuracy": knn_accuracy(x, objects.label, y, kind),
        "group_accuracy": knn_accuracy(x, group[1], y, group[0]),
    }


def objective(z: Tensor, label: Tensor) -> Tensor:
    """-log of the softmax mass, among the nearest other rows, on those of the anchor's label."""
    side = Side.of(z, label=label)
    pairs = Nearest(Pairs.same("label").not_self(), NEIGHBORS)
    return contrast(side, side, pairs, tau=TAU, pull="lse").mean()
