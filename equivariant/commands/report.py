"""equivariant report"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from equivariant.commands.terminal import say
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig
from equivariant.recipes.sie_3diebench.report import write_report
from equivariant.recipes.sie_3diebench.run_measures import (
    measures_of,
    open_run,
    see_run,
    titles_apart,
)
from equivariant.runs import RunFolder


@dataclass(frozen=True)
class Report:
    """One self-contained page on one or several runs of one data set: no scripts, no network.

    Runs whose measures are not there, or are of other weights, data or settings, are evaluated
    first. Runs of one method say in which settings they differ.

    Args:
        runs: Run folders.
        out: The page; report.html in the first run's folder if not given.
        title: Of the page.
        evaluation: How runs are evaluated.
        data: Where the data of the runs are now, if they were moved.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path | None = None
    title: str = "Views of 3D objects"
    evaluation: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = field(
        default_factory=EvaluationConfig
    )
    data: Path | None = None

    def __call__(self) -> None:
        folders = [RunFolder.open(path) for path in self.runs]
        spoken = [say, *[None] * (len(folders) - 1)]  # what is missing is said once
        runs = [
            open_run(folder, data=self.data, say=voice)
            for folder, voice in zip(folders, spoken, strict=True)
        ]
        titles = titles_apart(runs)
        for run in runs:
            measures_of(run, self.evaluation)
        root = runs[0].experiment.data
        sheet = root / "contact_sheet.png"
        out = self.out or folders[0].path / "report.html"
        write_report(
            out,
            [see_run(r, self.evaluation, title=t) for r, t in zip(runs, titles, strict=True)],
            title=self.title,
            lead=f"{len(runs)} run(s) on {root.name}.",
            sheet=sheet.read_bytes() if sheet.is_file() else None,
        )
        say(f"Page: {out}")
