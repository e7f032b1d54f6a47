"""Light of one picture on all pictures of a batch.

Hypothesis: where every picture has one of a few lights, negatives differ in light and a contrast
learns to see it; under one shared light it must see shapes, and what it learned holds under a
light that it never saw. Where all pictures have one light there is nothing to share.

Light four times as strong left both arms at chance under the new one, on a seed that is not among
the reported ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import SIDE, Shapes, depth_maps, resample, shapes
from benchmarks.mechanisms.training import Run, batch, fresh, linear_accuracy, perceptron, train
from equivariant.losses import preset, share_low_frequencies

BATCH, TAU, LIGHTS, DIM = 64, 0.2, 4, 64


def experiment() -> Experiment:
    return Experiment(
        name="shared_light",
        title="BSS (one picture's low frequencies for the batch) against pictures as they are",
        planted="three lights in training, a fourth one at test",
        control="one light for all pictures",
        metric="accuracy_in_new_light",
        higher=True,
        steps=300,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    source = torch.Generator().manual_seed(run.seed)
    light = torch.randint(LIGHTS - 1, (len(objects),), generator=source)
    network, head = fresh(
        run, lambda: perceptron(SIDE * SIDE, 128, DIM), lambda: perceptron(DIM, DIM, DIM)
    )
    draws = run.generator()
    nt_xent = preset("nt_xent", tau=TAU).build()
    lit = lights(source)
    if condition == "control":
        lit = lit[:1].expand_as(lit)

    def pictures(side: Shapes, which: Tensor) -> Tensor:
        seen = depth_maps(resample(side.surface, draws, 96)).unflatten(1, (1, SIDE, SIDE))
        return seen + lit[which][:, None] + 0.05 * torch.randn(seen.shape, generator=draws)

    def view(side: Shapes, which: Tensor) -> Tensor:
        x = pictures(side, which)
        if arm == "mechanism":
            x = share_low_frequencies(x, most=0.15, generator=draws)
        z: Tensor = head(network(x.flatten(1)))
        return z

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        a, b = (view(objects[rows], light[rows]) for _ in range(2))
        return nt_xent(a, b).total

    train([network, head], loss, run)
    new = torch.full((len(held_out),), LIGHTS - 1)
    old = torch.randint(LIGHTS - 1, (len(held_out),), generator=draws)
    with torch.no_grad():
        x, y, same = (
            network(pictures(side, which).flatten(1))
            for side, which in ((objects, light), (held_out, new), (held_out, old))
        )
    return {
        "accuracy_in_new_light": linear_accuracy(x, objects.label, y, held_out.label),
        "accuracy_in_known_lights": linear_accuracy(x, objects.label, same, held_out.label),
    }


def lights(draws: torch.Generator) -> Tensor:
    """Smooth pictures that are added, one for each light, shape (LIGHTS, SIDE, SIDE)."""
    at = torch.linspace(-1.0, 1.0, SIDE)
    slope = torch.randn(LIGHTS, 3, generator=draws)
    return 0.5 * (
        slope[:, 0, None, None] + slope[:, 1, None, None] * at[:, None]
        + slope[:, 2, None, None] * at
    )  # fmt: skip
