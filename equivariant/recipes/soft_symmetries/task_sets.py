"""The sets of a task, scaled for training, and streams of batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from datasets3d.synthetic import SymmetryTask, cosine_task, distance_task, inertia_task
from equivariant.groups import Group
from equivariant.recipes.soft_symmetries.settings import SoftExperiment
from equivariant.training.resume.randomness import step_generator


@dataclass(frozen=True)
class TaskSets:
    """Sets of one task, targets divided by one number.

    Args:
        train: What is learned.
        validation: For choices while training.
        test: The same law.
        shifted: Inputs whose coordinates are shifted: another law.
        scale: The standard deviation of training targets, which all targets are divided by.
    """

    train: SymmetryTask
    validation: SymmetryTask
    test: SymmetryTask
    shifted: SymmetryTask
    scale: float


def task_sets(config: SoftExperiment) -> TaskSets:
    """The four sets of an experiment; no two share a draw.

    Args:
        config: The experiment.
    """
    train, validation, test = (_task(config, 3 * config.seed + k, 0.0) for k in range(3))
    shifted = _task(config, 3 * config.seed + 2, config.shift)
    scale = float(train.y.std()) or 1.0
    sets = [replace(task, y=task.y / scale) for task in (train, validation, test, shifted)]
    return TaskSets(sets[0], sets[1], sets[2], sets[3], scale)


def _task(config: SoftExperiment, seed: int, shift: float) -> SymmetryTask:
    if config.task == "inertia":
        breaking = config.breaking if config.broken == "axis" else 0.0
        return inertia_task(config.count, seed=seed, breaking=breaking, shift=shift)
    settings: dict[str, Any] = {"breaks": config.broken, "breaking": config.breaking}
    make: Any = cosine_task if config.task == "cosine" else distance_task
    found: SymmetryTask = make(config.count, seed=seed, shift=shift, **settings)
    return found


@dataclass(frozen=True)
class Examples:
    """Inputs and targets of one step.

    Args:
        x: Inputs, shape (batch, inputs).
        y: Targets, shape (batch, outputs).
    """

    x: Tensor
    y: Tensor

    def to(self, device: torch.device | str | None = None) -> Examples:
        """The same batch elsewhere."""
        return Examples(self.x.to(device), self.y.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {"x": self.x, "y": self.y}


class ExampleStream:
    """Batches drawn without replacement in every step; that of a step depends on it alone.

    Args:
        task: What is drawn from.
        seed: Of the draws.
        moved_by: Groups of which a random element each moves every example; none for no
            augmentation.
    """

    def __init__(self, task: SymmetryTask, *, seed: int, moved_by: tuple[Group, ...] = ()) -> None:
        self.task, self.seed, self.moved_by = task, seed, moved_by

    def stream(
        self, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[Examples]:
        """Batches of steps start, start + 1, ...; process ``rank`` of ``world`` gets its share."""
        step = start
        while True:
            generator = step_generator(self.seed, step)
            chosen = torch.randperm(len(self.task.x), generator=generator)[:batch_size]
            x, y = self.task.x[chosen], self.task.y[chosen]
            for group in self.moved_by:
                g = group.sample(len(x), generator=generator, dtype=x.dtype)
                x, y = self.task.act_in.under(group)(g, x), self.task.act_out.under(group)(g, y)
            yield Examples(x[rank::world], y[rank::world])
            step += 1
