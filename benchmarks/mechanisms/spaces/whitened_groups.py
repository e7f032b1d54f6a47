"""Several whitenings of one embedding as positives against two dropouts of it.

Hypothesis: with one picture of each object and no views, a contrast of two dropouts tells objects
apart by the few directions in which they differ most, here those of light, and the rest of the
space stays empty. Whitened in random groups of columns all directions count alike, so shapes come
through. Without light there is no such direction.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.mechanisms.augmenters.shared_light import lights
from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import SIDE, Shapes, depth_maps, resample, shapes
from benchmarks.mechanisms.training import Run, batch, fresh, knn_accuracy, perceptron, train
from equivariant.losses import preset, uniformity

BATCH, TAU, DIM, GROUPS, DROPOUT = 64, 0.1, 32, 8, 0.1
STRENGTH = 2.0


def experiment() -> Experiment:
    return Experiment(
        name="whitened_groups",
        title="WhitenedCSE (whitenings in random groups as positives) against two dropouts",
        planted="light in three directions differs more between pictures than shapes do",
        control="no light",
        metric="knn_accuracy",
        higher=True,
        steps=300,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    source = torch.Generator().manual_seed(run.seed)
    lit = STRENGTH * lights(source).flatten(1)[:3] * (condition == "planted")
    seen, new = (pictures(side, lit, source) for side in (objects, held_out))
    (network,) = fresh(run, lambda: perceptron(SIDE * SIDE, 128, DIM))
    draws = run.generator()
    nt_xent = preset("nt_xent", tau=TAU).build()
    sgw = preset("sgw", groups=GROUPS, tau=TAU).build()

    def loss() -> Tensor:
        x = seen[batch(len(seen), BATCH, draws)]
        if arm == "mechanism":
            return sgw(a=network(dropped(x, draws)), generator=draws).total
        return nt_xent(network(dropped(x, draws)), network(dropped(x, draws))).total

    train([network], loss, run)
    with torch.no_grad():
        x, y = network(seen), network(new)
    return {
        "knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label),
        "uniformity": float(uniformity(y)),
    }


def pictures(objects: Shapes, lit: Tensor, draws: torch.Generator) -> Tensor:
    """One depth map of each object, under a light of its own, shape (objects, SIDE²)."""
    seen = depth_maps(resample(objects.surface, draws, 96))
    return seen + torch.randn(len(seen), len(lit), generator=draws) @ lit


def dropped(x: Tensor, draws: torch.Generator) -> Tensor:
    """Pictures without some of their pixels."""
    return x * (torch.rand(x.shape, generator=draws) >= DROPOUT) / (1.0 - DROPOUT)
