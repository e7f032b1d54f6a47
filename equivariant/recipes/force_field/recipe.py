"""Force fields for the commands ``train``, ``evaluate``, ``measure`` and ``report``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from datasets3d import MoleculeGraphs, read_molecules
from datasets3d.molecules.files import has_forces
from equivariant.errors import ConventionError
from equivariant.recipes.force_field.evaluation import (
    check_files,
    errors_table,
    evaluate_files,
    force_field_equivariance,
    keep_measures,
    warnings_of,
)
from equivariant.recipes.force_field.report import write_equivariance, write_report
from equivariant.recipes.force_field.training import (
    ForceFieldExperiment,
    load_force_field,
    restore_experiment,
    train,
)
from equivariant.report.equivariance import equivariance_table
from equivariant.runs import RunFolder
from equivariant.workflows.recipe import Recipe, RunVerb
from equivariant.workflows.run_pages import page_verb

Say = Callable[[str], None]


@dataclass(frozen=True)
class ForceFieldEvaluation:
    """Compare a trained force field with known energies and forces; writes measures.json.

    Mean absolute and root mean square errors for each file, energies in meV and forces in meV/Å.
    Files measured before stay in measures.json; one of the same name is replaced.
    Files without forces, such as scans along a path, are compared by their energies.

        equivariant evaluate runs/force-field-gaunt/TIME-LETTERS test_MD_300K.xyz

    Args:
        tests: Extended xyz files (eV, Å) or npz files of rMD17.
        batch_size: Molecules at a time.
    """

    tests: tuple[Path, ...]
    batch_size: int = 32


@dataclass(frozen=True)
class ForceFieldMeasurement:
    """Measure how far a trained force field is from equivariant under rotations and mirrors.

    Energies are to stay and forces to move with the molecules; prints errors with intervals and
    writes equivariance.json and equivariance.html into the run's folder.

        equivariant measure runs/force-field-gaunt/TIME-LETTERS test_MD_300K.xyz

    Args:
        test: Extended xyz file (eV, Å) or npz file of rMD17.
        molecules: How many of the file, from its beginning.
        samples: Elements drawn for each molecule.
    """

    test: Path
    molecules: int = 8
    samples: int = 8


@dataclass(frozen=True)
class ForceFieldReport:
    """One self-contained page on one or several force fields: no scripts, no network.

    Shows the errors that `equivariant evaluate RUN TEST_FILE` kept of the weights of each run, and
    how loss and held-out errors fell in training. Runs of one product say in which settings they
    differ.

    Args:
        out: The page; report.html in the first run's folder if not given.
        title: Of the page.
    """

    out: Path | None = None
    title: str = "Force fields"


def train_and_test(
    config: ForceFieldExperiment,
    run: RunFolder,
    *,
    fabric: Fabric | None = None,
    progress: bool = True,
    say: Say | None = None,
) -> None:
    """Train a force field, then compare it with the test files that its settings name.

    Args:
        config: What to train on what, and to test on what.
        run: Where to keep it.
        fabric: Processes that are started already.
        progress: Show a bar on stderr.
        say: Receives the table of errors; None in all processes but the first.

    Raises:
        DataFormatError: A file is missing or malformed; test files are looked for at the start.
        ConventionError: Settings do not fit the data, or two test files have one name.
    """
    check_files(config.tests)
    model = train(config, run, fabric=fabric, progress=progress)
    if config.tests and (fabric is None or fabric.is_global_zero):
        measures = evaluate_files(model, config.tests)
        keep_measures(run, measures, config.tests)
        if say is not None:
            say(errors_table(measures).text())


def evaluate(run: RunFolder, options: ForceFieldEvaluation, *, say: Say) -> None:
    """Evaluate a run on files and say the table of errors.

    Args:
        run: A trained run.
        options: Files.
        say: Receives lines.

    Raises:
        ConventionError: No file is named.
    """
    if not options.tests:
        raise ConventionError(
            expected="files to compare with", got="none", argument="tests",
            advice=f"For example: equivariant evaluate {run.path} test_MD_300K.xyz.",
        )  # fmt: skip
    model = load_force_field(run.weights)
    measures = evaluate_files(model, options.tests, batch_size=options.batch_size)
    stale = keep_measures(run, measures, options.tests)
    say(errors_table(measures).text())
    for warning in warnings_of(measures):
        say(f"warning: {warning}")
    if stale:
        say(f"left out of measures.json, of other weights: {', '.join(stale)}")


def measure(run: RunFolder, options: ForceFieldMeasurement, *, say: Say) -> None:
    """Measure the equivariance of a run's force field, say the table and write the page.

    Args:
        run: A trained run.
        options: Molecules, and how many elements.
        say: Receives lines.

    Raises:
        ConventionError: No molecule or no element is asked for.
    """
    if min(options.molecules, options.samples) < 1:
        raise ConventionError(
            expected="at least one molecule and one element",
            got=f"{options.molecules} and {options.samples}", argument="molecules or samples",
            advice="Leave them out for 8 of each.",
        )  # fmt: skip
    check_files([options.test])
    model = load_force_field(run.weights)
    molecules = read_molecules(options.test, forces=has_forces(options.test))
    graphs = MoleculeGraphs(molecules, cutoff_angstrom=model.config.cutoff_angstrom)
    batch = graphs.batch(range(min(options.molecules, len(graphs))))
    found = force_field_equivariance(model, batch.tensors(), samples=options.samples)
    say(equivariance_table({"force field": found}).text())
    write_equivariance(run, found, file=options.test)
    say("")
    say(f"Page: {run.path / 'equivariance.html'}")


RECIPE = Recipe(
    settings=ForceFieldExperiment,
    restore=restore_experiment,
    train=train_and_test,
    evaluate=RunVerb(ForceFieldEvaluation, evaluate),
    measure=RunVerb(ForceFieldMeasurement, measure),
    report=page_verb(ForceFieldReport, write_report),
    evaluated_on="TEST_FILE",
)
