"""What only several views together tell.

Hypothesis: whether three views show one kind of object is in no view by itself, so an embedding
that is a mean over views which never heard of one another does not have it along any direction.
How many views show the first kind is a sum over views, and needs no messages. As in the paper the
encoder of single views is trained before; trained together, neither arm learned in 250 steps.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import Shapes, shapes, view
from benchmarks.mechanisms.training import Run, batch, fresh, train
from equivariant.nn import MessageEncoder, PointNet

BATCH, VIEWS, DIM, KINDS, HELD_OUT = 48, 3, 32, 2, 600
FEATURES, LAYERS, TEACHING = 32, 3, 100
TURN_RAD = 1.0


def experiment() -> Experiment:
    return Experiment(
        name="messages_of_views",
        title="X-CLIP's messages between views against views by themselves",
        planted="the text says whether all views show one kind of object",
        control="the text says whether most views show the first kind",
        metric="accuracy",
        higher=True,
        steps=200,
        measure=measure,
    )


class Views(nn.Module):
    """Two tokens of each view, and the embeddings of two texts with which they are compared."""

    def __init__(self, messages: bool) -> None:
        super().__init__()
        self.split = nn.Linear(FEATURES, 2 * DIM)
        self.views = MessageEncoder(DIM, layers=LAYERS, messages=messages)
        self.texts = nn.Linear(DIM, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Scores of both texts, from features of views (batch, views, FEATURES)."""
        scores: Tensor = self.texts(self.views(self.split(features).unflatten(2, (2, DIM))))
        return scores


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    frames = frame_encoder(run.seed)
    (model,) = fresh(run, lambda: Views(arm == "mechanism"))
    draws = run.generator()

    def seen(side: Shapes, count: int) -> tuple[Tensor, Tensor]:
        clouds, text = sequences(side, count, condition, draws)
        with torch.no_grad():
            return frames(clouds.flatten(0, 1)).unflatten(0, clouds.shape[:2]), text

    def loss() -> Tensor:
        features, text = seen(objects, BATCH)
        return nn.functional.cross_entropy(model(features), text)

    train([model], loss, run)
    features, text = seen(held_out, HELD_OUT)
    with torch.no_grad():
        found = model(features).argmax(1)
    return {"accuracy": float((found == text).float().mean())}


@lru_cache(maxsize=4)
def frame_encoder(seed: int) -> nn.Module:
    """A frozen encoder of single views that was taught kinds, its features standardized."""
    objects, _ = shapes(seed)
    run = Run(seed, 3e-3, TEACHING)
    body, kinds = fresh(
        run, lambda: PointNet((16, FEATURES), "layer"), lambda: nn.Linear(FEATURES, objects.classes)
    )
    norm = nn.BatchNorm1d(FEATURES, affine=False)
    network = nn.Sequential(body, norm)
    draws = run.generator()

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        z = network(view(objects.surface[rows], draws, TURN_RAD))
        return nn.functional.cross_entropy(kinds(z), objects.label[rows])

    train([network, kinds], loss, run)
    return network


def sequences(
    side: Shapes, count: int, condition: Condition, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Three views of objects of two kinds, and the true text, both equally often."""
    rows = [(side.label == kind).nonzero().squeeze(1) for kind in range(KINDS)]
    text = torch.randint(2, (count,), generator=draws)
    first = torch.randint(KINDS, (count, 1), generator=draws)
    odd = torch.randint(VIEWS, (count, 1), generator=draws)
    if condition == "planted":  # text 0: one view shows the other kind
        other = (torch.arange(VIEWS) == odd) & (text == 0)[:, None]
        kind = torch.where(other, 1 - first, first)
    else:  # text 1: two or three views show kind 0
        clear = torch.rand(count, 1, generator=draws) < 0.25
        kind = torch.where((torch.arange(VIEWS) == odd) & ~clear, text[:, None], 1 - text[:, None])
    pick = torch.rand(count, VIEWS, generator=draws)
    chosen = torch.empty(count, VIEWS, dtype=torch.int64)
    for k, members in enumerate(rows):
        index = (pick * len(members)).long()
        chosen = torch.where(kind == k, members[index], chosen)
    clouds = view(side.surface[chosen.flatten()], draws, TURN_RAD)
    return clouds.unflatten(0, (count, VIEWS)), text
