"""Pairs that show different objects, found by a frozen descriptor.

Hypothesis: three pairs of ten pull two unlike objects together; weights from the agreement of
frozen foreground features take those pairs out, and kinds are told apart better. Where every pair
shows one object, weights have nothing to take out. There is no background: its features agree in
every pair, and cancel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import Side, preset

BATCH, TAU, GAMMA = 64, 0.1, 5.0
MISMATCHED = 0.3


def experiment() -> Experiment:
    return Experiment(
        name="foreground",
        title="GenView weights against NT-Xent",
        planted="30 % of the pairs show two objects",
        control="every pair shows one object",
        metric="knn_accuracy",
        higher=True,
        steps=150,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, CloudEncoder)
    draws = run.generator()
    settings = {} if arm == "baseline" else {"gamma": GAMMA}
    objective = preset("nt_xent" if arm == "baseline" else "genview", tau=TAU, **settings).build()
    raw = profile(view(objects.surface, draws))
    mean, scale = raw.mean(0), raw.std(0).clamp(min=1e-3)

    def side(clouds: Tensor, z: Tensor) -> Side:
        foreground = (profile(clouds) - mean) / scale
        return Side.of(z, foreground=foreground, background=torch.ones(len(z), 1))

    def loss() -> Tensor:
        rows, others = (batch(len(objects), BATCH, draws) for _ in range(2))
        wrong = torch.rand(BATCH, generator=draws) < MISMATCHED
        partner = torch.where(wrong, others, rows) if condition == "planted" else rows
        clouds = [view(objects.surface[chosen], draws) for chosen in (rows, partner)]
        both = encoder(torch.cat(clouds)).chunk(2)
        a, b = (side(cloud, z) for cloud, z in zip(clouds, both, strict=True))
        return objective(a=a, b=b).total

    train([encoder], loss, run)
    with torch.no_grad():
        x, y = (encoder.body(view(part.surface, draws)) for part in (objects, held_out))
    return {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}


def profile(clouds: Tensor) -> Tensor:
    """Sorted radii about the vertical and sorted heights, which a turn about it leaves alone."""
    radius, height = clouds[..., :2].norm(dim=-1), clouds[..., 2]
    return torch.cat([radius.sort(1).values, height.sort(1).values], 1)
