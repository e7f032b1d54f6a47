"""A continuous label: the farther two labels, the harder the push."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import posed, shapes
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, ridge_r2, train
from equivariant.groups import SO3
from equivariant.losses import Pairs, Side, contrast

BATCH, TAU = 128, 0.3
BINS = 12  # angles of one bin attract; distances count in bins


def experiment() -> Experiment:
    return Experiment(
        name="label_distance",
        title="Push weighed by label distance (SupReMix without mixtures) against SupCon",
        planted="the angle about the vertical, in 12 bins that lie on a circle",
        control="distances between the labels of other objects",
        metric="spearman",
        higher=True,
        steps=300,
        measure=measure,
        shared_baseline=True,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, CloudEncoder)
    draws, shuffles = run.generator(), run.generator()

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        clouds, angle = turned(objects.surface[rows], draws)
        told = angle
        if condition == "control":
            told = angle[torch.randperm(BATCH, generator=shuffles)]
        side = Side.of(encoder(clouds), label=(angle * BINS / math.tau).long(), told=told)
        pairs = Pairs.same("label").not_self()
        if arm == "mechanism":
            pairs = pairs.weigh(push=bins_apart)
        return contrast(side, side, pairs, tau=TAU).mean()

    train([encoder], loss, run)
    with torch.no_grad():
        (x, seen), (y, new) = (
            (encoder(clouds), angle)
            for clouds, angle in (turned(side.surface, draws) for side in (objects, held_out))
        )
    points = [torch.stack([angle.cos(), angle.sin()], 1) for angle in (seen, new)]
    upper = torch.ones(len(y), len(y), dtype=torch.bool).triu(1)
    apart = 1.0 - normalize(y, dim=1) @ normalize(y, dim=1).T
    return {
        "spearman": rank_correlation(apart[upper], separation(new, new)[upper]),
        "angle_r2": ridge_r2(x, points[0], y, points[1]),
    }


def turned(surface: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Views turned about the vertical, and by which angle in [0, 2π)."""
    angle = math.tau * torch.rand(len(surface), generator=draws)
    rotation = SO3().exp(torch.stack([0 * angle, 0 * angle, angle], 1))
    return posed(surface, rotation, draws), angle


def separation(a: Tensor, b: Tensor) -> Tensor:
    """Angles between directions, in [0, π], of every a with every b."""
    difference = (a[:, None] - b[None, :]).abs()
    return torch.minimum(difference, math.tau - difference)


def bins_apart(q: Side, k: Side) -> Tensor:
    """1 + the distance of labels in bins: the factor of W."""
    return 1.0 + separation(q.get("told"), k.get("told")) * BINS / math.tau


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's coefficient; ties keep the order in which they come."""
    ranks = [x.argsort().argsort().double() for x in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])
