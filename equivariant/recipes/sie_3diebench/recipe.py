"""SIE and its baselines for the commands ``train``, ``evaluate``, ``measure`` and ``report``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from equivariant.recipes.sie_3diebench.experiment import SieExperiment, restore_experiment, train
from equivariant.recipes.sie_3diebench.open_run import (
    encoded_run,
    evaluate_run,
    held_out_pairs,
    measures_of,
    open_run,
    titles_of,
)
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig
from equivariant.recipes.sie_3diebench.report import parts_table, results_table, write_report
from equivariant.runs import RunFolder
from equivariant.workflows.measuring.run import (
    group_law_table,
    measure_run,
    table,
    write_run_measurement,
)
from equivariant.workflows.recipe import Recipe, RunVerb, option

Say = Callable[[str], None]


@dataclass(frozen=True)
class SieEvaluation:
    """Evaluate a run by 3DIEBench's protocol; writes measures.json into its folder.

    Linear classification, rotation and color by heads on frozen features, and, where the
    method has an action, retrieval of the views that it predicts; each beside its chance level.

    Args:
        evaluation: How.
        data: Where the data of the run are now, if they were moved.
    """

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig, metadata=option(""))
    data: Path | None = None


@dataclass(frozen=True)
class SieMeasurement:
    """Measure the action of a trained run on held-out views that a renderer has moved.

    Prints the error of every part of the embedding beside that of none and of another object,
    and how far the action is from the law of its group; writes equivariance.json, a figure and
    equivariance.html into the run's folder.

    Args:
        evaluation: Pairs, batch size and device.
        data: Where the data of the run are now, if they were moved.
    """

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    data: Path | None = None


@dataclass(frozen=True)
class SieReport:
    """One self-contained page on one or several runs of one data set: no scripts, no network.

    Runs whose measures are not there, or are of other weights, data or settings, are evaluated
    first. Runs of one method say in which settings they differ.

    Args:
        out: The page; report.html in the first run's folder if not given.
        title: Of the page.
        evaluation: How runs are evaluated.
        data: Where the data of the runs are now, if they were moved.
    """

    out: Path | None = None
    title: str = "Views of 3D objects"
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig, metadata=option(""))
    data: Path | None = None


def evaluate(run: RunFolder, options: SieEvaluation, *, say: Say) -> None:
    """Evaluate a run and say its tables.

    Args:
        run: A trained run.
        options: How.
        say: Receives lines.
    """
    opened = open_run(run, data=options.data, say=say)
    measures = evaluate_run(opened, options.evaluation)
    say(results_table([measures]).text())
    say("")
    say(parts_table([measures]).text())


def measure(run: RunFolder, options: SieMeasurement, *, say: Say) -> None:
    """Measure the action of a run, say its tables and write its page.

    Args:
        run: A trained run.
        options: How.
        say: Receives lines.
    """
    opened = open_run(run, data=options.data, say=say)
    measured = measure_run(held_out_pairs(opened, options.evaluation))
    say(table(measured).text())
    if measured.law:
        say("")
        say(group_law_table(measured).text())
    write_run_measurement(run, measured)
    say("")
    say(f"Page: {run.path / 'equivariance.html'}")


def report(runs: Sequence[RunFolder], options: SieReport, *, say: Say) -> None:
    """Write the page of several runs, evaluating those that are not.

    Args:
        runs: Trained runs on one data set.
        options: Where to, and how runs are evaluated.
        say: Receives lines.
    """
    spoken = [say, *[None] * (len(runs) - 1)]  # what is missing is said once
    opened = [
        open_run(run, data=options.data, say=voice) for run, voice in zip(runs, spoken, strict=True)
    ]
    titles = titles_of(opened)
    for run in opened:
        measures_of(run, options.evaluation)
    root = opened[0].experiment.data
    sheet = root / "contact_sheet.png"
    out = options.out or runs[0].path / "report.html"
    write_report(
        out,
        [encoded_run(r, options.evaluation, title=t) for r, t in zip(opened, titles, strict=True)],
        title=options.title,
        lead=f"{len(opened)} run(s) on {root.name}.",
        sheet=sheet.read_bytes() if sheet.is_file() else None,
    )
    say(f"Page: {out}")


PRESETS = {
    "published": "--model.topology sie --model.width 64 --model.projector 2048 2048 2048 "
    "--fit.steps 82000 --fit.batch-size 1024 --fit.learning-rate 0.001 --fit.weight-decay 1e-6 "
    "--size 256",
    "small": "--model.width 16 --model.projector 256 256 256 --model.conditioning matrix "
    "--model.gain 1 --fit.steps 2000 --fit.batch-size 256 --fit.probe-every 250",
}
"""The paper's network and schedule, of every method, and one for a few objects and a CPU."""

RECIPE = Recipe(
    settings=SieExperiment,
    restore=restore_experiment,
    train=train,
    presets=PRESETS,
    evaluate=RunVerb(SieEvaluation, evaluate),
    measure=RunVerb(SieMeasurement, measure),
    report=RunVerb(SieReport, report),
)
