"""equivariant measure --model: any model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from equivariant.commands.terminal import say
from equivariant.errors import ConventionError
from equivariant.report.equivariance import lines_of
from equivariant.runs import RunFolder
from equivariant.workflows.measuring.model import MeasureConfig, measure_model
from equivariant.workflows.report_equivariance import sections, write_measurement

_ONLY_ON_THE_PAGE = "Published metrics"  # a section too long for a terminal


@dataclass(frozen=True)
class MeasureModel:
    """Measure the equivariance of any model, or of the action of a trained run.

    A model of yours:

        equivariant measure --model mine.py:build --group SO3 --input points:256 --output vectors

    prints a verdict with the likely causes, errors with confidence intervals, the elements where
    it is worst, derivatives along the generators and the symmetries that they show; it writes
    measures.json, figures and report.html into a run folder. Modules of e3nn and escnn need no
    more than --model. The options below are for models.

    A trained run, whose options are those of its recipe (`equivariant measure RUN --help`):

        equivariant measure runs/sie/TIME-LETTERS

    Args:
        config: What is measured, and how.
        runs: Folder under which run folders are made.
        quiet: Show no progress bar.
    """

    config: Annotated[MeasureConfig, tyro.conf.arg(name="")] = field(default_factory=MeasureConfig)
    runs: Path = Path("runs")
    quiet: bool = False

    def __call__(self) -> None:
        if not self.config.model:
            raise ConventionError(
                expected="a run folder, or --model", got="neither", argument="run",
                advice="For example: equivariant measure --model mine.py:build --input points:256.",
            )  # fmt: skip
        measured = measure_model(self.config, progress=not self.quiet)
        found = sections(measured)
        shown = [section for section in found if section.title != _ONLY_ON_THE_PAGE]
        say("\n\n".join(lines_of([section]) for section in shown))
        run = RunFolder.create(self.runs, "measure", config=self.config)
        write_measurement(run, measured)
        say()
        say(f"Page: {run.path / 'report.html'}")
