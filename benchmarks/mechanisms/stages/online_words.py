"""Bags of words keep a student that teaches itself from saying the same of everything.

Hypothesis: a student that repeats the embedding of its own average may call all objects alike;
one that names the words which the average sees in them may not, since words differ. If the
average sees another object, neither has anything to learn.

A first trial of 100 steps with half the width gained -0.048 ± 0.019: both arms stayed near a fresh
network's accuracy, hence 300 steps and a wider network. (A trial before that compared the queue
with its first words, which were as good: fresh networks on points have useful local features.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.training import BagOfWordsLearner, DistillationLearner, Learner

BATCH, WORDS, DIM, WIDTH = 48, 256, 32, 128
SHOWN = 24  # points of a partial view, those nearest to a random one


def experiment() -> Experiment:
    return Experiment(
        name="online_words",
        title="OBoW (bags of words of a queue) against the teacher's own embedding",
        planted="the student sees a part of what its average sees",
        control="the average sees another object",
        metric="knn_accuracy",
        higher=True,
        steps=300,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, lambda: CloudEncoder(DIM))
    learner: Learner
    if arm == "baseline":
        learner = DistillationLearner(encoder, decay=0.98, teacher_sees="whole")
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            learner = BagOfWordsLearner(
                encoder, local, dim=DIM, width=WIDTH, words=WORDS, decay=0.98,
                teacher_sees="whole",
            )  # fmt: skip
    draws = learner.generator = run.generator()

    def loss() -> Tensor:
        surface = objects.surface[batch(len(objects), BATCH, draws)]
        part = partial(view(surface, draws), draws)
        whole = view(surface if condition == "planted" else surface.roll(1, 0), draws)
        total: Tensor = learner(x=part, whole=whole)[0]
        return total

    train([learner], loss, run)
    with torch.no_grad():
        x, y = (encoder.body(view(side.surface, draws)) for side in (objects, held_out))
    return {
        "knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label),
        "spread": float(nn.functional.normalize(y, dim=1).var(0).sum()),
    }


def local(teacher: nn.Module, clouds: Tensor) -> Tensor:
    """Features of points, the maximum of which is the teacher's of the cloud."""
    features: Tensor = teacher.body.point_features(clouds)[1]  # type: ignore[union-attr, operator]
    return features


def partial(clouds: Tensor, draws: torch.Generator) -> Tensor:
    """The points of each cloud that are nearest to a random one of them."""
    center = torch.randint(clouds.shape[1], (len(clouds),), generator=draws)
    middle = clouds[torch.arange(len(clouds)), center][:, None]
    near = (clouds - middle).norm(dim=2).argsort(1)[:, :SHOWN]
    return clouds.gather(1, near[..., None].expand(-1, -1, 3))
