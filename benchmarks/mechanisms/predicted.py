"""A known motion between two views: it moves the anchor before the comparison."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import Shapes, about_z, posed, shapes
from benchmarks.mechanisms.training import (
    CloudEncoder,
    Run,
    batch,
    fresh,
    knn_accuracy,
    ridge_r2,
    train,
)
from equivariant.actions import Vectors
from equivariant.groups import SO3
from equivariant.losses import Side, preset

BATCH, TAU = 64, 0.1
VECTORS = 16  # the embedding is that many vectors of space, on which a rotation acts
POSES = 4
TURN = Vectors(SO3(), VECTORS)


def experiment() -> Experiment:
    return Experiment(
        name="predicted",
        title="Equivariant NCE (ρ(g) moves the anchor) against invariant NT-Xent",
        planted="two poses of an object and the rotation g between them, about the vertical",
        control="g of another pair of the batch",
        metric="reciprocal_rank",
        higher=True,
        steps=200,
        measure=measure,
        shared_baseline=True,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, lambda: CloudEncoder(3 * VECTORS))
    draws, shuffles = run.generator(), run.generator()
    invariant = preset("nt_xent", tau=TAU).build()
    equivariant = preset("equivariant_nce", tau=TAU).build()

    def toward(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
        """The moved a finds b among all b and all a: each object's other pose is a negative."""
        views = torch.arange(2 * len(a))
        moved = Side.of(TURN(g, a), id=views[: len(a)])
        value: Tensor = equivariant(moved=moved, b=Side.of(torch.cat([b, a]), id=views)).total
        return value

    def loss() -> Tensor:
        surface = objects.surface[batch(len(objects), BATCH, draws)]
        first, second = about_z(BATCH, draws), about_z(BATCH, draws)
        clouds = torch.cat([posed(surface, first, draws), posed(surface, second, draws)])
        a, b = encoder(clouds).chunk(2)
        if arm == "baseline":
            return invariant(a=a, b=b).total
        g = second @ first.transpose(1, 2)
        if condition == "control":
            g = g[torch.randperm(BATCH, generator=shuffles)]
        return 0.5 * (toward(a, b, g) + toward(b, a, g.transpose(1, 2)))

    train([encoder], loss, run)
    return pose_numbers(encoder, objects, held_out, draws, about_z)


@torch.no_grad()
def pose_numbers(
    encoder: CloudEncoder,
    objects: Shapes,
    held_out: Shapes,
    draws: torch.Generator,
    turns: Callable[[int, torch.Generator], Tensor],
) -> Numbers:
    features, embeddings, rotations = [], [], []
    for side in (objects, held_out):
        many = side.surface.repeat(POSES, 1, 1)
        rotations.append(turns(len(many), draws))
        features.append(encoder.body(posed(many, rotations[-1], draws)))
        embeddings.append(encoder.head(features[-1]))
    targets = [rotation.flatten(1) for rotation in rotations]
    labels = [side.label.repeat(POSES) for side in (objects, held_out)]
    return {
        "rotation_r2": ridge_r2(embeddings[0], targets[0], embeddings[1], targets[1]),
        "rotation_r2_features": ridge_r2(features[0], targets[0], features[1], targets[1]),
        "reciprocal_rank": _reciprocal_rank(embeddings[1], rotations[1]),
        "knn_accuracy": knn_accuracy(features[0], labels[0], features[1], labels[1]),
    }


def _reciprocal_rank(z: Tensor, rotation: Tensor) -> float:
    """Of the second pose of each object among its poses but the first, asked by the moved first."""
    poses, turns = z.reshape(POSES, -1, z.shape[1]), rotation.reshape(POSES, -1, 3, 3)
    asked = TURN(turns[1] @ turns[0].transpose(1, 2), poses[0])
    scores = torch.cosine_similarity(asked, poses[1:], dim=2)
    rank = 1 + (scores[1:] > scores[0]).sum(0)
    return float((1.0 / rank).mean())
