"""Commands on runs: the header of a run says by which recipe, and with which options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import Any, ClassVar

import tyro

from equivariant.commands.grammar.option_types import command_type, part_of
from equivariant.commands.terminal import say
from equivariant.errors import ConventionError
from equivariant.recipes import RECIPES
from equivariant.runs import RunFolder
from equivariant.workflows.recipe import RunVerb
from equivariant.workflows.registry import RecipeEntry


@dataclass(frozen=True)
class OneRun:
    """What a command on one run begins with.

    Args:
        run: Run folder.
    """

    run: Path


@dataclass(frozen=True)
class SeveralRuns:
    """What a command on several runs begins with.

    Args:
        runs: Run folders, all of one recipe.
    """

    runs: tuple[Path, ...]


class OnRuns:
    """A command on runs of one recipe; its fields are the runs and the recipe's options.

    Attributes:
        entry: The recipe.
        does: What it does with runs.
    """

    entry: ClassVar[RecipeEntry]
    does: ClassVar[RunVerb]

    def __call__(self) -> None:
        several = hasattr(self, "runs")
        paths = part_of(self, SeveralRuns).runs if several else (part_of(self, OneRun).run,)
        runs = [RunFolder.open(path) for path in paths]
        for run in runs:
            if RECIPES.of_run(run) is not self.entry:
                raise ConventionError(
                    expected=f"runs of one recipe, {self.entry.name}",
                    got=f"one of {RECIPES.of_run(run).name}", argument=str(run.path),
                    advice="Make a page for each recipe.",
                )  # fmt: skip
        self.does.call(runs if several else runs[0], part_of(self, self.does.options), say=say)


def on_runs(
    verb: str, words: Sequence[str], *, begin: type[Any], help_of: Callable[..., Any]
) -> OnRuns:
    """The command of the recipe that made the runs among the words.

    Args:
        verb: "evaluate", "measure" or "report".
        words: After the verb.
        begin: :class:`OneRun` or :class:`SeveralRuns`.
        help_of: Whose docstring says what the verb does, for its help without a run.

    Raises:
        DataFormatError: There is no run, or none of a recipe that is known.
        ConventionError: The recipe does nothing of this kind with its runs.
    """
    prog, path = f"equivariant {verb}", run_among(words)
    if path is not None:
        if words[0] in RECIPES and Path(words[0]) != path:
            raise ConventionError(
                expected="a run", got=f"the recipe {words[0]} and a run", argument="run",
                advice=f"Leave {words[0]} out: the run says of which recipe it is.",
            )  # fmt: skip
        return _parse(verb, RECIPES.of_run(RunFolder(path)), words, begin)
    asked = any(word in ("-h", "--help") for word in words)
    if asked and words[0] in RECIPES:
        return _parse(verb, RECIPES[words[0]], ["--help"], begin)
    if asked:
        help_text = _general_help(verb, (getdoc(help_of) or "").partition("\n")[0])
        base: type[Any] = type("General", (), {"__doc__": help_text})
        tyro.cli(command_type(base, begin), prog=prog, args=["--help"])
    first = next((word for word in words if not word.startswith("-")), "")
    if not first:
        raise ConventionError(
            expected="a run folder", got="none", argument="run",
            advice=f"Pass one that `equivariant train` made; `{prog} --help` says more.",
        )  # fmt: skip
    return _parse(verb, RECIPES.of_run(RunFolder.open(Path(first))), words, begin)


def run_among(words: Sequence[str]) -> Path | None:
    """The first of some words that is a run folder; None if none is."""
    for word in words:
        if not word.startswith("-") and (Path(word) / "config.json").is_file():
            return Path(word)
    return None


def _parse(verb: str, entry: RecipeEntry, words: Sequence[str], begin: type[Any]) -> OnRuns:
    """The command of one recipe, from the words after the verb."""
    does: RunVerb | None = getattr(entry.load(), verb)
    if does is None:
        raise ConventionError(
            expected=f"runs of a recipe that has `{verb}`", got=f"a run of {entry.name}",
            argument="run", advice="Its numbers are in measures.json and metrics.jsonl.",
        )  # fmt: skip
    base: type[OnRuns] = type(
        "OnRuns", (OnRuns,), {"__doc__": does.options.__doc__, "entry": entry, "does": does}
    )
    kind = command_type(base, begin, does.options)
    return tyro.cli(kind, prog=f"equivariant {verb}", args=list(words))


def _general_help(verb: str, summary: str) -> str:
    """The docstring of a verb whose run, and with it the options, are not known yet."""
    helps = "\n".join(f"    equivariant {verb} {name} --help" for name in RECIPES)
    if verb == "evaluate":
        summary += (
            "\n\n`equivariant evaluate DATA --published model.pth` evaluates a checkpoint of SIE's "
            "published code; with --help it says how."
        )
    return (
        f"{summary}\n\nThe options are those of the recipe that made the run, which the run "
        f"itself says. They are listed, with what is computed, by `equivariant {verb} RUN --help` "
        f"or, without a run, by\n\n{helps}\n"
    )
