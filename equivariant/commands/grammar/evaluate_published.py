"""equivariant evaluate DATA --published model.pth"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from equivariant.commands.terminal import say
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig
from equivariant.recipes.sie_3diebench.published import published_run
from equivariant.recipes.sie_3diebench.recipe import SieEvaluation, evaluate


@dataclass(frozen=True)
class EvaluatePublished:
    """Evaluate a checkpoint of SIE's published code by 3DIEBench's protocol.

    The checkpoint becomes a run folder, which `measure` and `report` take as well. Only its
    tensors are unpickled.

    Args:
        data: Views in 3DIEBench's layout, to train heads on and to score.
        published: model.pth of a run of SIE, with projectors and hypernetwork.
        arch: Name of the encoder in that code, resnet18; if not given, params.json beside the
            checkpoint says it.
        runs: Folder under which the run folder is made.
        name: Of the run; published if not given.
        size: Resize images to this side in pixels; 0 keeps the files' size.
        evaluation: How.
    """

    data: tyro.conf.Positional[Path]
    published: Path
    arch: str = ""
    runs: Path = Path("runs")
    name: str = ""
    size: int = 0
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __call__(self) -> None:
        run = published_run(
            self.data, self.published, runs=self.runs, name=self.name, arch=self.arch or None,
            size_px=self.size,
        )  # fmt: skip
        evaluate(run, SieEvaluation(evaluation=self.evaluation), say=say)
        say("")
        say(f"run: {run.path}")
