"""A temperature for every pair, and several heads, against one temperature and one head.

Hypothesis: where views are made in several ways, each anything from none to strong, some positive
pairs are much less alike than others; a pair's own temperature lets these be less alike, and heads
may differ in what they ignore. Where all views are made in one mild way, all positives are about
equally alike and one temperature serves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import POINTS, about_any, about_z, resample, shapes
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.groups import SO3
from equivariant.losses import preset

HEADS, DIM, WIDTH, BATCH, TAU = 3, 16, 16, 64, 0.2
NEAREST = 12  # negatives that count
MILD_RAD = 0.6  # turns of the control, half of it either way


def experiment() -> Experiment:
    return Experiment(
        name="kinds_of_views",
        title="AMCL (three heads, a temperature of every pair) against NT-Xent",
        planted="views of five kinds (turn, stretch, shrink, noise, cut), each from none to strong",
        control="views of one kind: turned by up to 0.3 rad",
        metric="knn_accuracy",
        higher=True,
        steps=200,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    encoder, spread, adaptive = fresh(
        run,
        lambda: CloudEncoder(HEADS * DIM, WIDTH),
        lambda: nn.BatchNorm1d(HEADS * DIM, affine=False),
        lambda: preset("amcl", dim=DIM, heads=HEADS, negatives=NEAREST).build(),
    )
    nt_xent, draws = preset("nt_xent", tau=TAU).build(), run.generator()
    objective = nt_xent if arm == "baseline" else adaptive

    def loss() -> Tensor:
        surface = objects.surface[batch(len(objects), BATCH, draws)]
        views = torch.cat([seen(surface, condition, draws)[0] for _ in range(2)])
        a, b = spread(encoder(views)).chunk(2)
        return objective(a=a, b=b).total

    modules: list[nn.Module] = [encoder] if arm == "baseline" else [encoder, adaptive]
    train(modules, loss, run)
    with torch.no_grad():
        x, y = (
            encoder.body(seen(side.surface, condition, draws)[0]) for side in (objects, held_out)
        )
    return {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}


def seen(surface: Tensor, condition: Condition, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Views, and how strongly each was made, the mean of its kinds, from 0 to 1."""
    n = len(surface)
    much = torch.rand(n, 5, generator=draws)
    if condition == "control":
        return resample(surface, draws) @ about_z(n, draws, MILD_RAD).transpose(1, 2), much[:, 0]
    turn, stretch, shrink, noise, cut = much.unsqueeze(2).unbind(1)
    sign = 2.0 * torch.randint(2, (n, 1), generator=draws) - 1.0
    rotation = SO3().exp(torch.cat([0 * turn, 0 * turn, math.pi * sign * turn], 1))
    axes = 1.4 ** (stretch * (2.0 * torch.rand(n, 3, generator=draws) - 1.0))
    cloud = part(surface, 1.0 - 0.4 * cut, draws) * (axes * 0.7**shrink)[:, None]
    cloud = cloud @ rotation.transpose(1, 2)
    cloud = cloud + 0.05 * noise[:, None] * torch.randn(cloud.shape, generator=draws)
    return cloud, much.mean(1)


def part(surface: Tensor, share: Tensor, draws: torch.Generator) -> Tensor:
    """Points of each object on one side of a random plane, that share of its surface."""
    order = (surface @ about_any(len(surface), draws)[:, 0, :, None])[..., 0].argsort(1)
    among = (torch.rand(len(surface), POINTS, generator=draws) * share * surface.shape[1]).long()
    return surface.gather(1, order.gather(1, among)[..., None].expand(-1, -1, 3))
