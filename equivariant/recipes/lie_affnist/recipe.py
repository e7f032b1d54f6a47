"""Digits under affine maps for the commands ``train``, ``evaluate``, ``measure``, ``report``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from equivariant.errors import ConventionError
from equivariant.recipes.lie_affnist.digit_sets import open_digits
from equivariant.recipes.lie_affnist.evaluation import EvaluationConfig
from equivariant.recipes.lie_affnist.open_run import evaluate_run, measure_run, open_run
from equivariant.recipes.lie_affnist.report import (
    accuracy_table,
    linear_part_table,
    pairs_table,
    write_equivariance,
    write_report,
)
from equivariant.recipes.lie_affnist.settings import DigitExperiment, restore_experiment
from equivariant.recipes.lie_affnist.training import train
from equivariant.report.equivariance import equivariance_table
from equivariant.runs import RunFolder
from equivariant.workflows.recipe import Recipe, RunVerb, option
from equivariant.workflows.run_pages import page_verb

Say = Callable[[str], None]


@dataclass(frozen=True)
class DigitEvaluationOptions:
    """Accuracy on test digits, centred and moved; writes measures.json into the run's folder.

    Sets: centred digits, affNIST-style ones, truncated Haar measure of SL(2) at several radii,
    and the law of the run's own training. Lie networks are evaluated at several numbers of group
    elements. Contrastive representations by linear heads: classes, and R² of the matrix that
    moved a digit; and by how far vectors of moved digits are from the moved vectors.

        equivariant evaluate runs/digits-sl2/TIME-LETTERS --samples 10 32 --digits 2000

    Args:
        evaluation: How.
        data: Where MNIST's files are now, if they were moved.
    """

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig, metadata=option(""))
    data: Path | None = None


@dataclass(frozen=True)
class DigitMeasurement:
    """Measure how far a trained network is from commuting with the motions that it declares.

    Centred test digits are moved by elements of the network's own group, at several numbers of
    group elements in its layers; prints errors with intervals and writes equivariance.json and
    equivariance.html into the run's folder.

        equivariant measure runs/digits-sl2/TIME-LETTERS

    Args:
        samples: Numbers of group elements in the layers.
        digits: Test digits.
        elements: Motions drawn for each.
        seed: Of the choice of test digits.
        data: Where MNIST's files are now, if they were moved.
    """

    samples: tuple[int, ...] = (10, 32, 100)
    digits: int = 32
    elements: int = 8
    seed: int = 0
    data: Path | None = None


@dataclass(frozen=True)
class DigitReport:
    """One self-contained page on one or several runs on digits: no scripts, no network.

    Shows the accuracies that `equivariant evaluate RUN` kept of the weights of each run, the
    errors that `equivariant measure RUN` kept, where it was measured, and how training went.

    Args:
        out: The page; report.html in the first run's folder if not given.
        title: Of the page.
    """

    out: Path | None = None
    title: str = "Digits under affine maps"


def evaluate(run: RunFolder, options: DigitEvaluationOptions, *, say: Say) -> None:
    """Evaluate a run and say its tables.

    Args:
        run: A trained run.
        options: How.
        say: Receives lines.
    """
    found = evaluate_run(open_run(run, data=options.data), options.evaluation)
    measures = {found["title"]: found}
    say(accuracy_table(measures).text())
    for table in (linear_part_table(measures), pairs_table(measures)):
        if table is not None:
            say("")
            say(table.text())


def measure(run: RunFolder, options: DigitMeasurement, *, say: Say) -> None:
    """Measure the equivariance of a run's network, say the table and write the page.

    Args:
        run: A trained run.
        options: Digits, and how many elements of what.
        say: Receives lines.

    Raises:
        ConventionError: No digit, motion or number of group elements is asked for.
    """
    if min(*options.samples, options.digits, options.elements, 1) < 1 or not options.samples:
        raise ConventionError(
            expected="at least one digit, one motion, and one group element in the layers",
            got=f"digits={options.digits}, elements={options.elements}, "
            f"samples={options.samples}",
            argument="digits, elements or samples",
            advice="Leave them out for 32 digits, 8 motions, and 10, 32 and 100 elements.",
        )  # fmt: skip
    opened = open_run(run, data=options.data)
    test = open_digits(opened.experiment, "test", count=options.digits, seed=options.seed)
    found = measure_run(opened, test.pictures(), samples=options.samples, elements=options.elements)
    say(equivariance_table(found).text())
    fingerprint = opened.fingerprint(
        test.digest(), samples=options.samples, digits=options.digits, elements=options.elements,
        seed=options.seed,
    )  # fmt: skip
    write_equivariance(run, found, fingerprint=fingerprint)
    say("")
    say(f"Page: {run.path / 'equivariance.html'}")


RECIPE = Recipe(
    settings=DigitExperiment,
    restore=restore_experiment,
    train=train,
    evaluate=RunVerb(DigitEvaluationOptions, evaluate),
    measure=RunVerb(DigitMeasurement, measure),
    report=page_verb(DigitReport, write_report),
)
