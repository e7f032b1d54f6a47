"""Negatives made of the hardest ones of a short queue.

Hypothesis: among 512 objects of 16 kinds most keys of a short queue are easily told from a query,
and few are hard; mixtures of the hardest with one another and with the query are harder than any,
and teach what tells like objects apart: more held-out objects are found by another view. Where
there are 16 objects, each many times in the queue, the hardest keys show the query's own object,
and pushing what is mixed of them must not help.

Keys are of the encoder as it is, without gradient: a queue of its moving average drifted away from
the queries within 250 steps and left both arms at chance, on two seeds that are not reported. Views
are not stretched, since stretching is what like objects differ by.

A first trial with turns of up to 0.3 rad gained 0.005 ± 0.004, and the control 0.023 ± 0.010. Not a
fair one: 16 objects taught nearly as much (0.298) as 512 (0.346), so that negatives had little to
teach. Hence turns by any angle, which have to be learned before objects can be found. The second
trial gained 0.001 ± 0.002, and 16 objects again taught as much (0.113 and 0.114): still not fair.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import about_z, posed, shapes
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, retrieval, train
from equivariant.losses import preset

BATCH, TAU, DIM, WIDTH, QUEUE = 32, 0.2, 32, 16, 128
TURN_RAD = math.tau
HARDEST, MIXED, WITH_QUERY = 32, 64, 32
FEW = 16  # objects in the control, each many times in the queue


def experiment() -> Experiment:
    return Experiment(
        name="mixed_hardest",
        title="MoCHi (mixtures of the hardest negatives) against MoCo",
        planted="512 objects, a queue of 128 keys, few of which are near a query",
        control="16 objects: the keys nearest to a query show its own object",
        metric="retrieval_accuracy",
        higher=True,
        steps=200,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    source = objects.surface
    if condition == "control":
        source = source[torch.arange(0, len(source), len(source) // FEW)]
    (encoder,) = fresh(run, lambda: CloudEncoder(DIM, WIDTH))
    draws, mixing = run.generator(), run.generator()
    plain = preset("moco", tau=TAU).build()
    mixed = preset("mochi", tau=TAU, hardest=HARDEST, mixed=MIXED, with_query=WITH_QUERY).build()
    step = 0

    def view(surface: Tensor) -> Tensor:
        return posed(surface, about_z(len(surface), draws, TURN_RAD), draws)

    def loss() -> Tensor:
        nonlocal step
        step += 1
        surface = source[batch(len(source), BATCH + QUEUE, draws)]
        query = encoder(view(surface[:BATCH]))
        with torch.no_grad():
            keys, queue = encoder(view(surface)).split([BATCH, QUEUE])
        sides = {"a": query, "b": keys, "bank": queue}
        if arm == "baseline" or step <= run.steps // 4:
            return plain(**sides).total
        return mixed(**sides, generator=mixing).total

    train([encoder], loss, run)
    with torch.no_grad():
        x, y = (encoder(view(held_out.surface)) for _ in range(2))
    return {"retrieval_accuracy": retrieval(x, y)}
