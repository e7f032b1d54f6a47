"""Soft symmetries for the commands ``train``, ``evaluate`` and ``measure``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from equivariant.errors import DataFormatError
from equivariant.recipes.soft_symmetries.evaluation import EvaluationConfig, evaluate_model
from equivariant.recipes.soft_symmetries.settings import SoftExperiment, restore_experiment
from equivariant.recipes.soft_symmetries.training import FORMAT, fresh_learner, header_of, train
from equivariant.runs import RunFolder, write_json
from equivariant.training import load_weights, read_header
from equivariant.workflows.recipe import Recipe, RunVerb, option

Say = Callable[[str], None]


@dataclass(frozen=True)
class SoftEvaluationOptions:
    """Errors in and out of distribution, equivariance errors, and the levels that were found.

    Writes measures.json into the run's folder.

        equivariant evaluate runs/soft-inertia-scale-free/TIME-LETTERS

    Args:
        evaluation: How.
    """

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig, metadata=option(""))


def open_run(run: RunFolder) -> tuple[nn.Module, SoftExperiment]:
    """The trained network of a run and its experiment.

    Args:
        run: A trained run.

    Raises:
        DataFormatError: Weights or settings are missing, damaged, or of another program.
    """
    header = read_header(run.weights)
    if header.get("format") != FORMAT:
        raise DataFormatError(
            expected=f"weights of format {FORMAT!r}", got=str(header.get("format")),
            argument=str(run.weights), advice="Pass a run that `equivariant train soft` made.",
        )  # fmt: skip
    saved = restore_experiment(run)
    if header["settings"] != header_of(saved)["settings"]:
        raise DataFormatError(
            expected="the settings that the weights were trained with", got=saved.title,
            argument=str(run.path / "config.json"),
            advice="The settings of the run were changed after training.",
        )  # fmt: skip
    learner = fresh_learner(saved)
    load_weights(run.weights, learner)
    return learner.model.eval(), saved


def evaluate(run: RunFolder, options: SoftEvaluationOptions, *, say: Say) -> None:
    """Evaluate a run, say its numbers and keep them.

    Args:
        run: A trained run.
        options: How.
        say: Receives lines.
    """
    model, config = open_run(run)
    found = evaluate_model(model, config, options.evaluation)
    write_json(run.path / "measures.json", found)
    for line in lines_of(found):
        say(line)


def lines_of(found: dict[str, Any]) -> list[str]:
    """The numbers of an evaluation, as lines to read."""
    errors = ", ".join(f"{name} {value:.4f}" for name, value in found["mse"].items())
    lines = [found["title"], f"mean squared error: {errors}", ""]
    levels = found.get("levels", {})
    width = max(len(name) for name in found["equivariance"])
    lines.append(
        f"{'group':<{width}}  equivariance error" + ("     level  verdict" if levels else "")
    )
    for name, error in found["equivariance"].items():
        line = f"{name:<{width}}  {error:>18.1e}"
        if name in levels:
            line += f"  {levels[name]['level']:>8.1e}  {levels[name]['verdict']}"
        lines.append(line + ("   (exact in the data)" if name in found["exact"] else ""))
    return lines


RECIPE = Recipe(
    settings=SoftExperiment,
    restore=restore_experiment,
    train=train,
    evaluate=RunVerb(SoftEvaluationOptions, evaluate),
)
