"""Tables and pages of networks for digits: accuracy under motions, equivariance, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equivariant.errors import ConventionError
from equivariant.measure import EquivarianceReport
from equivariant.recipes.lie_affnist.settings import restore_experiment
from equivariant.report import Line, Picture, Section, Table, plot, write_page
from equivariant.report.equivariance import equivariance_table
from equivariant.runs import RunFolder, write_json
from equivariant.workflows.provenance import computed_with
from equivariant.workflows.run_pages import (
    numbers_of_weights,
    runs_by_title,
    training_curves,
)

_PANELS = {
    "loss": ("total", "loss"),
    "centred, held out": ("probe/top1_centred", "share of right classes"),
    "moved, held out": ("probe/top1_moved", "share of right classes"),
    "linear part, held out": ("probe/linear_r2_moved", "R²"),
}
_LAW = (
    "Motions are those that the network declares: Haar measure up to half the radii of its "
    "samples, and shifts of up to a tenth of the frame's half side. A plain network is measured "
    "under those of a Lie network with its settings."
)


def accuracy_table(measures: Mapping[str, Mapping[str, Any]]) -> Table:
    """Shares of right classes: a row per run, number of group elements and part.

    Args:
        measures: Measures by the title of their run.
    """
    sets = _sets(found["accuracy"] for found in measures.values())
    rows, totals = [], set()
    for title, found in measures.items():
        cells: dict[tuple[Any, str], dict[str, str]] = {}
        for one in found["accuracy"]:
            text = f"{_percent(one['value'])} [{_percent(one['low'])}, {_percent(one['high'])}]"
            cells.setdefault((one["samples"], one["part"]), {})[one["set"]] = text
            totals.add(one["total"])
        rows += _rows(title, cells, sets)
    confidence = next(iter(measures.values()))["accuracy"][0]["confidence"]
    digits = " or ".join(map(str, sorted(totals)))
    return Table(
        ("run", "N", "of", *sets),
        rows,
        f"Right classes in percent of {digits} test digits, each there once in every set, with "
        f"exact binomial intervals ({100 * confidence:g} %) over digits. N: group elements in the "
        "layers. Of logits, or of a linear head on a part of a representation that was trained "
        "without classes.",
    )


def linear_part_table(measures: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """R² of the recorded linear part by linear heads; None where no run has any.

    Args:
        measures: Measures by the title of their run.
    """
    sets = _sets(found["linear_part"] for found in measures.values())
    rows = []
    for title, found in measures.items():
        cells: dict[tuple[Any, str], dict[str, str]] = {}
        for one in found["linear_part"]:
            key = (one["samples"], one["part"])
            cells.setdefault(key, {})[one["set"]] = f"{one['r2']:.3f}"
        rows += _rows(title, cells, sets)
    if not rows:
        return None
    return Table(
        ("run", "N", "of", *sets),
        rows,
        "R² of the four entries of the matrix that moved a digit, read off one picture's "
        "representation by a linear head: 0 for a blind predictor. Heads are fitted to digits "
        "under the law of training; on other laws they extrapolate, and R² may be negative.",
    )


def pairs_table(measures: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """How vectors of moved digits differ from those of centred ones; None where there are none.

    Args:
        measures: Measures by the title of their run.
    """
    sets = _sets(found["pairs"] for found in measures.values())
    rows = []
    for title, found in measures.items():
        cells: dict[tuple[Any, str], dict[str, str]] = {}
        for name in ("moved", "unmoved", "shuffled"):
            for one in found["pairs"]:
                cells.setdefault((one["samples"], name), {})[one["set"]] = f"{one[name]:.3f}"
        rows += _rows(title, cells, sets)
    if not rows:
        return None
    return Table(
        ("run", "N", "vectors", *sets),
        rows,
        "Mean relative error, in [0, 2], of the vectors of a moved digit: against those of the "
        "centred digit moved by the recorded linear part, the same not moved, and those of "
        "another digit, moved. The matrices need not lie in the network's group.",
    )


def write_equivariance(
    run: RunFolder, reports: Mapping[str, EquivarianceReport], *, fingerprint: dict[str, Any]
) -> None:
    """Write equivariance.json and equivariance.html into a run folder.

    Args:
        run: Whose network was measured.
        reports: What was found, by number of group elements in words.
        fingerprint: What the numbers depend on.
    """
    found = {
        "errors": {name: report.to_dict() for name, report in reports.items()},
        "curve": [
            {"label": name, "output": output, "value": e.value, "low": e.low, "high": e.high}
            for name, report in reports.items()
            for output in report.outputs
            for e in [report.estimate(output=output)]
        ],
        "fingerprint": fingerprint,
    }
    write_json(run.path / "equivariance.json", found)
    items: list[Table | Picture] = [equivariance_table(reports)]
    picture = error_picture({"": found})
    if picture is not None:
        items.append(picture)
    write_page(
        run.path / "equivariance.html",
        title="Equivariance of a trained network for digits",
        lead=restore_experiment(run).title,
        sections=[Section("Errors", _LAW, items)],
        footer=f"{computed_with(run)} Fingerprint of the weights: {fingerprint['weights']}.",
    )


def error_picture(measured: Mapping[str, Mapping[str, Any]]) -> Picture | None:
    """Equivariance error against the number of group elements; None without two of them.

    Args:
        measured: What ``equivariance.json`` holds, by the title of its run.
    """
    lines: dict[str, Line] = {}
    flat: dict[str, float] = {}
    for title, found in measured.items():
        points: dict[str, list[tuple[float, float, float, float]]] = {}
        for one in found["curve"]:
            name = ", ".join(word for word in (title, one["output"]) if word) or "outputs"
            if not one["label"].startswith("N = "):
                flat[name] = one["value"]
                continue
            number = float(one["label"].removeprefix("N = "))
            points.setdefault(name, []).append((number, one["value"], one["low"], one["high"]))
        for name, rows in points.items():
            x, y, low, high = np.array(sorted(rows), dtype=np.float64).T
            lines[name] = Line(x, y, np.maximum(low, 0.0), high)
    ends = [float(end) for line in lines.values() for end in (line.x.min(), line.x.max())]
    if not lines or min(ends) == max(ends):
        return None
    x = np.array([min(ends), max(ends)])
    lines |= {name: Line(x, np.array([value, value]), dashed=True) for name, value in flat.items()}
    svg = plot(
        {"equivariance error": lines},
        xlabel="group elements N",
        ylabels=["relative error"],
        log_x=True,
    )
    return Picture(
        svg,
        "Mean relative error of trained networks over test digits and motions; bands are 95 % "
        "intervals for one set of N group elements. Dashed: plain networks, which have none.",
    )


def write_report(path: Path, runs: Sequence[RunFolder], *, title: str) -> None:
    """Write the page of several networks for digits.

    Args:
        path: Of the HTML file.
        runs: Trained and evaluated.
        title: Of the page.

    Raises:
        DataFormatError: A run is not evaluated.
        ConventionError: A run is there twice, or the runs were tested on different digits.
    """
    named = runs_by_title(runs, restore_experiment, lambda one: one.title)
    measures = {
        name: numbers_of_weights(run, "measures.json", "evaluate") for name, run in named.items()
    }
    tests = {name: found["fingerprint"]["data"]["test"] for name, found in measures.items()}
    if len(set(tests.values())) > 1:
        raise ConventionError(
            expected="runs that were evaluated on the same test digits",
            got=", ".join(f"{name}: {digest}" for name, digest in tests.items()),
            argument="runs", advice="Evaluate them with the same --digits and --seed.",
        )  # fmt: skip
    items: list[Table | Picture] = [accuracy_table(measures)]
    items += [t for t in (linear_part_table(measures), pairs_table(measures)) if t is not None]
    text = "On test digits that nothing was learned or chosen from. Sets are affNIST-style, made "
    text += "from MNIST: their numbers are none of affNIST's."
    sections = [Section("Results", text, items)]
    measured = {
        name: numbers_of_weights(run, "equivariance.json", "measure")
        for name, run in named.items()
        if (run.path / "equivariance.json").is_file()
    }
    picture = error_picture(measured)
    if picture is not None:
        sections.append(Section("Equivariance of the trained networks", _LAW, [picture]))
    curves = training_curves(named, _PANELS, "Losses of different objectives do not compare.")
    if curves is not None:
        sections.append(Section("Training", "Loss, and scores of held-out digits.", [curves]))
    weights = "; ".join(f"{name} {m['fingerprint']['weights']}" for name, m in measures.items())
    footer = f"{computed_with(runs[0])} Fingerprints of the weights: {weights}."
    lead = f"{len(runs)} run(s) on digits under affine maps."
    write_page(path, title=title, lead=lead, sections=sections, footer=footer)


def _sets(lists: Any) -> list[str]:
    """Names of all sets, in the order in which they first appear."""
    return list(dict.fromkeys(one["set"] for rows in lists for one in rows))


def _rows(
    title: str, cells: Mapping[tuple[Any, str], Mapping[str, str]], sets: Sequence[str]
) -> list[list[str]]:
    return [
        [title, "-" if samples is None else str(samples), part,
         *(found.get(name, "-") for name in sets)]
        for (samples, part), found in cells.items()
    ]  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
