"""Recipes by name: listed without importing any, chosen by what a run says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module

from equivariant.errors import ConventionError, DataFormatError
from equivariant.runs import RunFolder, read_json
from equivariant.workflows.recipe import Recipe


@dataclass(frozen=True)
class RecipeEntry:
    """A recipe that is known before it is imported.

    Args:
        name: On the command line, and in ``config.json`` of its runs.
        summary: What it is for: the first line of the docstring of its settings.
        module: Dotted name of the module whose ``RECIPE`` describes it.
        older_setting: A setting that only runs of this recipe have, to know those by that were
            made before runs named their recipe; "" where there are none.
    """

    name: str
    summary: str
    module: str
    older_setting: str = ""

    def load(self) -> Recipe:
        """Import the recipe."""
        found: Recipe = import_module(self.module).RECIPE
        return found


class RecipeRegistry(Mapping[str, RecipeEntry]):
    """All recipes, in the order in which they are listed.

    Args:
        entries: One for each recipe.
    """

    def __init__(self, entries: Sequence[RecipeEntry]) -> None:
        self._entries = {entry.name: entry for entry in entries}

    def __getitem__(self, name: str) -> RecipeEntry:
        """The recipe of a name.

        Raises:
            KeyError: There is none; :meth:`named` says which there are.
        """
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Names, in order."""
        return iter(self._entries)

    def __len__(self) -> int:
        """How many recipes there are."""
        return len(self._entries)

    def named(self, name: str, *, otherwise: str = "") -> RecipeEntry:
        """The recipe of a name.

        Args:
            name: As a user wrote it.
            otherwise: What else the word might have been, for the message.

        Raises:
            ConventionError: There is none; the message suggests names that are alike.
        """
        if name in self._entries:
            return self._entries[name]
        alike = get_close_matches(name, self._entries, n=1)
        advice = f"Did you mean {alike[0]}? " if alike else ""
        raise ConventionError(
            expected=f"one of {', '.join(self._entries)}{otherwise}", got=name, argument="recipe",
            advice=f"{advice}`equivariant train --help` says what each is for.",
        )  # fmt: skip

    def of_run(self, run: RunFolder) -> RecipeEntry:
        """The recipe that made a run, by the header of the run's ``config.json``.

        Args:
            run: Its folder.

        Raises:
            DataFormatError: The run is not of a recipe, or of one that this version lacks.
        """
        path = run.path / "config.json"
        settings = read_json(path)
        name = settings.get("recipe") if isinstance(settings, dict) else None
        if name in self._entries:
            return self._entries[name]
        if name is None and isinstance(settings, dict):
            for entry in self._entries.values():
                if entry.older_setting and entry.older_setting in settings:
                    return entry
        raise DataFormatError(
            expected=f"a run of {' or '.join(self._entries)}",
            got="a run that names no recipe" if name is None else f"a run of {name!r}",
            argument=str(path), advice=_advice(run, name),
        )  # fmt: skip


def _advice(run: RunFolder, name: object) -> str:
    """What to do about a run that no recipe here made."""
    if name is None:
        return "Pass a folder that `equivariant train` made: runs/NAME/TIME-LETTERS."
    environment = run.path / "environment.json"
    made = read_json(environment).get("equivariant") if environment.is_file() else None
    by = f", {made}," if made else ""
    return f"Use the version of equivariant that made it{by} or one that is newer than this."
