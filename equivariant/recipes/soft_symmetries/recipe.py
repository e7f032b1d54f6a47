"""Soft symmetries for the commands ``train``, ``evaluate``, ``measure`` and ``report``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from equivariant.errors import DataFormatError
from equivariant.recipes.soft_symmetries.evaluation import EvaluationConfig, evaluate_model
from equivariant.recipes.soft_symmetries.measurement import measure_network
from equivariant.recipes.soft_symmetries.report import write_measurement, write_report
from equivariant.recipes.soft_symmetries.settings import SoftExperiment, restore_experiment
from equivariant.recipes.soft_symmetries.training import FORMAT, fresh_learner, header_of, train
from equivariant.report.equivariance import lines_of as section_lines
from equivariant.runs import RunFolder, file_digest, write_json
from equivariant.training import load_weights, read_header
from equivariant.workflows.recipe import Recipe, RunVerb, option
from equivariant.workflows.run_pages import page_verb

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


@dataclass(frozen=True)
class SoftMeasurement:
    """Measure a trained network under each candidate symmetry of its task.

    Prints equivariance errors with intervals, the share of the squared error that broken symmetry
    costs, and which irreps the features of each layer are made of; writes equivariance.json and
    equivariance.html into the run's folder.

        equivariant measure runs/soft-inertia-scale-free/TIME-LETTERS

    Args:
        items: Test items, at least 2.
        elements: Elements of each candidate, at least 2.
        degrees: Largest degree that is told apart in layers; -1 leaves them out.
    """

    items: int = 64
    elements: int = 16
    degrees: int = 4


@dataclass(frozen=True)
class SoftReport:
    """One self-contained page on one or several runs: no scripts, no network.

    Shows the errors and levels that `equivariant evaluate RUN` kept of the weights of each run,
    and how training went.

    Args:
        out: The page; report.html in the first run's folder if not given.
        title: Of the page.
    """

    out: Path | None = None
    title: str = "Soft symmetries"


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
    kept = {**found, "fingerprint": {"weights": file_digest(run.weights)}}
    write_json(run.path / "measures.json", kept)
    for line in lines_of(found):
        say(line)


def measure(run: RunFolder, options: SoftMeasurement, *, say: Say) -> None:
    """Measure a run's network, say the tables and write the page.

    Args:
        run: A trained run.
        options: How much of what.
        say: Receives lines.
    """
    model, config = open_run(run)
    found = measure_network(
        model, config, items=options.items, elements=options.elements, degrees=options.degrees
    )
    for section in write_measurement(run, found):
        say(section_lines([section]))
        say("")
    say(f"Page: {run.path / 'equivariance.html'}")


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
    measure=RunVerb(SoftMeasurement, measure),
    report=page_verb(SoftReport, write_report),
)
