"""One point in two views, where points are asked for.

Hypothesis: a contrast of whole objects need not know where on the object a point is; beside it,
points that must look in one view as the points around them at rest look in the other have to, so a
linear probe of single points' features reads kinds and parts better. Where points of the second
view are said to be where other points of the object are, nothing corresponds. The contrast of whole
objects stands in both arms, as in the authors' combination of the two; PixPro by itself read parts
no better than that contrast on a seed that is not reported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.correspondences.heads import normalized_head
from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import about_z
from benchmarks.mechanisms.tokens.regions_of_objects import things
from benchmarks.mechanisms.training import Run, batch, fresh, linear_accuracy, perceptron, train
from equivariant.losses import Side, preset
from equivariant.nn import PointNet
from equivariant.training import WeightAverage

BATCH, POINTS, DIM, WIDTH, TAU, DECAY = 12, 32, 32, 32, 0.1, 0.98
RADIUS, TURN_RAD = 0.3, 1.0


def experiment() -> Experiment:
    return Experiment(
        name="points_of_views",
        title="PixPro (points of two views) beside NT-Xent of whole objects against NT-Xent",
        planted="where each point of a view is at rest",
        control="places of other points of the same object",
        metric="part_accuracy",
        higher=True,
        steps=200,
        measure=measure,
        shared_baseline=True,
    )


class Points(nn.Module):
    """Features of points from themselves and the maximum over the cloud, and a head for each."""

    def __init__(self) -> None:
        super().__init__()
        self.body = PointNet((WIDTH, WIDTH, 2 * WIDTH), "layer")
        self.mix = perceptron(4 * WIDTH, 2 * WIDTH, 2 * WIDTH)
        self.head = normalized_head(2 * WIDTH, 2 * WIDTH, DIM)
        self.whole = normalized_head(2 * WIDTH, 2 * WIDTH, DIM)

    def features(self, clouds: Tensor) -> Tensor:
        own = self.body.point_features(clouds)[1]
        whole = own.amax(1, keepdim=True).expand_as(own)
        found: Tensor = self.mix(torch.cat([own, whole], 2))
        return found


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    (clouds, label, parts), asked = things(run.seed)
    model, pixpro = fresh(
        run,
        Points,
        lambda: preset("pixpro", dim=DIM, radius=RADIUS, keys=("c", "d")).build(),
    )
    assert isinstance(model, Points)
    draws, wrong = run.generator(), run.generator()
    nt_xent = preset("nt_xent", tau=TAU).build()
    average = WeightAverage(model, decay=DECAY)

    def dense(features: Tensor, place: Tensor) -> Side:
        owner = torch.arange(BATCH).repeat_interleave(POINTS)
        z = model.head(features.flatten(0, 1))
        return Side.of(z, position=place.flatten(0, 1), id=owner)

    def loss() -> Tensor:
        rest = clouds[batch(len(clouds), BATCH, draws)]
        (x, px), (y, py) = (seen(rest, draws)[:2] for _ in range(2))
        keys = {}
        if arm == "mechanism":
            if condition == "control":
                py = py[:, torch.randperm(POINTS, generator=wrong)]
            average.update(model)
            with torch.no_grad(), average.applied(model):
                keys = {"c": dense(model.features(x), px), "d": dense(model.features(y), py)}
        f, g = model.features(x), model.features(y)
        value: Tensor = nt_xent(*(model.whole(h.mean(1)) for h in (f, g))).total
        if keys:
            value = value + pixpro(a=dense(f, px), b=dense(g, py), **keys).total
        return value

    train([model, pixpro], loss, run)
    found = []
    with torch.no_grad():
        for rest, kind, part in ((clouds, label, parts), asked):
            x, _, order = seen(rest, draws)
            answer = 16 * kind[:, None] + part.gather(1, order)
            found.append((model.features(x).flatten(0, 1), answer.flatten()))
    number = found[0][1].unique()
    (x, told), (y, true) = ((z, (t[:, None] == number).long().argmax(1)) for z, t in found)
    return {"part_accuracy": linear_accuracy(x, told, y, true), "spread": float(y.std(0).mean())}


def seen(rest: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Views of POINTS points: turned, scaled, noisy; where the points are at rest; which ones."""
    order = torch.rand(rest.shape[:2], generator=draws).argsort(1)[:, :POINTS]
    place = rest.gather(1, order[..., None].expand(-1, -1, 3))
    scale = 0.8 + 0.4 * torch.rand(len(rest), 1, 1, generator=draws)
    x = scale * place @ about_z(len(rest), draws, TURN_RAD).transpose(1, 2)
    return x + 0.02 * torch.randn(x.shape, generator=draws), place, order
