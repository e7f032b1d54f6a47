"""A continuous label: the closer two labels, the stronger the pull.

Hypothesis: SupCon on bins forgets how angles within a bin and across bins are ordered; a kernel
on the angle keeps it, so distances of embeddings follow distances of angles. With the angles of
other objects, in both arms, there is nothing to follow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.label_distance import BINS, rank_correlation, separation, turned
from benchmarks.mechanisms.shapes import shapes
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, train
from equivariant.losses import Kernel, Pairs, Side, contrast

BATCH, TAU = 64, 0.3
BANDWIDTH = math.tau / 12  # radians


def experiment() -> Experiment:
    return Experiment(
        name="kernel",
        title="Kernel contrast on the angle against SupCon on its bins",
        planted="the angle about the vertical; bins are a twelfth of a turn",
        control="angles of other objects, in both arms",
        metric="spearman",
        higher=True,
        steps=200,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, CloudEncoder)
    draws, shuffles = run.generator(), run.generator()
    pairs: Pairs = Pairs.same("label")
    if arm == "mechanism":
        pairs = Kernel("angle", BANDWIDTH, separation)

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        clouds, angle = turned(objects.surface[rows], draws)
        if condition == "control":
            angle = angle[torch.randperm(BATCH, generator=shuffles)]
        label = (angle * BINS / math.tau).long()
        side = Side.of(encoder(clouds), label=label, angle=angle)
        return contrast(side, side, pairs.not_self(), tau=TAU).mean()

    train([encoder], loss, run)
    clouds, angle = turned(held_out.surface, draws)
    with torch.no_grad():
        z = normalize(encoder(clouds), dim=1)
    upper = torch.ones(len(z), len(z), dtype=torch.bool).triu(1)
    apart = 1.0 - z @ z.T
    return {"spearman": rank_correlation(apart[upper], separation(angle, angle)[upper])}
