"""Candidates near along the data are hardly pushed.

Hypothesis: shortest paths among depth maps stay within a kind, so weights by them spare false
negatives, and objects of one kind stay together. Paths between other objects spare at random.

In a first trial views were turned about the vertical and stretched, and the baseline reached 0.864,
near what SupCon reaches that is told the kinds (0.884): sparing false negatives had little room. In
the second trial views are turned about any axis.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes
from benchmarks.mechanisms.soft_targets import turned
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import Side, preset

BATCH, TAU = 64, 0.1
NEIGHBORS, BANDWIDTH = 8, 1.0  # the bandwidth in median path lengths


def experiment() -> Experiment:
    return Experiment(
        name="geodesic",
        title="G2L (push weighed by geodesic distance) against InfoNCE",
        planted="shortest paths among depth maps, short within a kind",
        control="the paths of other objects",
        metric="knn_accuracy",
        higher=True,
        steps=150,
        measure=measure,
        shared_baseline=True,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    paths = geodesics(run.seed)
    if condition == "control":
        order = torch.randperm(len(objects), generator=run.generator())
        paths = paths[order][:, order]
    (encoder,) = fresh(run, CloudEncoder)
    draws = run.generator()
    name, settings = ("infonce", {}) if arm == "baseline" else ("g2l", {"bandwidth": BANDWIDTH})
    objective = preset(name, tau=TAU, **settings).build()

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        surface, path = objects.surface[rows], paths[rows][:, rows]
        a, b = encoder(torch.cat([turned(surface, draws), turned(surface, draws)])).chunk(2)
        first, second = (Side.of(z, id=rows, geodesic=path) for z in (a, b))
        return 0.5 * (objective(a=first, b=second).total + objective(a=second, b=first).total)

    train([encoder], loss, run)
    with torch.no_grad():
        x, y = (encoder.body(turned(side.surface, draws)) for side in (objects, held_out))
    return {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}


@lru_cache(maxsize=8)
def geodesics(seed: int) -> Tensor:
    """Path lengths over the median finite one, through the graph of nearest depth maps."""
    objects, _ = shapes(seed)
    paths = shortest_paths(torch.cdist(objects.depth, objects.depth), NEIGHBORS)
    return paths / paths[paths.isfinite() & (paths > 0)].median()


def shortest_paths(distance: Tensor, neighbors: int) -> Tensor:
    """Floyd's rounds over the symmetric graph of nearest neighbours; infinite where no path is."""
    near = distance.topk(neighbors + 1, largest=False)
    paths = torch.full_like(distance, torch.inf).scatter(1, near.indices, near.values)
    paths = torch.minimum(paths, paths.T).fill_diagonal_(0.0)
    for middle in range(len(paths)):
        paths = torch.minimum(paths, paths[:, middle, None] + paths[None, middle])
    return paths
