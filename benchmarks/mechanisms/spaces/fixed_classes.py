"""Fixed equiangular vectors of classes against the same vectors, trained.

Hypothesis: where few kinds have most of the objects, training pushes the vectors of rare kinds
away from what is frequent, together, and rare kinds are not told apart; vectors that stay at right
angles keep a place for each. Where all kinds have equally many objects, trained vectors stay apart
by themselves, and fixing them must not help. The baseline is no fully connected layer, whose
logits have another scale: it would differ in more than what is trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import Shapes, shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, train
from equivariant.losses import Side, equiangular_basis, preset

DIM, BATCH, TAU, WIDTH = 16, 64, 0.07, 16
RAREST = 1 / 16  # objects of a rare kind over those of a frequent one


def experiment() -> Experiment:
    return Experiment(
        name="fixed_classes",
        title="EBV (fixed equiangular vectors of classes) against the same vectors, trained",
        planted="half of 16 kinds are rare: a sixteenth of the objects of each other kind",
        control="as many objects in all, equally many of each kind",
        metric="accuracy",
        higher=True,
        steps=300,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    everything, held_out = shapes(run.seed)
    source = torch.Generator().manual_seed(run.seed)
    rank = torch.randperm(everything.classes, generator=source)
    objects = everything[kept(everything, rank, condition)]
    basis = equiangular_basis(everything.classes, DIM, generator=source).vectors
    encoder, layer = fresh(
        run,
        lambda: CloudEncoder(DIM, WIDTH),
        lambda: nn.Linear(DIM, everything.classes, bias=False),
    )
    with torch.no_grad():
        layer.weight.copy_(basis)
    objective, draws = preset("ebv", basis=basis, tau=TAU).build(), run.generator()

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        z, label = encoder(view(objects.surface[rows], draws)), objects.label[rows]
        if arm == "mechanism":
            return objective(a=Side.of(z, label=label)).total
        return nn.functional.cross_entropy(cosines(z, layer.weight) / TAU, label)

    train([encoder, layer] if arm == "baseline" else [encoder], loss, run)
    with torch.no_grad():
        z = encoder(view(held_out.surface, draws))
        vectors = layer.weight if arm == "baseline" else basis
        right = (cosines(z, vectors).argmax(1) == held_out.label).float()
        between = cosines(vectors, vectors).fill_diagonal_(0.0).abs()
    rare = rank[held_out.label] >= everything.classes // 2
    return {
        "accuracy": float(right.mean()),
        "accuracy_rare": float(right[rare].mean()),
        "coherence": float(between.max()),
    }


def kept(objects: Shapes, rank: Tensor, condition: Condition) -> Tensor:
    """Rows of the objects to train on: few of the kinds of high rank, or alike."""
    most = int(objects.label.bincount().max())
    share = torch.where(rank < len(rank) // 2, 1.0, RAREST)
    count = (most * share).round().clamp(min=1).long()
    if condition == "control":
        count = torch.full_like(count, round(float(count.float().mean())))
    return torch.cat([(objects.label == c).nonzero()[: count[c], 0] for c in range(len(rank))])


def cosines(x: Tensor, y: Tensor) -> Tensor:
    """Of all rows of both, shape (rows of x, rows of y)."""
    return nn.functional.normalize(x, dim=1) @ nn.functional.normalize(y, dim=1).T
