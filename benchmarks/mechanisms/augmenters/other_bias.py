"""The same object in the color of another kind.

Hypothesis: where colors go with kinds, a classifier learns colors; beside a contrast of each
object with itself in another color, exactly made, it must read shapes. Where all objects have
one color there is nothing to unlearn.

In a first trial's control every object had a color of its own, drawn: a bias of objects instead of
kinds, which a contrast of objects learns too, so that the mechanism had something to unlearn. In
the second trial's control all objects have one color, in training and at test; the mechanism goes
on recoloring with the whole palette.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes, view
from benchmarks.mechanisms.stages.stages_of_learning import NOISE
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, train
from equivariant.losses import preset

BATCH, TAU, DIM, BIASED, CLASSES = 48, 0.1, 32, 0.95, 8


def experiment() -> Experiment:
    return Experiment(
        name="other_bias",
        title="CDvG (contrast with the object in another color, exact) against its own color",
        planted="95 % of the objects of a kind have the kind's color",
        control="all objects have one color",
        metric="accuracy_in_other_colors",
        higher=True,
        steps=200,
        measure=measure,
    )


class Painted(nn.Module):
    """An embedding of cloud and color, and a classifier of it."""

    def __init__(self) -> None:
        super().__init__()
        self.clouds, self.color = CloudEncoder(DIM, 16), nn.Linear(3, DIM)
        self.kinds = nn.Linear(DIM, CLASSES)

    def forward(self, clouds: Tensor, color: Tensor) -> Tensor:
        z: Tensor = self.clouds(clouds) + self.color(3.0 * color)
        return z


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed, CLASSES)
    source = torch.Generator().manual_seed(run.seed)
    palette = torch.rand(CLASSES, 3, generator=source)
    biased = torch.rand(len(objects), generator=source) < BIASED
    modes = torch.randint(CLASSES, (len(objects),), generator=source)
    modes = torch.where(biased, objects.label, modes)
    worn = palette if condition == "planted" else palette[:1].expand_as(palette)
    (model,) = fresh(run, Painted)
    draws = run.generator()
    nt_xent = preset("nt_xent", tau=TAU).build()

    def seen(surface: Tensor, mode: Tensor, colors: Tensor = worn) -> Tensor:
        color = colors[mode] + NOISE * torch.randn(len(mode), 3, generator=draws)
        z: Tensor = model(view(surface, draws), color)
        return z

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        other = torch.randint(CLASSES, (len(rows),), generator=draws)
        a = seen(objects.surface[rows], modes[rows])
        own = arm == "baseline"
        b = seen(objects.surface[rows], *((modes[rows],) if own else (other, palette)))
        told = nn.functional.cross_entropy(model.kinds(a), objects.label[rows])
        return told + nt_xent(a, b).total

    train([model], loss, run)
    with torch.no_grad():
        shift = torch.randint(1, CLASSES, (len(held_out),), generator=draws)
        truth = held_out.label
        in_others, in_own = (
            (model.kinds(seen(held_out.surface, mode)).argmax(1) == truth).float().mean()
            for mode in ((truth + shift) % CLASSES, truth)
        )
    return {"accuracy_in_other_colors": float(in_others), "accuracy_in_own_color": float(in_own)}
