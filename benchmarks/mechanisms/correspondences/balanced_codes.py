"""Codes that use all prototypes equally.

Hypothesis: views that predict one another's prototype may all name the same one, and then nothing
tells objects apart; Sinkhorn's codes, which share objects out among the prototypes, prevent it.
Codes from the same scores without that may not. Where a contrast with other objects keeps them
apart already (NT-Xent in both arms), balance must not help.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.correspondences.heads import normalized_head
from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import Side, contrast, preset
from equivariant.losses.contrast.affinities import Soft
from equivariant.losses.contrast.similarity import unit
from equivariant.losses.presets.prototypes import Prototypes, taught_by

BATCH, DIM, PROTOTYPES, TAU, EPS = 64, 32, 64, 0.1, 0.05


def experiment() -> Experiment:
    return Experiment(
        name="balanced_codes",
        title="SwAV (Sinkhorn's codes) against a softmax of the same scores",
        planted="nothing but the codes keeps objects apart",
        control="NT-Xent in both arms keeps them apart",
        metric="knn_accuracy",
        higher=True,
        steps=200,
        measure=measure,
    )


class Swapped(nn.Module):
    """SwAV, or the same without balance."""

    def __init__(self, balanced: bool) -> None:
        super().__init__()
        self.prototypes = Prototypes(DIM, PROTOTYPES)
        self.swav = preset("swav", dim=DIM, prototypes=PROTOTYPES, tau=TAU, eps=EPS).build()
        self.balanced = balanced

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if self.balanced:
            balanced: Tensor = self.swav(a=a, b=b).total
            return balanced
        prototypes = self.prototypes()
        codes = [(unit(z) @ prototypes.z.T / EPS).softmax(1).detach() for z in (a, b)]
        taught = taught_by(codes, (Side.of(a), Side.of(b)))
        return contrast(taught, prototypes, Soft("targets"), tau=TAU).mean()


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    encoder, head, swapped = fresh(
        run,
        lambda: CloudEncoder(DIM).body,
        lambda: normalized_head(128, 128, DIM),
        lambda: Swapped(arm == "mechanism"),
    )
    draws = run.generator()
    apart = preset("nt_xent", tau=TAU).build()

    def loss() -> Tensor:
        surface = objects.surface[batch(len(objects), BATCH, draws)]
        views = torch.cat([view(surface, draws), view(surface, draws)])
        a, b = head(encoder(views)).chunk(2)
        value: Tensor = swapped(a, b)
        return value if condition == "planted" else value + apart(a=a, b=b).total

    train([encoder, head, swapped], loss, run)
    with torch.no_grad():
        x, y = (encoder(view(side.surface, draws)) for side in (objects, held_out))
        z = unit(head(y))
    return {
        "knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label),
        "spread": float(z.var(0).sum()),
    }
