"""equivariant report"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from equivariant.commands.terminal import say
from equivariant.recipes.evaluate_3diebench import EvaluationConfig
from equivariant.recipes.experiment import evaluate_run, see_run
from equivariant.recipes.report_3diebench import write_report
from equivariant.runs import RunFolder, read_json


@dataclass(frozen=True)
class Report:
    """One self-contained page on one or several runs of one data set: no scripts, no network.

    Runs that are not evaluated yet are evaluated first.

    Args:
        runs: Run folders.
        out: The page; report.html in the first run's folder if not given.
        title: Of the page.
        evaluation: How runs are evaluated that are not yet.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path | None = None
    title: str = "Views of 3D objects"
    evaluation: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = field(
        default_factory=EvaluationConfig
    )

    def __call__(self) -> None:
        runs = [RunFolder.open(path) for path in self.runs]
        for run in runs:
            if not (run.path / "measures.json").is_file():
                evaluate_run(run, self.evaluation)
        root = Path(read_json(runs[0].path / "config.json")["data"])
        sheet = root / "contact_sheet.png"
        out = self.out or runs[0].path / "report.html"
        write_report(
            out,
            [see_run(run, self.evaluation) for run in runs],
            title=self.title,
            lead=f"{len(runs)} run(s) on {root.name}.",
            sheet=sheet.read_bytes() if sheet.is_file() else None,
        )
        say(f"Page: {out}")
