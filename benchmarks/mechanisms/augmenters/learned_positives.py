"""Views of embeddings that are trained beside the encoder.

Hypothesis: where given views differ little, embeddings moved by trained networks, kept from
being given away, are harder positives and teach more. Where given views differ much already they
are not needed.

In a first trial both arms made 200 steps, of which a third were the augmenter's: the encoder it was
trained beside moved 133 times, the baseline's 200 times. Published steps move both. In the second
trial both encoders move equally often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import posed, shapes, view
from benchmarks.mechanisms.training import (
    CloudEncoder,
    Run,
    batch,
    fresh,
    knn_accuracy,
    perceptron,
    train,
)
from equivariant.losses import preset, triviality
from equivariant.training import AlternatingLearner

BATCH, TAU, DIM, SHARE, EVERY = 48, 0.1, 32, 0.1, 3


def experiment() -> Experiment:
    return Experiment(
        name="learned_positives",
        title="MCLRec (trained views of embeddings beside the given ones) against the given ones",
        planted="given views differ in noise alone; held-out clouds are turned and stretched",
        control="given views are turned and stretched",
        metric="knn_accuracy",
        higher=True,
        steps=200,
        measure=measure,
    )


class Two(nn.Module):
    """Two maps of embeddings, for one made view each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (perceptron(DIM, DIM, DIM) for _ in range(2))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return normalize(a + self.first(a), dim=1), normalize(b + self.second(b), dim=1)


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    encoder, made = fresh(run, lambda: CloudEncoder(DIM, 16), Two)
    draws = run.generator()
    nt_xent = preset("nt_xent", tau=TAU).build()

    def given(surface: Tensor) -> Tensor:
        if condition == "control":
            return view(surface, draws)
        return posed(surface, torch.eye(3).expand(len(surface), 3, 3), draws)

    def embedded(model: nn.Module, clouds: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        a, b = model(torch.cat([clouds["a"], clouds["b"]])).chunk(2)
        return a, b

    def of_model(
        model: nn.Module, made: nn.Module, clouds: Mapping[str, Tensor], unused: torch.Generator
    ) -> Tensor:
        a, b = embedded(model, clouds)
        total: Tensor = nt_xent(a, b).total
        if arm == "mechanism":
            total = total + nt_xent(*made(a, b)).total
        return total

    def of_augmenter(
        model: nn.Module, made: nn.Module, clouds: Mapping[str, Tensor], unused: torch.Generator
    ) -> Tensor:
        x, y = made(*embedded(model, clouds))
        total: Tensor = nt_xent(x, y).total + SHARE * triviality(x, y)
        return total

    learner = AlternatingLearner(encoder, made, of_model, augmenter_loss=of_augmenter, every=EVERY)

    def loss() -> Tensor:
        if arm == "baseline":
            learner.done.zero_()  # always the encoder's turn
        surface = objects.surface[batch(len(objects), BATCH, draws)]
        total: Tensor = learner(a=given(surface), b=given(surface))[0]
        return total

    alternate = run.steps * EVERY // (EVERY - 1)  # as many steps of the encoder as the baseline
    train([learner], loss, replace(run, steps=alternate) if arm == "mechanism" else run)
    with torch.no_grad():
        x, y = (encoder.body(view(side.surface, draws)) for side in (objects, held_out))
    return {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}
