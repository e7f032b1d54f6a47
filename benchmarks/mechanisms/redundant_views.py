"""A pruned training set against as many views drawn at random.

Hypothesis: where most views show few objects again and again, pruning by descriptors that do not
see the turn keeps the others. Where every object has as many views, a random choice is as good.

With 40 views of a tenth of the objects and a fifth of the pool kept, a random choice still saw 155
of 512 objects, and the gain was within its error (0.018 ± 0.023): too little was redundant.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import about_z, posed, shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import Side, preset
from equivariant.measure import farthest_first

FILMED, TURNTABLE, KEPT, BATCH, TAU = 0.05, 80, 0.1, 48, 0.1


def experiment() -> Experiment:
    return Experiment(
        name="redundant_views",
        title="A training set without redundant views against as many views at random",
        planted="80 views of each of a twentieth of the objects, one of each other",
        control="five views of every object",
        metric="knn_accuracy",
        higher=True,
        steps=150,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    clouds, owner = pool(run.seed, condition)
    count = int(KEPT * len(clouds))
    draws = run.generator()
    if arm == "mechanism":
        kept = farthest_first(radii(clouds), count, distance=_euclidean)
    else:
        kept = torch.randperm(len(clouds), generator=draws)[:count]
    clouds, owner = clouds[kept], owner[kept]
    (encoder,) = fresh(run, CloudEncoder)
    objective = preset("supcon_out", tau=TAU).build()

    def loss() -> Tensor:
        rows = batch(len(clouds), BATCH, draws)
        a, b = (encoder(view(clouds[rows], draws)) for _ in range(2))
        label = objects.label[owner[rows]]
        return objective(a=Side.of(a, label=label), b=Side.of(b, label=label)).total

    train([encoder], loss, run)
    with torch.no_grad():
        x = encoder.body(view(clouds, draws))
        y = encoder.body(view(held_out.surface, draws))
    return {
        "knn_accuracy": knn_accuracy(x, objects.label[owner], y, held_out.label),
        "objects": float(len(owner.unique())),
    }


@lru_cache(maxsize=8)
def pool(seed: int, condition: Condition) -> tuple[Tensor, Tensor]:
    """Views to train on, and whose they are; 0.02 of noise, turned about the vertical."""
    objects, _ = shapes(seed)
    draws = torch.Generator().manual_seed(seed)
    views = torch.full((len(objects),), round(FILMED * TURNTABLE + 1))  # as many in all
    if condition == "planted":
        views = torch.ones(len(objects), dtype=torch.int64)
        filmed = torch.randperm(len(objects), generator=draws)[: round(FILMED * len(objects))]
        views[filmed] = TURNTABLE
    owner = torch.arange(len(objects)).repeat_interleave(views)
    return posed(objects.surface[owner], about_z(len(owner), draws), draws), owner


def radii(clouds: Tensor) -> Tensor:
    """Heights and distances from the axis at 16 quantiles each: no turn about it changes them."""
    height = clouds[..., 2].abs()
    levels = torch.linspace(0.03, 0.97, 16)
    return torch.cat(
        [t.quantile(levels, dim=1).T for t in (height, clouds[..., :2].norm(dim=-1))], 1
    )


def _euclidean(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).norm(dim=1)
