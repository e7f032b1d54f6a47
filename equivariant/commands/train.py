"""equivariant train"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from equivariant.commands.resume import going_on, with_ends
from equivariant.commands.terminal import say
from equivariant.errors import ConventionError
from equivariant.recipes.sie_3diebench.experiment import ExperimentConfig, restore_config, train
from equivariant.recipes.sie_3diebench.models import ModelConfig
from equivariant.runs import RunFolder
from equivariant.training import FitConfig, launch


@dataclass(frozen=True)
class Train:
    """Train a method on a data set of views; everything is kept in a run folder.

    Args:
        data: Folder that `equivariant build` wrote, or the published 3DIEBench.
        model: Method and network.
        fit: Training.
        seed: Of fresh weights and of the pairs that are drawn.
        size: Resize images to this side in pixels; 0 keeps the files' size.
        stream: Decode images batch by batch instead of keeping all of them in memory.
        runs: Folder under which run folders are made.
        name: Of the run; the method if not given.
        resume: Go on with this run folder instead of starting one; settings are then read from
            it, and others refused, but for `--fit.steps` and `--fit.minutes`, which may be
            raised, what changes no step, and the place of data that were moved.
        quiet: Show no progress bar.
    """

    verb: ClassVar[str] = "train"
    bare: ClassVar[tuple[str, ...]] = ()
    free: ClassVar[tuple[str, ...]] = ("stream",)

    data: Annotated[Path | None, tyro.conf.Positional] = None
    model: ModelConfig = field(default_factory=ModelConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    seed: int = 0
    size: int = 0
    stream: bool = False
    runs: Path = Path("runs")
    name: str = ""
    resume: Path | None = None
    quiet: bool = False

    def __call__(self) -> None:
        run = None if self.resume is None else RunFolder.open(self.resume)
        config = self.config()
        fabric = launch(config.fit)
        if run is None:
            name, path = self.name or config.model.method, ""
            if fabric.is_global_zero:
                path = str(RunFolder.create(self.runs, name, config=config).path)
            run = RunFolder(Path(fabric.broadcast(path)))
        with going_on(self.verb, run, config):
            voice = say if fabric.is_global_zero else None
            train(config, run, fabric=fabric, progress=not self.quiet, say=voice)
        if fabric.is_global_zero:
            say(f"weights: {run.weights}")
            say(f"next: equivariant evaluate {run.path}")

    def saved(self, run: RunFolder) -> Train:
        """This command with the settings of a run."""
        config = restore_config(run)
        return replace(
            self,
            data=config.data,
            model=config.model,
            fit=with_ends(config.fit, run),
            seed=config.seed,
            size=config.size_px,
            stream=not config.in_memory,
            runs=Path("runs"),
            name="",
        )

    def config(self) -> ExperimentConfig:
        """What is trained on what."""
        if self.data is None:
            raise ConventionError(
                expected="a data set folder, or --resume RUN", got="neither", argument="data",
                advice="Build one first: equivariant build DATA.",
            )  # fmt: skip
        return ExperimentConfig(
            data=self.data.resolve(),
            model=self.model,
            fit=self.fit,
            seed=self.seed,
            size_px=self.size,
            in_memory=not self.stream,
        )
