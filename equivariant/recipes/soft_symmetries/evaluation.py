"""What a trained network knows: errors in and out of distribution, equivariance, levels."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from datasets3d.synthetic import SymmetryTask
from equivariant.errors import ConventionError
from equivariant.measure import equivariance_error
from equivariant.recipes.soft_symmetries.methods import levels_term
from equivariant.recipes.soft_symmetries.settings import SoftExperiment
from equivariant.recipes.soft_symmetries.task_sets import TaskSets, task_sets


@dataclass(frozen=True)
class EvaluationConfig:
    """How a network is evaluated.

    Args:
        items: Test items whose equivariance error is measured, at least 2.
        elements: Elements per candidate, at least 1.
        tolerance: Level up to which a symmetry counts as holding, above 0.

    Raises:
        ConventionError: A number is out of range.
    """

    items: int = 64
    elements: int = 16
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.items < 2 or self.elements < 1 or self.tolerance <= 0:
            raise ConventionError(
                expected="at least 2 items and 1 element, a tolerance above 0",
                got=f"{self.items}, {self.elements}, {self.tolerance}", argument="evaluation",
                advice="Leave them out for 64, 16 and 0.001.",
            )  # fmt: skip


def evaluate_model(
    model: nn.Module, config: SoftExperiment, how: EvaluationConfig | None = None
) -> dict[str, Any]:
    """Mean squared errors, equivariance errors by candidate, and levels of free networks; JSON.

    Errors are of targets in units of the standard deviation of training targets. Equivariance
    errors are means of |f(g x) - g f(x)| / |g f(x)| over test items and elements: Haar measure on
    compact groups.

    Args:
        model: A trained network.
        config: The experiment, for its task.
        how: How; None for the usual.
    """
    how = EvaluationConfig() if how is None else how
    sets = task_sets(config)
    found: dict[str, Any] = {
        "title": config.title,
        "mse": {name: _error(model, task) for name, task in _named(sets)},
        "exact": list(sets.test.exact),
        "equivariance": {},
    }
    inputs = sets.test.x[: how.items].double()
    wide = in_float64(model)
    for name, group in sets.test.candidates.items():
        report = equivariance_error(
            wide, inputs, act_in=sets.test.act_in.under(group),
            act_out=sets.test.act_out.under(group), samples=how.elements,
        )  # fmt: skip
        found["equivariance"][name] = report.value()
    term = levels_term(model, sets.test)
    if term is not None:
        levels = term.levels(tolerance=how.tolerance)
        found["levels"], found["least"] = levels.as_dict(), levels.ordered[0]
        found["layers"] = term.relative().tolist()
    return found


def _named(sets: TaskSets) -> list[tuple[str, SymmetryTask]]:
    return [("train", sets.train), ("test", sets.test), ("shifted", sets.shifted)]


@torch.no_grad()
def _error(model: nn.Module, task: SymmetryTask) -> float:
    return float((model(task.x) - task.y).square().mean())


def in_float64(model: nn.Module) -> nn.Module:
    """A copy of the network in float64.

    Args:
        model: A trained network.
    """
    with torch.no_grad():
        return deepcopy(model).double().eval()
