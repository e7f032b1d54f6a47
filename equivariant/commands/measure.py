"""equivariant measure"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from equivariant.commands.terminal import say
from equivariant.errors import ConventionError
from equivariant.recipes.sie_3diebench.measure_run import (
    law_table,
    measure_run,
    table,
    write_run_measurement,
)
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig
from equivariant.recipes.sie_3diebench.run_measures import open_run
from equivariant.report.equivariance import lines_of
from equivariant.runs import RunFolder
from equivariant.workflows.measure_model import MeasureConfig, measure_model
from equivariant.workflows.report_equivariance import sections, write_measurement


@dataclass(frozen=True)
class Measure:
    """Measure the equivariance of any model, or of the action of a trained run.

    A model of yours:

        equivariant measure --model mine.py:build --group SO3 --input points:256 --output vectors

    prints a verdict with the likely causes, errors with confidence intervals, the elements where
    it is worst, derivatives along the generators and the symmetries that they show; it writes
    measures.json, figures and report.html into a run folder. Modules of e3nn and escnn need no
    more than --model. A trained run on rendered views:

        equivariant measure runs/sie/TIME-LETTERS

    Args:
        run: Run folder, instead of a model; --data then says where its data are, if they moved.
        config: What is measured, and how.
        evaluation: Pairs, batch size and device for a run.
        runs: Folder under which run folders are made.
        quiet: Show no progress bar.
    """

    run: Annotated[Path | None, tyro.conf.Positional] = None
    config: Annotated[MeasureConfig, tyro.conf.arg(name="")] = field(default_factory=MeasureConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    runs: Path = Path("runs")
    quiet: bool = False

    def __call__(self) -> None:
        if (self.run is None) == (not self.config.model):
            raise ConventionError(
                expected="a run folder, or --model",
                got="neither" if self.run is None else "both",
                argument="run",
                advice="For example: equivariant measure --model mine.py:build --input points:256.",
            )
        if self.run is not None:
            self._run(RunFolder.open(self.run))
            return
        measured = measure_model(self.config, progress=not self.quiet)
        found = sections(measured)
        say("\n\n".join(lines_of([section]) for section in found if section.title != _LONG))
        run = RunFolder.create(self.runs, "measure", config=self.config)
        write_measurement(run, measured)
        say()
        say(f"Page: {run.path / 'report.html'}")

    def _run(self, run: RunFolder) -> None:
        measured = measure_run(open_run(run, data=self.config.data, say=say), self.evaluation)
        say(table(measured).text())
        if measured.law:
            say()
            say(law_table(measured).text())
        write_run_measurement(run, measured)
        say()
        say(f"Page: {run.path / 'equivariance.html'}")


_LONG = "Published metrics"
