"""Clouds beside texts that describe them, against clouds alone.

Each kind comes in four varieties, tapered up or down and bulged out or in, and every object carries
a ball at a height of its own. A text names kind, taper and bulge among words that say nothing, and
leaves out words at random. Hypothesis: two views of an object agree in its ball, which tells it
from others with little effort and is asked of nobody; a contrast of clouds with texts learns what
texts name, and few labelled examples suffice. Texts of other objects name nothing that is there.

A first trial asked one view of each held-out object, 128 answers in all, and gained 0.047 ± 0.026:
too coarse a measurement for such a gain. Hence eight views of each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import about_z, posed
from benchmarks.mechanisms.training import (
    CloudEncoder,
    Run,
    batch,
    fresh,
    linear_accuracy,
    perceptron,
    train,
)
from benchmarks.mechanisms.varieties import KINDS, VARIETIES, families
from equivariant.losses import preset

BATCH, DIM, TAU = 64, 32, 0.1
LEFT_OUT, EMPTY_WORDS = 0.2, 4
WORDS = KINDS + 4 + EMPTY_WORDS
LABELLED = 4  # examples of each variety
BALL = 12  # points of 64
ASKED = 8  # views of each held-out object, each with a ball of its own


def experiment() -> Experiment:
    return Experiment(
        name="described_clouds",
        title="ConVIRT (clouds and texts) against NT-Xent of two views",
        planted="texts name kind, taper and bulge, a word in five left out",
        control="texts of other objects",
        metric="accuracy",
        higher=True,
        steps=300,
        measure=measure,
        shared_baseline=True,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    known, asked = families(run.seed, "planted")
    encoder, reader = fresh(run, lambda: CloudEncoder(DIM), lambda: perceptron(WORDS, 64, DIM))
    draws = run.generator()
    height = heights(len(known), draws)
    told = known.label
    if condition == "control":
        told = told[torch.randperm(len(told), generator=torch.Generator().manual_seed(run.seed))]
    views, described = preset("nt_xent", tau=TAU).build(), preset("convirt", tau=TAU).build()

    def loss() -> Tensor:
        rows = batch(len(known), BATCH, draws)
        surface = known.surface[rows]
        if arm == "baseline":
            both = [carrying(surface, height[rows], draws) for _ in range(2)]
            return views(*encoder(torch.cat(both)).chunk(2)).total
        z = encoder(carrying(surface, height[rows], draws))
        return described(a=z, b=reader(texts(told[rows], draws))).total

    train([encoder, reader], loss, run)
    few = torch.cat([(known.label == v).nonzero()[:LABELLED, 0] for v in range(KINDS * VARIETIES)])
    with torch.no_grad():
        x = torch.cat(
            [encoder.body(carrying(known.surface[few], height[few], draws)) for _ in range(4)]
        )
        rows = torch.arange(len(asked)).repeat(ASKED)
        y = encoder.body(carrying(asked.surface[rows], heights(len(rows), draws), draws))
    return {"accuracy": linear_accuracy(x, known.label[few].repeat(4), y, asked.label[rows])}


def texts(label: Tensor, draws: torch.Generator) -> Tensor:
    """Bags of words, shape (objects, WORDS): kind, taper, bulge, and words that say nothing."""
    kind, variety = label // VARIETIES, label % VARIETIES
    words = torch.zeros(len(label), WORDS)
    each = torch.arange(len(label))
    for word in (kind, KINDS + variety % 2, KINDS + 2 + variety // 2):
        words[each, word] = (torch.rand(len(label), generator=draws) > LEFT_OUT).float()
    empty = torch.rand(len(label), EMPTY_WORDS, generator=draws) < 0.5
    words[:, -EMPTY_WORDS:] = empty.float()
    return words


def heights(count: int, draws: torch.Generator) -> Tensor:
    """Of balls on the axis, in [-1.5, 1.5]."""
    return 3.0 * torch.rand(count, generator=draws) - 1.5


def carrying(surface: Tensor, height: Tensor, draws: torch.Generator) -> Tensor:
    """Views turned about the vertical, the last points of which form a ball on the axis."""
    cloud = posed(surface, about_z(len(surface), draws), draws)
    ball = 0.05 * torch.randn(len(cloud), BALL, 3, generator=draws)
    ball[..., 2] += height[:, None]
    return torch.cat([cloud[:, BALL:], ball], 1)
