"""What improves a contrast of two modalities: views and heads, or losses without negatives.

Each object has a cloud, recorded in one pose, and a depth map. Hypothesis of the paper: views that
are turned and stretched, a head for each modality and smoothed targets give most of what there is
to gain, and losses without negatives, which help the plain contrast, add nothing to that. So the
improved contrast is put beside the plain one, where held-out clouds are turned and stretched and
where they are not; and each loss is added to the plain contrast (planted) and to the improved one
(control), where it must not help.

BarLIP's loss compares the modalities, SiamLIP's and SwALIP's two turned views of a cloud; that the
latter two look at clouds alone is ours.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import SIDE, posed, shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, perceptron, train
from equivariant.losses import preset

Added = Literal["barlip", "siamlip", "swalip"]
DIM, WIDTH, BATCH, TAU, SMOOTHING, PROTOTYPES = 32, 32, 64, 0.1, 0.1, 64
WEIGHTS: dict[Added, float] = {"barlip": 0.025, "siamlip": 1.0, "swalip": 1.0}
TITLES: dict[Added, str] = {
    "barlip": "BarLIP (decorrelated columns beside CLIP) against CLIP",
    "siamlip": "SiamLIP (SimSiam of two views beside CLIP) against CLIP",
    "swalip": "SwALIP (SwAV of two views beside CLIP) against CLIP",
}


def experiments() -> tuple[Experiment, ...]:
    improved = Experiment(
        name="rocket_improved",
        title="CLIP with views, heads and smoothed targets (CLIP-rocket) against CLIP",
        planted="held-out clouds are turned and stretched, recorded ones are not",
        control="held-out clouds are as recorded ones",
        metric="zero_shot_accuracy",
        higher=True,
        steps=200,
        measure=measure_improved,
    )
    added = tuple(
        Experiment(
            name=f"rocket_{name}",
            title=title,
            planted="plain CLIP; held-out clouds are turned and stretched",
            control="CLIP with views, heads and smoothed targets, asked the same",
            metric="zero_shot_accuracy",
            higher=True,
            steps=200,
            measure=partial(measure_added, name),
        )
        for name, title in TITLES.items()
    )
    return (improved, *added)


class TwoModalities(nn.Module):
    """Encoders of clouds and of depth maps; their heads are linear, or two layers with a rectifier.

    Args:
        deep: Whether heads have two layers.
    """

    def __init__(self, deep: bool) -> None:
        super().__init__()
        self.cloud, self.depth = CloudEncoder(DIM, WIDTH).body, perceptron(SIDE * SIDE, 128, 128)
        self.cloud_head = _head(4 * WIDTH, deep)
        self.depth_head = _head(128, deep)

    def of_clouds(self, x: Tensor) -> Tensor:
        z: Tensor = self.cloud_head(self.cloud(x))
        return z

    def of_depth(self, x: Tensor) -> Tensor:
        z: Tensor = self.depth_head(self.depth(x))
        return z


def _head(inputs: int, deep: bool) -> nn.Module:
    return perceptron(inputs, DIM, DIM) if deep else nn.Linear(inputs, DIM)


def measure_improved(condition: Condition, arm: Arm, run: Run) -> Numbers:
    return measure(run, improved=arm == "mechanism", added=None, moved=condition == "planted")


def measure_added(added: Added, condition: Condition, arm: Arm, run: Run) -> Numbers:
    if arm == "baseline":
        return dict(without(condition, run))
    return measure(run, improved=condition == "control", added=added, moved=True)


@lru_cache(maxsize=64)
def without(condition: Condition, run: Run) -> tuple[tuple[str, float], ...]:
    """The contrast with nothing beside it, which is the baseline of all three."""
    numbers = measure(run, improved=condition == "control", added=None, moved=True)
    return tuple(numbers.items())


class Beside(nn.Module):
    """A loss without negatives, of clouds and depth maps or of two views of clouds.

    Args:
        added: Which.
    """

    def __init__(self, added: Added) -> None:
        super().__init__()
        self.added = added
        self.predictor = perceptron(DIM, DIM, DIM)
        built = {
            "barlip": preset("barlow", redundancy=5e-3),
            "siamlip": preset("simsiam"),
            "swalip": preset("swav", dim=DIM, prototypes=PROTOTYPES),
        }
        self.loss = built[added].build()

    def forward(self, pair: tuple[Tensor, Tensor], views: tuple[Tensor, Tensor]) -> Tensor:
        a, b = pair if self.added == "barlip" else views
        if self.added == "siamlip":
            value = self.loss(
                a=self.predictor(a), b=self.predictor(b), target_a=a.detach(), target_b=b.detach()
            )
        else:
            value = self.loss(a=a, b=b)
        return WEIGHTS[self.added] * value.total


def contrast_of_two(a: Tensor, b: Tensor, smoothing: float) -> Tensor:
    """CLIP at a fixed temperature, whose targets give a share to all rows alike."""
    logits = normalize(a, dim=1) @ normalize(b, dim=1).T / TAU
    own = torch.arange(len(a))
    ways = (cross_entropy(x, own, label_smoothing=smoothing) for x in (logits, logits.T))
    return 0.5 * sum(ways, torch.zeros(()))


def recorded(surface: Tensor, draws: torch.Generator) -> Tensor:
    """Clouds in the pose of their recording."""
    return posed(surface, torch.eye(3).expand(len(surface), 3, 3), draws)


def measure(run: Run, *, improved: bool, added: Added | None, moved: bool) -> Numbers:
    objects, held_out = shapes(run.seed)
    (model,) = fresh(run, lambda: TwoModalities(improved))
    assert isinstance(model, TwoModalities)
    other = None if added is None else fresh(run, lambda: Beside(added))[0]
    draws = run.generator()

    def loss() -> Tensor:
        rows = batch(len(objects), BATCH, draws)
        surface = objects.surface[rows]
        a = model.of_clouds((view if improved else recorded)(surface, draws))
        b = model.of_depth(objects.depth[rows])
        total = contrast_of_two(a, b, SMOOTHING if improved else 0.0)
        if other is not None:
            views = [model.of_clouds(view(surface, draws)) for _ in range(2)]
            total = total + other((a, b), views)
        return total

    train([model] if other is None else [model, other], loss, run)
    with torch.no_grad():
        text = normalize(model.of_depth(objects.depth), dim=1)
        codes = torch.stack([text[objects.label == c].mean(0) for c in range(objects.classes)])
        seen = (view if moved else recorded)(held_out.surface, draws)
        found = (model.of_clouds(seen) @ normalize(codes, dim=1).T).argmax(1)
    return {"zero_shot_accuracy": float((found == held_out.label).float().mean())}
