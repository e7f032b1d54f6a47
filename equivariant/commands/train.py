"""equivariant train: finds the recipe, and imports nothing before."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from equivariant.commands.terminal import explain, note
from equivariant.errors import ConventionError
from equivariant.recipes import RECIPES
from equivariant.runs import RunFolder
from equivariant.workflows.registry import RecipeEntry

DESCRIPTION = """Train a recipe; everything is kept in a run folder.

    equivariant train sie DATA
    equivariant train force-field molecules.xyz
    equivariant train lie MNIST_FOLDER
    equivariant train --resume RUN

`equivariant train RECIPE --help` explains a recipe and lists its settings. A run that was stopped
goes on with the settings that its folder holds."""


def train(words: Sequence[str]) -> Callable[[], None]:
    """Train a recipe; everything is kept in a run folder.

    Args:
        words: After ``equivariant train``.

    Returns:
        The command, ready to run; the process is left after a list of recipes.

    Raises:
        ConventionError: There is no such recipe.
    """
    if not words or (words[0] in ("-h", "--help")):
        explain({name: entry.summary for name, entry in RECIPES.items()}, words,
                prog="equivariant train", description=DESCRIPTION)  # fmt: skip
    entry, rest = _recipe(list(words))
    command: Callable[[], None] = import_module("equivariant.commands.grammar.train_recipe").parse(
        entry, rest
    )
    return command


def _recipe(words: list[str]) -> tuple[RecipeEntry, list[str]]:
    """The recipe that words name, by the old grammar too, and the words after its name."""
    first, run = words[0], _resumed_run(words)
    if first in RECIPES:
        if Path(first).exists():
            note(f"{first} is the recipe; for data of this name write .{os.sep}{first}")
        if run is not None:
            _check_recipe(run, RECIPES[first])
        return RECIPES[first], words[1:]
    if not first.startswith("-") and not Path(first).exists() and os.sep not in first:
        return RECIPES.named(first, otherwise=", or a folder of data"), words
    entry = RECIPES["sie"] if run is None else RECIPES.of_run(run)
    if run is None or not first.startswith("-"):
        line = shlex.join(["equivariant", "train", entry.name, *words])
        note(f"recipes are named now: {line}")
    return entry, words


def _resumed_run(words: Sequence[str]) -> RunFolder | None:
    """The run that ``--resume`` names; None without it."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--resume" and following:
            return RunFolder.open(Path(following))
        if word.startswith("--resume="):
            return RunFolder.open(Path(word.partition("=")[2]))
    return None


def _check_recipe(run: RunFolder, entry: RecipeEntry) -> None:
    """Raise ConventionError if another recipe made a run."""
    made_by = RECIPES.of_run(run)
    if made_by is not entry:
        raise ConventionError(
            expected=f"a run of {entry.name}", got=f"one of {made_by.name}", argument="--resume",
            advice=f"It goes on with: equivariant train {made_by.name} --resume {run.path}",
        )  # fmt: skip
