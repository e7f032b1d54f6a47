"""A frozen modality that knows which objects are alike.

Hypothesis: where a batch holds several objects of a kind, targets by the frozen similarities keep
a cloud from being pushed away from depth maps of its kind. Similarities of other objects do not.

In a first trial there were 16 kinds, unlike ones at right angles: (1 + cos)/2 gives each of these
half of an own kind's weight, and 60 of 64 rows are of other kinds, so seven eighths of a target's
mass were on them. In the second trial there are four kinds, of which a batch holds 16 objects each.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import SIDE, about_any, posed, shapes
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, perceptron, train
from equivariant.losses import Side, preset

DIM, BATCH, TAU = 32, 64, 0.1
KINDS = 4
TEACHING = 200  # steps of the frozen encoder


def experiment() -> Experiment:
    return Experiment(
        name="soft_targets",
        title="CWCL (targets from the frozen modality's similarities) against CLIP",
        planted="a frozen encoder of depth maps in which four kinds lie together",
        control="the frozen similarities of other objects: their rows permuted",
        metric="zero_shot_accuracy",
        higher=True,
        steps=200,
        measure=measure,
        shared_baseline=True,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed, KINDS)
    frozen = teacher(run.seed, KINDS)
    (encoder,) = fresh(run, lambda: CloudEncoder(DIM))
    draws, shuffles = run.generator(), run.generator()
    objective = preset("clip" if arm == "baseline" else "cwcl", tau=TAU).build()

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        z, fixed = encoder(turned(objects.surface[rows], draws)), frozen[rows]
        alike = fixed
        if condition == "control":
            alike = fixed[torch.randperm(len(fixed), generator=shuffles)]
        return objective(a=Side.of(z, features=alike), b=Side.of(fixed, features=alike)).total

    train([encoder], loss, run)  # the temperature stays where it starts, in both arms
    codes = torch.stack([frozen[objects.label == c].mean(0) for c in range(objects.classes)])
    with torch.no_grad():
        z = encoder(turned(held_out.surface, draws))
    found = (z @ normalize(codes, dim=1).T).argmax(1)
    return {"zero_shot_accuracy": float((found == held_out.label).float().mean())}


def turned(surface: Tensor, draws: torch.Generator) -> Tensor:
    """A view in any pose: kinds are hard to tell, which leaves room for better targets."""
    return posed(surface, about_any(len(surface), draws), draws)


@lru_cache(maxsize=8)
def teacher(seed: int, kinds: int = 16) -> Tensor:
    """Unit vectors of the training objects from depth maps, by a network taught their kinds."""
    objects, _ = shapes(seed, kinds)
    run = Run(seed, 3e-3, TEACHING)
    body, head = fresh(
        run,
        lambda: perceptron(SIDE * SIDE, 128, DIM),
        lambda: nn.Linear(DIM, objects.classes, bias=False),
    )
    draws = run.generator()

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        z = normalize(body(objects.depth[rows]), dim=1)
        return nn.functional.cross_entropy(head(z), objects.label[rows])

    train([body, head], loss, run)
    with torch.no_grad():
        return normalize(body(objects.depth), dim=1)
