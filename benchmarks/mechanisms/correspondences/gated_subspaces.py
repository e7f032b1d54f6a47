"""Objects of unlike kinds as positives, each pair of kinds in a subspace of its own.

Every object carries two balls, one above and one below, each in a direction of its own. Hypothesis:
where objects of one kind are paired by their upper balls and objects of two kinds by their lower
ones, no one comparison of embeddings suits all pairs; gates, one for each pair of kinds, choose
what is compared. Where upper balls pair all kinds, one comparison suits all, and gates have nothing
to choose.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import Shapes, resample, shapes
from benchmarks.mechanisms.training import CloudEncoder, Run, fresh, retrieval, train
from equivariant.losses.presets.spaces import GatedPairs

KINDS, EACH, ASKED, DIM, TAU = 3, 8, 32, 32, 0.1
BALL, SPREAD = 8, 0.05  # points of each ball, of 64
PAIRS = tuple((c, d) for d in range(KINDS) for c in range(d + 1))


def experiment() -> Experiment:
    return Experiment(
        name="gated_subspaces",
        title="Gates for each pair of kinds (Hydra) against one space for all",
        planted="objects of one kind are paired by one part, of two kinds by another",
        control="objects of all kinds are paired by one part",
        metric="retrieval_accuracy",
        higher=True,
        steps=250,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed, KINDS)
    encoder, gated = fresh(
        run, lambda: CloudEncoder(DIM), lambda: GatedPairs(KINDS, DIM, TAU, scale=0.5)
    )
    assert isinstance(gated, GatedPairs)
    if arm == "baseline":  # equal gates change no cosine
        gated.logits.requires_grad_(False).zero_()
    draws = run.generator()

    def loss() -> Tensor:
        a, b, kinds = paired(objects, EACH, condition, draws)
        z = encoder(torch.cat([a, b])).chunk(2)
        return gated(*z, *kinds).mean()

    train([encoder, gated], loss, run)
    a, b, _ = paired(held_out, ASKED, condition, draws)
    found = []
    with torch.no_grad():
        z = encoder(torch.cat([a, b])).chunk(2)
        for index, pair in enumerate(PAIRS):
            rows = slice(index * ASKED, (index + 1) * ASKED)
            gate = gated.gate(*pair)
            found.append(retrieval(gate * z[0][rows], gate * z[1][rows]))
    return {
        "retrieval_accuracy": sum(found) / len(found),
        "gates": float(gated.logits.detach().std()),
    }


def paired(
    side: Shapes, each: int, condition: Condition, draws: torch.Generator
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Views of as many pairs of objects of every pair of kinds, and their kinds."""
    kinds = torch.tensor(PAIRS).repeat_interleave(each, 0)
    balls = math.tau * torch.rand(2, len(kinds), 2, generator=draws)  # object, pair, ball
    lower = (kinds[:, 0] != kinds[:, 1]) & (condition == "planted")
    same = lower.long()[:, None] == torch.arange(2)
    balls[1] = torch.where(same, balls[0], balls[1])
    members = torch.stack([(side.label == kind).nonzero()[:, 0] for kind in range(KINDS)])
    views = []
    for column in range(2):
        pick = torch.randint(members.shape[1], (len(kinds),), generator=draws)
        rows = members[kinds[:, column], pick]
        views.append(carrying(side.surface[rows], balls[column], draws))
    return views[0], views[1], (kinds[:, 0], kinds[:, 1])


def carrying(surface: Tensor, balls: Tensor, draws: torch.Generator) -> Tensor:
    """Views in the canonical pose; the last points of each are its balls."""
    cloud = resample(surface, draws)
    cloud = cloud + 0.02 * torch.randn(cloud.shape, generator=draws)
    for index, height in enumerate((1.0, -1.0)):
        angle = balls[:, index]
        center = torch.stack([angle.cos(), angle.sin(), torch.full_like(angle, height)], 1)
        ball = SPREAD * torch.randn(len(cloud), BALL, 3, generator=draws)
        cloud[:, index * BALL : (index + 1) * BALL] = center[:, None] + ball
    return cloud
