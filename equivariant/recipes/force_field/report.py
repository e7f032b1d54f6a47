"""The pages of force fields: errors on test files while and after training, and equivariance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equivariant.errors import DataFormatError
from equivariant.measure import EquivarianceReport
from equivariant.recipes.force_field.evaluation import errors_table, warnings_of
from equivariant.recipes.force_field.training import restore_experiment
from equivariant.report import Section, write_page
from equivariant.report.equivariance import equivariance_table
from equivariant.runs import RunFolder, file_digest, read_json, write_json
from equivariant.workflows.provenance import computed_with
from equivariant.workflows.run_pages import runs_by_title, training_curves

_PANELS = {
    "loss": ("total", "loss"),
    "forces, held out": ("probe/forces_mae_meV_per_angstrom", "MAE, meV/Å"),
    "energies, held out": ("probe/energy_mae_meV", "MAE, meV"),
}


def measured_errors(run: RunFolder) -> dict[str, dict[str, Any]]:
    """The errors that ``measures.json`` holds of the weights that the run has now.

    Args:
        run: A trained run.

    Raises:
        DataFormatError: There are none.
    """
    path, weights = run.path / "measures.json", file_digest(run.weights)
    kept: dict[str, Any] = read_json(path) if path.is_file() else {}
    found = {name: m for name, m in kept.items() if m.get("weights_digest") == weights}
    if not found:
        raise DataFormatError(
            expected="errors of the run's weights on a test file", got="none", argument=str(path),
            advice=f"Evaluate it first: equivariant evaluate {run.path} TEST_FILE",
        )  # fmt: skip
    return found


def write_report(path: Path, runs: Sequence[RunFolder], *, title: str) -> None:
    """Write the page of several force fields.

    Args:
        path: Of the HTML file.
        runs: Trained and evaluated.
        title: Of the page.

    Raises:
        DataFormatError: A run is not evaluated.
        ConventionError: A run is there twice.
    """
    named = runs_by_title(runs, restore_experiment, lambda one: one.model.product)
    errors = {
        f"{name}: {test}": found
        for name, run in named.items()
        for test, found in measured_errors(run).items()
    }
    text = " ".join(warnings_of(errors)) or "On files that nothing was learned or chosen from."
    sections = [Section("Errors", text, [errors_table(errors)])]
    about = "Held-out molecules are of the training file; tests are in the table."
    curves = training_curves(named, _PANELS, about, log_y=True)
    if curves is not None:
        sections.append(Section("Training", "Loss, and errors on held-out molecules.", [curves]))
    lead = f"{len(runs)} run(s). Energies in meV, forces in meV/Å."
    write_page(path, title=title, lead=lead, sections=sections, footer=computed_with(runs[0]))


def write_equivariance(run: RunFolder, report: EquivarianceReport, *, file: Path) -> None:
    """Write equivariance.json and equivariance.html into a run folder.

    Args:
        run: Whose force field was measured.
        report: What was found.
        file: Where the molecules were from.
    """
    found = {"error": report.to_dict(), "weights": file_digest(run.weights),
             "file_digest": file_digest(file)}  # fmt: skip
    write_json(run.path / "equivariance.json", found)
    text = "Energies should stay, and forces move, when a molecule is rotated or mirrored."
    write_page(
        run.path / "equivariance.html",
        title="Equivariance of a force field",
        lead=f"Molecules of {file.name}.",
        sections=[Section("Errors", text, [equivariance_table({"force field": report})])],
        footer=computed_with(run),
    )
