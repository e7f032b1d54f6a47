"""Triples of modalities of which some do not belong together.

Hypothesis: where a depth map is of another object than the cloud and the label code beside it, the
losses of the pairs pull the embeddings of that triple apart; projecting such gradients, and leaving
out triples of strong conflict, spoils less than the plain sum. Where all triples belong together
conflicts are of the losses alone, and there is nothing to leave out.

A fair test, asked once: wrong depth maps cost the plain sum over a third of what it finds without
them (0.115 to 0.073), which is the room there was, and neither number is near its ceiling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import SIDE, shapes, view
from benchmarks.mechanisms.training import (
    CloudEncoder,
    Run,
    batch,
    fresh,
    linear_accuracy,
    perceptron,
    retrieval,
    train,
)
from equivariant.losses import preset
from equivariant.training import HarmonizedLearner
from equivariant.training.learners.harmonized import EmbeddingLoss

DIM, BATCH, TAU, MISMATCHED, NOISE = 32, 64, 0.1, 0.3, 0.3
PAIRS = (("cloud", "depth"), ("depth", "code"), ("cloud", "code"))


def experiment() -> Experiment:
    return Experiment(
        name="mismatched",
        title="Harmonized gradients (projected, strong conflicts left out) against their sum",
        planted="30 % of the triples have the depth map of another object",
        control="all triples belong together",
        metric="retrieval_accuracy",
        higher=True,
        steps=200,
        measure=measure,
    )


class Three(nn.Module):
    """Unit embeddings of clouds, of depth maps and of noisy codes of kinds."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.cloud, self.depth = CloudEncoder(DIM), perceptron(SIDE * SIDE, 128, DIM)
        self.code = perceptron(classes, 64, DIM)

    def forward(self, cloud: Tensor, depth: Tensor, code: Tensor) -> dict[str, Tensor]:
        found = {"cloud": self.cloud(cloud), "depth": self.depth(depth), "code": self.code(code)}
        return {name: normalize(z, dim=1) for name, z in found.items()}


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (model,) = fresh(run, lambda: Three(objects.classes))
    source = torch.Generator().manual_seed(run.seed)
    depth, wrong = mismatched(objects.depth, condition, source)
    clip = preset("clip", tau=TAU).build()  # its temperature stays where it starts

    def of_pair(a: str, b: str) -> EmbeddingLoss:
        return lambda z: clip(a=z[a], b=z[b]).total

    losses = {f"{a}_{b}": of_pair(a, b) for a, b in PAIRS}
    learner = HarmonizedLearner(model, losses, curriculum=(-0.3, 0.0, run.steps))
    draws = run.generator()

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        code = one_hot(objects.label[rows], objects.classes).float()
        code = code + NOISE * torch.randn(code.shape, generator=draws)
        given = {"cloud": view(objects.surface[rows], draws), "depth": depth[rows], "code": code}
        if arm == "mechanism":
            total: Tensor = learner(**given)[0]
            return total
        z = model(**given)
        return torch.stack([part(z) for part in losses.values()]).sum()

    train([model], loss, run)
    with torch.no_grad():
        asked = model.cloud(view(held_out.surface, draws))
        kinds = linear_accuracy(
            model.cloud(view(objects.surface, draws)), objects.label, asked, held_out.label
        )
        stored = model.depth(held_out.depth)
    return {
        "retrieval_accuracy": retrieval(asked, stored),
        "kind_accuracy": kinds,
        "mismatched": float(wrong.float().mean()),
    }


def mismatched(
    depth: Tensor, condition: Condition, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Depth maps of which a share has changed places, and which ones.

    Args:
        depth: Shape (objects, pixels).
        condition: In the control none has.
        draws: Which, and where to.
    """
    wrong = torch.zeros(len(depth), dtype=torch.bool)
    if condition == "planted":
        chosen = torch.randperm(len(depth), generator=draws)[: round(MISMATCHED * len(depth))]
        wrong[chosen] = True
        depth = depth.clone()
        depth[chosen] = depth[chosen.roll(1)]
    return depth, wrong
