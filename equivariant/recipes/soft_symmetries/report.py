"""Tables and pages about networks on tasks with soft symmetries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equivariant.recipes.soft_symmetries.measurement import Measurement
from equivariant.recipes.soft_symmetries.settings import restore_experiment
from equivariant.report import Picture, Section, Table, write_page
from equivariant.report.equivariance import equivariance_table, spectra_map, spectra_table
from equivariant.runs import RunFolder, file_digest, write_json
from equivariant.workflows.provenance import computed_with
from equivariant.workflows.run_pages import (
    numbers_of_weights,
    runs_by_title,
    training_curves,
)

_SETS = ("train", "test", "shifted")
_PANELS = {"squared error": ("mse", "squared error"), "soft term": ("soft", "term")}


def share_table(found: Measurement) -> Table | None:
    """Which share of the squared error goes away in averages over each candidate."""
    if not found.shares:
        return None
    rows = []
    for name, share in found.shares.items():
        e = share.share
        percent = f"{100 * e.value:.2g} [{100 * e.low:.2g}, {100 * e.high:.2g}]"
        exact = "yes" if name in found.exact else "no"
        rows.append([name, exact, percent, f"{share.loss:.4g}", f"{share.symmetrized:.4g}"])
    return Table(
        ("candidate", "exact in the data", "share, %", "squared error", "of the averages"),
        rows,
        "Percent of the squared error that averaging predictions over the candidate takes away, "
        "with 95 % intervals over items. Under a candidate that the data break, averages may be "
        "worse at the task as it is; the share is of inputs and targets moved alike.",
    )


def write_measurement(run: RunFolder, found: Measurement) -> list[Section]:
    """Write equivariance.json and equivariance.html into a run folder.

    Args:
        run: Whose network was measured.
        found: What was found.

    Returns:
        The sections of the page.
    """
    weights = file_digest(run.weights)
    write_json(
        run.path / "equivariance.json", {**found.to_dict(), "fingerprint": {"weights": weights}}
    )
    items: list[Table | Picture] = [equivariance_table(found.errors)]
    sections = [Section("Errors under each candidate", "On test items, in float64.", items)]
    share = share_table(found)
    if share is not None:
        sections.append(Section("Share of the loss", "What broken symmetry costs.", [share]))
    if found.spectra:
        text = f"Irreps of {found.under} that the features of every layer are made of."
        pair = (spectra_table(found.spectra), spectra_map(found.spectra))
        sections.append(Section("Degrees of the features", text, pair))
    if found.notes:
        sections.append(Section("Not measured", " ".join(found.notes)))
    write_page(
        run.path / "equivariance.html", title="Symmetries of a trained network",
        lead=restore_experiment(run).title, sections=sections,
        footer=f"{computed_with(run)} Fingerprint of the weights: {weights}.",
    )  # fmt: skip
    return sections


def errors_table(measures: Mapping[str, Mapping[str, Any]]) -> Table:
    """Errors in and out of distribution, one row per run.

    Args:
        measures: What ``measures.json`` holds, by title of the run.
    """
    rows = [
        [title, *(f"{found['mse'][name]:.4f}" for name in _SETS)]
        for title, found in measures.items()
    ]
    return Table(
        ("run", *_SETS),
        rows,
        "Mean squared error of targets in units of the deviation of training targets. Shifted: "
        "inputs of another law than that of training.",
    )


def levels_table(measures: Mapping[str, Mapping[str, Any]]) -> Table:
    """Equivariance errors, and levels with intervals and verdicts where layers are free.

    Args:
        measures: As in :func:`errors_table`.
    """
    rows = []
    for title, found in measures.items():
        for group, error in found["equivariance"].items():
            level = found.get("levels", {}).get(group)
            cells = ["-", "-", "-"]
            if level is not None:
                interval = f"[{level['low']:.1e}, {level['high']:.1e}]"
                cells = [f"{level['level']:.1e}", interval, level["verdict"]]
            exact = "yes" if group in found["exact"] else "no"
            rows.append([f"{title}: {group}", exact, f"{error:.1e}", *cells])
    return Table(
        ("run and group", "exact in the data", "equivariance error", "level", "95 %", "verdict"),
        rows,
        "Levels: the share of the weights that breaks a group over that of random weights (0 "
        "exact, 1 random), with intervals over layers; networks without free layers have none.",
    )


def write_report(path: Path, runs: Sequence[RunFolder], *, title: str) -> None:
    """Write the page of several networks.

    Args:
        path: Of the HTML file.
        runs: Trained and evaluated.
        title: Of the page.

    Raises:
        DataFormatError: A run is not evaluated.
        ConventionError: A run is there twice.
    """
    named = runs_by_title(runs, restore_experiment, lambda one: one.title)
    measures = {
        name: numbers_of_weights(run, "measures.json", "evaluate") for name, run in named.items()
    }
    sections = [
        Section("Errors", "On items that nothing was learned from.", [errors_table(measures)]),
        Section("Symmetries", "What each network keeps, and how far.", [levels_table(measures)]),
    ]
    curves = training_curves(named, _PANELS, "Terms of different penalties do not compare.")
    if curves is not None:
        sections.append(Section("Training", "The squared error, and the soft term.", [curves]))
    weights = "; ".join(f"{name} {file_digest(run.weights)}" for name, run in named.items())
    write_page(
        path, title=title, lead=f"{len(runs)} run(s) on tasks with soft symmetries.",
        sections=sections, footer=f"{computed_with(runs[0])} Fingerprints of the weights: "
        f"{weights}.",
    )  # fmt: skip
