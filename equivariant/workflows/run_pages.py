"""What the pages of several recipes share: runs by title, their kept numbers, their curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from equivariant.errors import DataFormatError
from equivariant.report import Line, Picture, plot
from equivariant.runs import RunFolder, file_digest, read_json
from equivariant.training import read_metrics
from equivariant.workflows.measuring.kept import check_each_once, titles_apart
from equivariant.workflows.recipe import RunVerb


def page_verb(options: type[Any], write: Callable[..., None]) -> RunVerb:
    """``equivariant report RUNS`` of a recipe: one page of several runs.

    Args:
        options: Dataclass with ``out``, a path or None for report.html in the first run's folder,
            and ``title``.
        write: ``write(path, runs, title=...)`` writes the page.
    """

    def call(runs: Sequence[RunFolder], chosen: Any, *, say: Callable[[str], None]) -> None:
        out = chosen.out or runs[0].path / "report.html"
        write(out, runs, title=chosen.title)
        say(f"Page: {out}")

    return RunVerb(options, call)


def runs_by_title(
    runs: Sequence[RunFolder],
    restore: Callable[[RunFolder], Any],
    title: Callable[[Any], str],
) -> dict[str, RunFolder]:
    """Runs by titles that tell them apart, in the order given.

    Args:
        runs: Each once.
        restore: The settings of a run.
        title: Of settings.

    Raises:
        ConventionError: A run is there twice.
        DataFormatError: The settings of a run are missing or damaged.
    """
    check_each_once([run.path for run in runs])
    settings = [restore(run) for run in runs]
    titles = titles_apart([title(one) for one in settings], settings, [run.path for run in runs])
    return dict(zip(titles, runs, strict=True))


def numbers_of_weights(run: RunFolder, file: str, verb: str) -> dict[str, Any]:
    """What a file of a run holds of the weights that the run has now.

    Args:
        run: A trained run.
        file: JSON in its folder, with ``fingerprint.weights``.
        verb: Of the command that makes it.

    Raises:
        DataFormatError: There is no such file, or it is of other weights.
    """
    path = run.path / file
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    if found.get("fingerprint", {}).get("weights") != file_digest(run.weights):
        raise DataFormatError(
            expected="numbers of the run's weights", got="none, or those of other weights",
            argument=str(path), advice=f"Make them first: equivariant {verb} {run.path}",
        )  # fmt: skip
    return found


def training_curves(
    runs: Mapping[str, RunFolder],
    panels: Mapping[str, tuple[str, str]],
    caption: str,
    *,
    log_y: bool = False,
) -> Picture | None:
    """Logged metrics against steps, a line per run; None where nothing was logged.

    Args:
        runs: By title.
        panels: The metric and the name of its axis, by title of the panel.
        caption: Of the picture.
        log_y: Whether the upright axes are logarithmic; values are positive then.
    """
    found: dict[str, dict[str, Line]] = {}
    for name, run in runs.items():
        metrics = read_metrics(run.metrics)
        for title, (key, _) in panels.items():
            points = [(m["step"], m[key]) for m in metrics if m.get(key) is not None]
            if points:
                x, y = np.array(points, dtype=np.float64).T
                found.setdefault(title, {})[name] = Line(x, y)
    if not found:
        return None
    svg = plot(found, xlabel="step", ylabels=[panels[name][1] for name in found], log_y=log_y)
    return Picture(svg, caption)
