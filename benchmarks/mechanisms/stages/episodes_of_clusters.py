"""Clusters that follow the networks which they teach.

Hypothesis: two networks that are trained together soon see more than at first; clusters found
anew in every episode know it, those found once do not. Where the other modality is frozen,
clusters found anew are no better ones.

A first trial of 100 steps with half the width gained 0.009 ± 0.009: networks hardly moved, hence
300 steps and a wider network.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import SIDE, shapes, view
from benchmarks.mechanisms.soft_targets import DIM, teacher
from benchmarks.mechanisms.training import (
    CloudEncoder,
    Run,
    batch,
    fresh,
    knn_accuracy,
    perceptron,
    train,
)
from equivariant.losses import Side, contrast, k_means, preset
from equivariant.losses.contrast.pairs import Pairs
from equivariant.losses.prototypes.centroids import back_translated_centroids
from equivariant.training import EpisodeLearner

BATCH, TAU, CLUSTERS, EVERY, SHARE = 48, 0.1, 16, 25, 1.0


def experiment() -> Experiment:
    return Experiment(
        name="episodes_of_clusters",
        title="ProtoCLIP's episodes (clusters every 25 steps) against clusters found once",
        planted="depth maps whose network is trained too, from fresh weights",
        control="frozen embeddings of depth maps",
        metric="knn_accuracy",
        higher=True,
        steps=300,
        measure=measure,
    )


class Both(nn.Module):
    """An encoder of clouds, and one of depth maps."""

    def __init__(self) -> None:
        super().__init__()
        self.cloud, self.depth = CloudEncoder(DIM), perceptron(SIDE * SIDE, 128, DIM)


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    frozen = teacher(run.seed) if condition == "control" else None
    (both,) = fresh(run, Both)
    draws, turns = run.generator(), run.generator()
    clip = preset("clip", tau=TAU).build()

    def other(model: nn.Module, rows: Tensor) -> Tensor:
        found: Tensor = model.depth(objects.depth[rows]) if frozen is None else frozen[rows]  # type: ignore[operator]
        return normalize(found, dim=1)

    def look(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        z = other(model, torch.arange(len(objects)))
        cluster = k_means(z, min(CLUSTERS, len(z)), generator=generator)
        own = normalize(model.cloud(view(objects.surface, turns)), dim=1)  # type: ignore[operator]
        mean, empty = back_translated_centroids(own, cluster, CLUSTERS)
        return {"cluster": cluster, "mean": mean, "empty": empty}

    def loss(
        model: nn.Module, batch: Mapping[str, Tensor], found: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        rows = batch["row"]
        z = model.cloud(view(objects.surface[rows], draws))  # type: ignore[operator]
        anchors = Side.of(z, cluster=found["cluster"][rows])
        there = ~found["empty"]
        means = Side.of(found["mean"][there], cluster=torch.arange(CLUSTERS)[there])
        taught = contrast(anchors, means, Pairs.same("cluster"), tau=TAU).mean()
        total: Tensor = clip(a=z, b=other(model, rows)).total + SHARE * taught
        return total

    every = EVERY if arm == "mechanism" else max(run.steps, 1)
    learner = EpisodeLearner(both, look, loss, every=every)
    learner.generator = run.generator()

    def step() -> Tensor:
        total: Tensor = learner(row=batch(len(objects), BATCH, draws))[0]
        return total

    train([learner], step, run)
    with torch.no_grad():
        x, y = (learner.model.cloud(view(side.surface, draws)) for side in (objects, held_out))  # type: ignore[operator]
    return {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}
