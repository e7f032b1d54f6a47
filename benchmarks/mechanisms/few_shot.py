"""A Gaussian classifier with one covariance against nearest class means, of a few examples.

Hypothesis: views differ within a class along a few directions, which a pooled covariance finds
even from few examples. Features whitened by the covariance of all training objects leave nothing
to find.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import Shapes, shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, train
from equivariant.losses import preset
from equivariant.nn import GaussianClassifier

SHOTS, VIEWS, BATCH, TAU = 8, 4, 64, 0.2


def experiment() -> Experiment:
    return Experiment(
        name="few_shot",
        title="Gaussian classifier (GDA) against nearest class mean, 8 examples of each class",
        planted="features of views, whose spread within a class has a few large directions",
        control="the same whitened by the spread within classes of all training objects",
        metric="accuracy",
        higher=True,
        steps=100,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, CloudEncoder)
    draws = run.generator()
    objective = preset("nt_xent", tau=TAU).build()

    def loss() -> Tensor:
        surface = objects.surface[batch(len(objects), BATCH, draws)]
        return objective(encoder(view(surface, draws)), encoder(view(surface, draws))).total

    train([encoder], loss, run)
    with torch.no_grad():
        seen, new = (_features(encoder, side, draws) for side in (objects, held_out))
    labels = objects.label.repeat(VIEWS)
    if condition == "control":
        white = _whitening(seen, labels)
        seen, new = seen @ white, new @ white
    rows = _few(labels, draws)
    x, y = seen[rows], labels[rows]
    if arm == "mechanism":
        found = GaussianClassifier(x, y)(new).argmax(1)
    else:
        means = torch.stack([x[y == c].mean(0) for c in range(objects.classes)])
        found = torch.cdist(new, means).argmin(1)
    return {"accuracy": float((found == held_out.label.repeat(VIEWS)).double().mean())}


def _features(encoder: torch.nn.Module, side: Shapes, draws: torch.Generator) -> Tensor:
    """Of several views of each object, all objects once per view; float64."""
    views = [encoder.body(view(side.surface, draws)) for _ in range(VIEWS)]  # type: ignore[operator]
    return torch.cat(views).double()


def _whitening(x: Tensor, y: Tensor) -> Tensor:
    """The inverse root of the covariance within classes, with a thousandth of its mean added."""
    means = torch.stack([x[y == c].mean(0) for c in range(int(y.max()) + 1)])
    residual = x - means[y]
    covariance = residual.T @ residual / len(x)
    values, vectors = torch.linalg.eigh(covariance)
    root = (values.clamp(min=0) + 1e-3 * values.mean()).rsqrt()
    return vectors * root @ vectors.T


def _few(labels: Tensor, draws: torch.Generator) -> Tensor:
    """Some rows of each class."""
    order = torch.randperm(len(labels), generator=draws)
    return torch.cat([order[labels[order] == c][:SHOTS] for c in range(int(labels.max()) + 1)])
