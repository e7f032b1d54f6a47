"""Train one recipe: its settings from the words of a command, a new run or one that goes on."""

from __future__ import annotations

import inspect
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import tyro

from equivariant.commands.grammar.option_types import absolute, command_type, part_of
from equivariant.commands.grammar.resume import resumed
from equivariant.commands.stopping import Stopped
from equivariant.commands.terminal import say
from equivariant.errors import ConventionError
from equivariant.runs import RunFolder
from equivariant.training import TrainingStopped, launch
from equivariant.workflows.experiment import latest_settings, new_run, train_in
from equivariant.workflows.recipe import Recipe
from equivariant.workflows.registry import RecipeEntry


@dataclass(frozen=True)
class RunOptions:
    """Options of every recipe.

    Args:
        runs: Folder under which run folders are made.
        name: Of the run; what is trained if not given.
        resume: Go on with this run folder instead of starting one; settings are then read from
            it, and others refused, but for the steps and minutes of the whole run, which may be
            raised, what changes no step, and the place of data that were moved.
        quiet: Show no progress bar.
    """

    runs: Path = Path("runs")
    name: str = ""
    resume: Path | None = None
    quiet: bool = False


class TrainRecipe:
    """``equivariant train`` for one recipe; its fields are settings and :class:`RunOptions`.

    Attributes:
        prog: How the command is called.
        recipe: What is trained.
    """

    prog: ClassVar[str]
    recipe: ClassVar[Recipe]
    data: Path | None
    runs: Path
    name: str
    resume: Path | None
    quiet: bool

    def __call__(self) -> None:
        run = None if self.resume is None else RunFolder.open(self.resume)
        settings = self.settings()
        fabric = launch(settings.fit)
        if run is None:
            run = new_run(settings, runs=self.runs, name=self.name, fabric=fabric)
        try:
            train_in(
                run, self.recipe, settings, fabric=fabric, progress=not self.quiet, say=say
            )  # fmt: skip
        except KeyboardInterrupt as stop:
            raise self._stopped(stop, run) from stop
        if fabric.is_global_zero:
            say(f"weights: {run.weights}")
            say(f"next: equivariant evaluate {run.path} {self.recipe.evaluated_on}".rstrip())

    def settings(self) -> Any:
        """The recipe's settings; places are absolute, so that the run is found from anywhere."""
        if self.data is None:
            raise ConventionError(
                expected="the data to train on, or --resume RUN", got="neither", argument="data",
                advice=f"`{self.prog} --help` says what data it takes.",
            )  # fmt: skip
        kind = self.recipe.settings
        found = part_of(self, kind)
        return replace(found, **{
            f.name: absolute(getattr(found, f.name)) for f in fields(kind) if f.init
        })  # fmt: skip

    def saved(self, run: RunFolder) -> TrainRecipe:
        """This command with the settings of a run."""
        settings = latest_settings(self.recipe, run)
        values = {f.name: getattr(settings, f.name) for f in fields(settings) if f.init}
        same: Any = self  # a dataclass, though this base of it is none
        found: TrainRecipe = replace(same, **values, runs=Path("runs"), name="")
        return found

    def _stopped(self, stop: KeyboardInterrupt, run: RunFolder) -> Stopped:
        """What the user is told after a stop: at which step, and how the run goes on."""
        step, number = "", int(signal.SIGINT)
        if isinstance(stop, TrainingStopped):
            step, number = f" at step {stop.step}", stop.number
        line = shlex.join([*self.prog.split(), "--resume", str(run.path)])
        return Stopped(f"stopped{step}; to go on: {line}", 128 + number)


def parse(entry: RecipeEntry, words: Sequence[str]) -> TrainRecipe:
    """The command that words ask for.

    Args:
        entry: The recipe to train.
        words: After ``equivariant train RECIPE``.

    Raises:
        ConventionError: A setting is given that a run which goes on cannot change any more.
        DataFormatError: There is no run to go on with, or its data are not where they were.
    """
    recipe, prog = entry.load(), f"equivariant train {entry.name}"
    words = _with_preset(recipe, words)
    namespace = {"__doc__": _explained(recipe), "prog": prog, "recipe": recipe}
    base: type[TrainRecipe] = type("TrainRecipe", (TrainRecipe,), namespace)
    kind = command_type(base, recipe.settings, RunOptions, optional=("data",))
    command = tyro.cli(kind, prog=prog, args=list(words))
    return resumed(command, words) if command.resume is not None else command


def _with_preset(recipe: Recipe, words: Sequence[str]) -> list[str]:
    """Words with those that ``--preset NAME`` stands for before all others, which override them."""
    rest, names = [], []
    given = iter(words)
    for word in given:
        if word == "--preset" and recipe.presets:
            names.append(next(given, ""))
        elif word.startswith("--preset=") and recipe.presets:
            names.append(word.partition("=")[2])
        else:
            rest.append(word)
    if not names:
        return rest
    wrong = names[0] not in recipe.presets or len(names) > 1
    if wrong or any(word.partition("=")[0] == "--resume" for word in rest):
        raise ConventionError(
            expected=f"one of the presets {', '.join(recipe.presets)}, for a new run",
            got=" ".join(names) + (" with --resume" if not wrong else ""), argument="--preset",
            advice="A run that goes on has the settings of its folder.",
        )  # fmt: skip
    data = 1 if rest and not rest[0].startswith("-") else 0
    return [*rest[:data], *shlex.split(recipe.presets[names[0]]), *rest[data:]]


def _explained(recipe: Recipe) -> str:
    """The help of a recipe: that of its settings, and what its presets stand for."""
    text: str = inspect.cleandoc(recipe.settings.__doc__ or "")
    if not recipe.presets:
        return text
    lines = [f"    --preset {name}: {words}" for name, words in recipe.presets.items()]
    about = "Presets, which further options override:\n\n" + "\n".join(lines)
    before, mark, after = text.partition("Args:")
    return f"{before.rstrip()}\n\n{about}\n\n{mark}{after}"
