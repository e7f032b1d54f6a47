"""What target objects have that background objects do not: a part that was added."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import Shapes, resample, shapes
from benchmarks.mechanisms.training import (
    CloudEncoder,
    Run,
    batch,
    fresh,
    knn_accuracy,
    ridge_r2,
    train,
)
from equivariant.losses import Side, preset

BATCH, HALF, TAU = 48, 16, 0.5
PART = 12  # points of the added part, of 64


def experiment() -> Experiment:
    return Experiment(
        name="salient",
        title="SepCLR (common and salient halves) against NT-Xent on both halves",
        planted="half of the objects carry an added ball, the targets",
        control="targets by name alone: the ball is not there",
        metric="part_selectivity",
        higher=True,
        steps=150,
        measure=measure,
    )


class TwoEncoders(nn.Module):
    """One encoder for each half, so that neither half is a by-product of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.common, self.salient = CloudEncoder(HALF), CloudEncoder(HALF)

    def forward(self, clouds: Tensor) -> Tensor:
        return torch.cat([self.common(clouds), self.salient(clouds)], 1)


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, TwoEncoders)
    draws = run.generator()
    whole, halves = (preset(name, tau=TAU).build() for name in ("nt_xent", "sepclr"))

    def loss() -> Tensor:
        rows = objects[batch(len(objects), BATCH, draws)]
        place, target = parts(BATCH, draws)
        clouds = [carrying(rows, place, target, condition, draws) for _ in range(2)]
        both = encoder(torch.cat(clouds))
        if arm == "baseline":
            a, b = both.chunk(2)
            return whole(a=a, b=b).total
        a, b = (
            Side.of(common, salient=salient, target=target.long())
            for common, salient in map(split, both.chunk(2))
        )
        return halves(a=a, b=b).total

    train([encoder], loss, run)
    return _numbers(encoder, objects, held_out, condition, draws)


def parts(count: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where the part of each object is, on the unit sphere; and which objects are targets."""
    place = normalize(torch.randn(count, 3, generator=draws), dim=1)
    return place, torch.rand(count, generator=draws) < 0.5


def carrying(
    rows: Shapes, place: Tensor, target: Tensor, condition: Condition, draws: torch.Generator
) -> Tensor:
    """Views in the canonical pose; a target's last points form a ball around its place."""
    cloud = resample(rows.surface, draws)
    cloud = cloud + 0.02 * torch.randn(cloud.shape, generator=draws)
    ball = place[:, None] + 0.1 * torch.randn(len(place), PART, 3, generator=draws)
    if condition == "control":
        return cloud
    shown = torch.where(target[:, None, None], ball, cloud[:, -PART:])
    return torch.cat([cloud[:, :-PART], shown], 1)


def split(z: Tensor) -> tuple[Tensor, Tensor]:
    common, salient = z.chunk(2, 1)
    return normalize(common, dim=1), salient


@torch.no_grad()
def _numbers(
    encoder: TwoEncoders,
    objects: Shapes,
    held_out: Shapes,
    condition: Condition,
    draws: torch.Generator,
) -> Numbers:
    """On targets alone: what each half tells about the kind and about the place of the part."""
    halves, places = [], []
    for side in (objects, held_out):
        place, _ = parts(len(side), draws)
        every = torch.ones(len(side), dtype=torch.bool)
        halves.append(split(encoder(carrying(side, place, every, condition, draws))))
        places.append(place)
    part = [ridge_r2(halves[0][h], places[0], halves[1][h], places[1]) for h in range(2)]
    kind = [
        knn_accuracy(halves[0][h], objects.label, halves[1][h], held_out.label) for h in range(2)
    ]
    return {
        "part_selectivity": max(part[1], 0.0) - max(part[0], 0.0),  # below 0 tells nothing
        "part_r2_common": part[0],
        "part_r2_salient": part[1],
        "kind_accuracy_common": kind[0],
        "kind_accuracy_salient": kind[1],
    }
