"""A fixed head of falling weights against no head, for what views do not share.

Hypothesis: where views change the size of an object, a contrast lets size fade from what it
compares. With a head that nearly hides most coordinates from the contrast, these are hardly
trained and keep the size. Where views leave size alone it is kept without a head, and the head must
not help.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import about_z, posed, shapes
from benchmarks.mechanisms.training import (
    CloudEncoder,
    Run,
    batch,
    fresh,
    knn_accuracy,
    ridge_r2,
    train,
)
from equivariant.losses import preset
from equivariant.nn import FixedReweighting

DIM, WIDTH, BATCH, TAU, KAPPA = 16, 16, 64, 0.2, 0.8
SPREAD, CHANGE = 0.25, 0.5  # of the logarithm of the size, over objects and over views


def experiment() -> Experiment:
    return Experiment(
        name="suppressed_features",
        title="A fixed head of falling weights (κ 0.8) against no head",
        planted="sizes of objects, which views change by twice as much as objects differ",
        control="views leave the size alone",
        metric="size_r2",
        higher=True,
        steps=300,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    source = torch.Generator().manual_seed(run.seed)
    size, new_size = (
        SPREAD * torch.randn(len(s), 1, generator=source) for s in (objects, held_out)
    )
    (encoder,) = fresh(run, lambda: CloudEncoder(DIM, WIDTH))
    head = FixedReweighting(DIM, kappa=KAPPA) if arm == "mechanism" else nn.Identity()
    nt_xent, draws = preset("nt_xent", tau=TAU).build(), run.generator()

    def seen(surface: Tensor, log_size: Tensor) -> Tensor:
        turn = about_z(len(surface), draws)
        return posed(surface * log_size.exp()[..., None], turn, draws)

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        views = []
        for _ in range(2):
            change = CHANGE * torch.randn(len(rows), 1, generator=draws)
            views.append(
                seen(objects.surface[rows], size[rows] + change * (condition == "planted"))
            )
        return nt_xent(*head(encoder(torch.cat(views))).chunk(2)).total

    train([encoder], loss, run)
    with torch.no_grad():
        x, y = (
            encoder(seen(side.surface, log_size))
            for side, log_size in ((objects, size), (held_out, new_size))
        )
    return {
        "size_r2": ridge_r2(x, size, y, new_size),
        "knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label),
    }
