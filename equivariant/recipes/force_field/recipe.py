"""Force fields for the commands ``train``, ``evaluate`` and ``report``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from equivariant.errors import ConventionError
from equivariant.recipes.force_field.evaluation import (
    check_files,
    errors_table,
    evaluate_files,
    keep_measures,
    warnings_of,
)
from equivariant.recipes.force_field.training import (
    ForceFieldExperiment,
    load_force_field,
    restore_experiment,
    train,
)
from equivariant.runs import RunFolder
from equivariant.workflows.recipe import Recipe, RunVerb

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


RECIPE = Recipe(
    settings=ForceFieldExperiment,
    restore=restore_experiment,
    train=train_and_test,
    evaluate=RunVerb(ForceFieldEvaluation, evaluate),
    evaluated_on="TEST_FILE",
)
