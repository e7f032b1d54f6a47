"""equivariant evaluate"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from equivariant.commands.terminal import say
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig
from equivariant.recipes.sie_3diebench.report import parts_table, results_table
from equivariant.recipes.sie_3diebench.run_measures import evaluate_run, open_run
from equivariant.runs import RunFolder


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a run by 3DIEBench's protocol; writes measures.json into its folder.

    Linear classification, rotation and color by heads on frozen features, and, where the
    method has an action, retrieval of the views that it predicts; each beside its chance level.

    Args:
        run: Run folder.
        evaluation: How.
        data: Where the data of the run are now, if they were moved.
    """

    run: Annotated[Path, tyro.conf.Positional]
    evaluation: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = field(
        default_factory=EvaluationConfig
    )
    data: Path | None = None

    def __call__(self) -> None:
        measures = evaluate_run(
            open_run(RunFolder.open(self.run), data=self.data, say=say), self.evaluation
        )
        say(results_table([measures]).text())
        say()
        say(parts_table([measures]).text())
