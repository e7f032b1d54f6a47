"""Crops of one region in different objects.

Hypothesis: crops around one place in two objects of a kind share the part and not the object, so
an embedding of crops that knows parts across objects is learned; crops of one object share the
object too. Crops of unlike places share nothing.

A first trial read four crops of each held-out object (144 in all) after 200 steps and gained
0.008 ± 0.046, too coarse a measurement for any gain: hence sixteen crops and 400 steps.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import about_z
from benchmarks.mechanisms.training import CloudEncoder, Run, fresh, knn_accuracy, train
from datasets3d import ArticulatedClouds, ArticulatedMeshes
from equivariant.losses import corresponding_crops, preset

BATCH, TAU, CROP, POINTS, TURN_RAD = 64, 0.1, 32, 192, 1.0
CLASSES = ("chest", "drawer", "excavator", "robot_arm")
INSTANCES, ASKED = 30, 16  # objects of each kind, crops of each


def experiment() -> Experiment:
    return Experiment(
        name="regions_of_objects",
        title="Alice (crops of one region in two objects) against two crops of one object",
        planted="objects of a kind correspond in canonical coordinates",
        control="crops of unlike regions of two objects",
        metric="part_accuracy",
        higher=True,
        steps=400,
        measure=measure,
        shared_baseline=True,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    (clouds, label, parts), asked = things(run.seed)
    (encoder,) = fresh(run, lambda: CloudEncoder(16, 16))
    draws = run.generator()
    nt_xent = preset("nt_xent", tau=TAU).build()

    def loss() -> Tensor:
        rows = torch.randint(len(clouds), (BATCH,), generator=draws)
        others = rows if arm == "baseline" else partners(label, rows, draws)
        first, second = clouds[rows], clouds[others]
        a, b = corresponding_crops(first, second, points=CROP, generator=draws)
        if condition == "control":
            b = corresponding_crops(second, second, points=CROP, generator=draws)[0]
        crops = (shown(first, a, draws), shown(second, b, draws))
        return nt_xent(*encoder(torch.cat(crops)).chunk(2)).total

    train([encoder], loss, run)
    found = []
    for x, kind, part in ((clouds, label, parts), asked):
        rows = torch.arange(len(x)).repeat(ASKED)
        crop, _ = corresponding_crops(x[rows], x[rows], points=CROP, generator=draws)
        with torch.no_grad():
            z = encoder(shown(x[rows], crop, draws))
        found.append((z, 16 * kind[rows] + part[rows].gather(1, crop[:, :1])[:, 0]))
    return {"part_accuracy": knn_accuracy(*found[0], *found[1])}


def partners(label: Tensor, rows: Tensor, draws: torch.Generator) -> Tensor:
    """A random object of each row's kind."""
    alike = label[rows][:, None] == label
    return torch.multinomial(alike.float(), 1, generator=draws)[:, 0]


def shown(clouds: Tensor, crop: Tensor, draws: torch.Generator) -> Tensor:
    """Points of crops about their first one, turned, scaled and with noise."""
    x = clouds.gather(1, crop[..., None].expand(-1, -1, 3))
    turn = about_z(len(x), draws, TURN_RAD)
    scale = 0.8 + 0.4 * torch.rand(len(x), 1, 1, generator=draws)
    x = (scale * (x - x[:, :1])) @ turn.transpose(1, 2)
    return x + 0.02 * torch.randn(x.shape, generator=draws)


@lru_cache(maxsize=4)
def things(seed: int) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Clouds at rest, kinds and parts of points; to train on, and held out."""
    source = ArticulatedMeshes(
        instances=INSTANCES, classes=list(CLASSES), seed=seed, val_fraction=0.3
    )
    sides = (ArticulatedClouds(source, split=s, points=POINTS, seed=seed) for s in ("train", "val"))
    return tuple((s.rest.float(), s.labels, s.parts) for s in sides)
