"""What a representation knows: heads trained on cached features of a frozen model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from equivariant.errors import ConventionError, ShapeError
from equivariant.measure.representations.finite_numbers import check_finite
from equivariant.measure.representations.ridge import Moments, chosen_ridge
from equivariant.measure.representations.scores import (
    ClassificationScore,
    RegressionScore,
    classification_score,
    quaternion_angle_deg,
    regression_score,
)
from equivariant.shapes import Float


@dataclass(frozen=True)
class ProbeConfig:
    """How heads are trained.

    Heads that are trained in steps take as many as the epochs have, and at least ``min_steps``:
    with few objects an epoch is a step or two, and a head that was hardly trained says nothing
    of the representation.

    Args:
        epochs: One epoch shows one random view (or pair) of every object; 300 is the published
            protocol.
        batch_size: Views or pairs per step.
        learning_rate: Of Adam, constant.
        hidden: Width of the two hidden layers of the rotation head; 1024 as published.
        seed: Of the head's weights and of the draws.
        min_steps: Fewest steps of a head; 0 for the epochs alone, as published.
        linear: How a linear regression is fitted: "ridge", in closed form, with the penalty
            that does best on a fifth of the training objects; or "steps", as published.
        standardize: Shift and scale each column of the representation to mean 0 and deviation 1
            over the training views, so that one learning rate suits all; not done as published.

    Raises:
        ConventionError: A number is out of its range.
    """

    epochs: int = 300
    batch_size: int = 256
    learning_rate: float = 1e-3
    hidden: int = 1024
    seed: int = 0
    min_steps: int = 2000
    linear: Literal["ridge", "steps"] = "ridge"
    standardize: bool = True

    def __post_init__(self) -> None:
        least = {"epochs": 1, "batch_size": 1, "hidden": 1, "seed": 0, "min_steps": 0}
        wrong = [f"{k}={getattr(self, k)}" for k, low in least.items() if getattr(self, k) < low]
        if not self.learning_rate > 0:
            wrong.append(f"learning_rate={self.learning_rate}")
        if wrong or self.linear not in ("ridge", "steps"):
            raise ConventionError(
                expected="epochs, batch_size, hidden of at least 1, seed and min_steps of at "
                "least 0, learning_rate above 0, linear one of ridge, steps",
                got=", ".join(wrong) or f"linear={self.linear!r}",
                argument="probe",
                advice="ProbeConfig() has settings that suffice.",
            )

    @staticmethod
    def published(*, seed: int = 0) -> ProbeConfig:
        """The heads of the published evaluation, whatever the number of objects."""
        return ProbeConfig(seed=seed, min_steps=0, linear="steps", standardize=False)


@dataclass(frozen=True)
class Features:
    """Representations of every view of every object, and what is known of them.

    Args:
        y: Shape (objects, views, dim), float32.
        label: Shape (objects,), int64.

    Raises:
        ShapeError: The shapes do not belong together.
        ConventionError: A representation is not finite.
    """

    y: Float[Tensor, "objects views dim"]
    label: Tensor

    def __post_init__(self) -> None:
        if self.y.ndim != 3 or tuple(self.label.shape) != (self.y.shape[0],):
            raise ShapeError(
                expected="y of shape (objects, views, dim) and one label per object",
                got=f"y {tuple(self.y.shape)}, label {tuple(self.label.shape)}",
                argument="features",
                advice="Encode every view once, in evaluation mode.",
            )
        check_finite(self.y, "y", rows="objects")

    def part(self, rows: slice) -> Features:
        """The same views, seen through some entries of the representation only."""
        return Features(self.y[..., rows], self.label)


MOST_PAIRS = 2**18
"""Pairs that a linear head in closed form is fitted to, where there are more."""

PairTarget = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps objects, first views and second views, int64 of shape (N,), to targets (N, C)."""


@dataclass(frozen=True)
class RotationProbe:
    """Result of the rotation probe.

    Args:
        score: Coefficients of determination of the four quaternion components.
        median_deg: Median angle between predicted and true relative rotation, degrees.
        mean_deg: Mean of the same.
        blind_median_deg: Median angle of always answering the mean quaternion.
    """

    score: RegressionScore
    median_deg: float
    mean_deg: float
    blind_median_deg: float


def linear_probe(
    train: Features, val: Features, *, classes: int, config: ProbeConfig
) -> ClassificationScore:
    """Train a linear classifier on frozen features; score it on every view of held-out objects.

    Args:
        train: Features of training objects.
        val: Features of held-out objects.
        classes: Number of classes.
        config: How to train the head.

    Source: Garrido et al. 2023, published code, with features of a frozen model in evaluation
    mode (the published code lets batch statistics drift).
    """
    scale = _Standardize.fit(train.y, config)
    with _seeded(config.seed):
        head = nn.Linear(train.y.shape[-1], classes).to(train.y.device)
    draws = _Draws(train.y.shape[:2], config)

    def loss(objects: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return cross_entropy(head(scale(train.y[objects, first])), train.label[objects])

    _train(head, draws, loss, config)
    with torch.no_grad():
        logits = head(scale(val.y.flatten(0, 1)))
    return classification_score(logits, val.label.repeat_interleave(val.y.shape[1]))


def rotation_probe(
    train: Features,
    val: Features,
    *,
    train_target: PairTarget,
    val_target: PairTarget,
    val_pairs: Tensor,
    config: ProbeConfig,
) -> RotationProbe:
    """Train a three-layer head to tell the relative rotation of two views of one object.

    Args:
        train: Features of training objects.
        val: Features of held-out objects.
        train_target: Relative quaternions of training pairs.
        val_target: The same of held-out pairs.
        val_pairs: Rows (object, first view, second view), shape (N, 3), int64: fixed.
        config: How to train the head.

    Source: Garrido et al. 2023, published code (``--deep-end``).
    """
    width = config.hidden
    prediction, target = _regress_pairs(
        train, val, train_target, val_target, val_pairs, (width, width), config
    )
    angle = quaternion_angle_deg(prediction, target)
    blind = quaternion_angle_deg(target.mean(0).expand_as(target), target)
    return RotationProbe(
        score=regression_score(prediction, target),
        median_deg=float(angle.median()),
        mean_deg=float(angle.mean()),
        blind_median_deg=float(blind.median()),
    )


def color_probe(
    train: Features,
    val: Features,
    *,
    train_target: PairTarget,
    val_target: PairTarget,
    val_pairs: Tensor,
    config: ProbeConfig,
) -> RegressionScore:
    """Fit a linear head to tell the two differences of hue; arguments as above."""
    prediction, target = _regress_pairs(train, val, train_target, val_target, val_pairs, (), config)
    return regression_score(prediction, target)


def _regress_pairs(
    train: Features,
    val: Features,
    train_target: PairTarget,
    val_target: PairTarget,
    val_pairs: Tensor,
    hidden: tuple[int, ...],
    config: ProbeConfig,
) -> tuple[Tensor, Tensor]:
    scale = _Standardize.fit(train.y, config)
    target = val_target(*val_pairs.unbind(1)).float()
    if not hidden and config.linear == "ridge":
        weight, offset = _fit_linear(train, train_target, scale, config)
        pair = _pair(scale, val.y, *val_pairs.unbind(1))
        return (pair.double() @ weight + offset).float(), target
    with _seeded(config.seed):
        head = _network(2 * train.y.shape[-1], hidden, target.shape[1]).to(train.y.device)
    draws = _Draws(train.y.shape[:2], config)

    def loss(objects: Tensor, first: Tensor, second: Tensor) -> Tensor:
        pair = _pair(scale, train.y, objects, first, second)
        return mse_loss(head(pair), train_target(objects, first, second).float())

    _train(head, draws, loss, config)
    with torch.no_grad():
        prediction = head(_pair(scale, val.y, *val_pairs.unbind(1)))
    return prediction, target


def _fit_linear(
    train: Features, target: PairTarget, scale: _Standardize, config: ProbeConfig
) -> tuple[Tensor, Tensor]:
    """Ridge regression of a target of pairs; every fifth object chooses the penalty."""
    objects = len(train.y)
    sums: dict[bool, Moments] = {}
    for chosen, first, second in _all_pairs(train.y.shape[:2], config):
        for held in (False, True):
            # With fewer than two objects there are none to hold out.
            rows = (chosen % 5 == 0) == held if objects > 1 else torch.ones_like(chosen).bool()
            o, i, j = chosen[rows], first[rows], second[rows]
            found = Moments.of(_pair(scale, train.y, o, i, j), target(o, i, j).to(train.y.device))
            sums[held] = found if held not in sums else sums[held] + found
    return chosen_ridge(sums[False], sums[True])


def _all_pairs(shape: torch.Size, config: ProbeConfig) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every ordered pair of different views of every object, or some of very many."""
    objects, views = shape
    shifts = range(1, views) if views > 1 else range(1)
    if objects * views * len(shifts) <= MOST_PAIRS:
        o, i = torch.arange(objects).repeat_interleave(views), torch.arange(views).repeat(objects)
        for shift in shifts:
            yield o, i, (i + shift) % views
        return
    counted = 0
    for draw in _Draws(shape, config, endless=True):
        yield draw
        counted += len(draw[0])
        if counted >= max(MOST_PAIRS, objects):
            return


def _pair(scale: _Standardize, y: Tensor, objects: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([scale(y[objects, first]), scale(y[objects, second])], -1)


def _network(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


@dataclass(frozen=True)
class _Standardize:
    """Zero mean and unit deviation by column, so one learning rate suits every representation."""

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def fit(y: Tensor, config: ProbeConfig) -> _Standardize:
        rows = y.flatten(0, 1)
        if not config.standardize:
            return _Standardize(torch.zeros_like(rows[0]), torch.ones_like(rows[0]))
        return _Standardize(rows.mean(0), rows.std(0).clamp(min=1e-6))

    def __call__(self, y: Tensor) -> Tensor:
        return (y - self.mean) / self.deviation


@dataclass(frozen=True)
class _Draws:
    """One random view, or pair of different views, of every object per epoch."""

    shape: torch.Size
    config: ProbeConfig
    endless: bool = False

    @property
    def epochs(self) -> int:
        """As many as asked for, or as the least number of steps needs."""
        steps_per_epoch = -(-self.shape[0] // self.config.batch_size)
        return max(self.config.epochs, -(-self.config.min_steps // steps_per_epoch))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        objects, views = self.shape
        generator = torch.Generator().manual_seed(self.config.seed)
        for _ in count() if self.endless else range(self.epochs):
            order = torch.randperm(objects, generator=generator)
            first = torch.randint(views, (objects,), generator=generator)
            step = torch.randint(1, max(2, views), (objects,), generator=generator)
            second = (first + step) % views
            batches = zip(
                order.split(self.config.batch_size),
                first.split(self.config.batch_size),
                second.split(self.config.batch_size),
                strict=True,
            )
            yield from batches


def _train(
    head: nn.Module,
    draws: _Draws,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    config: ProbeConfig,
) -> None:
    optimizer = torch.optim.Adam(head.parameters(), lr=config.learning_rate)
    for objects, first, second in draws:
        optimizer.zero_grad()
        loss(objects, first, second).backward()
        optimizer.step()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Fresh weights from a named seed, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
