"""Positives made of features, where two views differ little.

Hypothesis: a positive moved on along the difference of two views stands for a view that differs
more. Where known clouds are turned by little, and clouds are asked for that are turned by any
angle, it widens what the encoder ignores. Where known clouds are turned by any angle themselves,
it adds nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import preset

BATCH, DIM, TAU = 64, 32, 0.1
ASKED_RAD = math.tau
SHOWN_RAD = {"planted": 1.0, "control": ASKED_RAD}


def experiment() -> Experiment:
    return Experiment(
        name="hallucinated",
        title="A positive made of features (Hallucinator) beside InfoNCE against InfoNCE",
        planted="known clouds are turned by up to 0.5 rad, those that are asked by any angle",
        control="known clouds are turned by any angle, too",
        metric="knn_accuracy",
        higher=True,
        steps=200,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    weight = 1.0 if arm == "mechanism" else 0.0
    encoder, objective = fresh(
        run,
        lambda: CloudEncoder(DIM, 16),
        lambda: preset("hallucinator", dim=DIM, tau=TAU, weight=weight).build(),
    )
    draws, shares = run.generator(), run.generator()

    def loss() -> Tensor:
        surface = objects.surface[batch(len(objects), BATCH, draws)]
        views = [view(surface, draws, SHOWN_RAD[condition]) for _ in range(2)]
        a, b = encoder(torch.cat(views)).chunk(2)
        return objective(a=a, b=b, generator=shares).total

    train([encoder, objective], loss, run)
    with torch.no_grad():
        x = encoder.body(view(objects.surface, draws, SHOWN_RAD[condition]))
        y = encoder.body(view(held_out.surface, draws, ASKED_RAD))
    return {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}
