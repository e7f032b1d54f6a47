"""The same object under what is none of its own, at several scales.

Hypothesis: views of an object in other poses and proportions agree in the object alone;
comparing them at every scale cleans early features, too, which are read with the last ones. Where
views differ in nothing but noise there is nothing to clean.

In a first trial 16 points lay around every object, further out than its own, and so were the maxima
over points that a first layer gives, whatever it learned (0.04 of the objects found by it): early
features could not be cleaned. In the second trial views are turned about the vertical by any angle
and stretched; a layer can learn to read heights alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import SIDE, posed, shapes, view
from benchmarks.mechanisms.training import Run, batch, fresh, perceptron, retrieval, train
from equivariant.losses import preset
from equivariant.nn.points.layers import FeatureNorm

BATCH, TAU, DIM, WIDTHS = 48, 0.1, 32, (32, 64, 64)


def experiment() -> Experiment:
    return Experiment(
        name="subjects_at_scales",
        title="CustomContrast (views at three scales, and another modality) against the last",
        planted="views turned by any angle and stretched",
        control="views that differ in noise alone",
        metric="identity",
        higher=True,
        steps=150,
        measure=measure,
    )


class Scales(nn.Module):
    """Maxima over points after each of three layers, and a head for each."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), FeatureNorm(b, "layer"), nn.ReLU())
            for a, b in zip(inputs, WIDTHS, strict=True)
        )
        self.heads = nn.ModuleList(nn.Linear(width, DIM) for width in WIDTHS)
        self.depth = perceptron(SIDE * SIDE, 64, DIM)

    def forward(self, clouds: Tensor) -> list[Tensor]:
        found, x = [], clouds
        for layer, head in zip(self.layers, self.heads, strict=True):
            x = layer(x)
            found.append(head(x.amax(1)))
        return found


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (model,) = fresh(run, Scales)
    draws = run.generator()
    within, across = preset("nt_xent", tau=TAU).build(), preset("clip", tau=TAU).build()

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        a, b = (model(seen(objects.surface[rows], condition, draws)) for _ in range(2))
        if arm == "baseline":
            return within(a[-1], b[-1]).total
        depth = model.depth(objects.depth[rows])
        scales = [within(x, y).total for x, y in zip(a, b, strict=True)]
        total: Tensor = sum(scales, across(a=a[-1], b=depth).total)
        return total

    train([model], loss, run)
    with torch.no_grad():
        stored, asked = (
            torch.cat(
                [normalize(z, dim=1) for z in model(seen(held_out.surface, condition, draws))], 1
            )
            for _ in range(2)
        )
    result = {"identity": retrieval(asked, stored)}
    for scale, pair in enumerate(zip(asked.chunk(3, 1), stored.chunk(3, 1), strict=True)):
        result[f"identity_{scale}"] = retrieval(*pair)
    return result


def seen(surface: Tensor, condition: Condition, draws: torch.Generator) -> Tensor:
    """Views; turns and stretches are what is planted."""
    if condition == "planted":
        return view(surface, draws)
    return posed(surface, torch.eye(3).expand(len(surface), 3, 3), draws)
