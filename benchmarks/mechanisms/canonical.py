"""Known poses: every pair compared in a common frame.

Hypothesis: NT-Xent asks an embedding to forget the pose, the canonical form asks it to turn with
it; so the pose of a new object can be retrieved from the second only, and from neither when the
poses are those of other objects. Poses turn about any axis: about one axis alone, the vectors
along it would be a way out.
"""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.predicted import TURN, VECTORS, pose_numbers
from benchmarks.mechanisms.shapes import posed, shapes
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, train
from equivariant.groups import SO3
from equivariant.losses import Side, preset

BATCH, TAU = 64, 0.1
TURN_RAD = 1.5  # the largest angle


def experiment() -> Experiment:
    return Experiment(
        name="canonical",
        title="Canonical equivariant NT-Xent against NT-Xent",
        planted="two poses of an object, both known, turned up to 1.5 rad about any axis",
        control="poses of other objects",
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
    canonical = preset("canonical_nce", action=TURN, tau=TAU).build()

    def loss() -> torch.Tensor:
        surface = objects.surface[batch(len(objects), BATCH, draws)]
        poses = [tilted(BATCH, draws) for _ in range(2)]
        both = encoder(torch.cat([posed(surface, pose, draws) for pose in poses])).chunk(2)
        if arm == "baseline":
            return invariant(a=both[0], b=both[1]).total
        if condition == "control":
            poses = [pose[torch.randperm(BATCH, generator=shuffles)] for pose in poses]
        a, b = (Side.of(z, pose=pose) for z, pose in zip(both, poses, strict=True))
        return canonical(a=a, b=b).total

    train([encoder], loss, run)
    return pose_numbers(encoder, objects, held_out, draws, tilted)


def tilted(count: int, draws: torch.Generator) -> torch.Tensor:
    """Rotations about uniform axes by uniform angles, shape (count, 3, 3)."""
    axis = normalize(torch.randn(count, 3, generator=draws), dim=1)
    return SO3().exp(axis * TURN_RAD * torch.rand(count, 1, generator=draws))
