"""Going on with a run: what a command takes from it, and what it may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import tyro

from equivariant.errors import ConventionError, DataFormatError
from equivariant.runs import RunFolder
from equivariant.training.resume.agreement import FREE
from equivariant.workflows.recipe import is_free, option_name

_ENDS = ("fit.steps", "fit.minutes")
_KEPT = ("resume", "quiet", "data", *(f"fit.{name}" for name in FREE))


@runtime_checkable
class Resumable(Protocol):
    """A command that trains, and goes on with a run of its own.

    Attributes:
        prog: How it is called.
        data: What is trained on.
        resume: Run folder to go on with; None starts one.
    """

    prog: ClassVar[str]

    @property
    def data(self) -> Path | None: ...

    @property
    def resume(self) -> Path | None: ...

    def saved(self, run: RunFolder) -> Any:
        """The command with the settings of a run."""


C = TypeVar("C", bound=Resumable)


def resumed(command: C, words: Sequence[str]) -> C:
    """The command with the settings of the run it goes on with, and what its words change.

    The words are read again with the run's settings for defaults: what then differs was given.

    Args:
        command: With ``resume``.
        words: Of the command line, after the command's name.

    Raises:
        ConventionError: A setting is given that the run cannot change any more.
        DataFormatError: There is no run, or its data are not where they were.
    """
    if command.resume is None:
        return command
    saved = command.saved(RunFolder.open(command.resume))
    again: C = tyro.cli(type(command), prog=command.prog, args=list(words), default=saved)
    before, now, names = _leaves(saved), _leaves(again), _option_names(again)
    free = {*_KEPT, *(field.name for field in _fields(again) if is_free(field))}
    wrong = [
        name
        for name, value in now.items()
        if value != before[name]
        and (name not in free or (name in _ENDS and not _later(before[name], value)))
    ]
    if wrong:
        given = ", ".join(f"{names[n]} {now[n]} instead of {_said(n, before[n])}" for n in wrong)
        steps, minutes = (names[name] for name in _ENDS)
        raise ConventionError(
            expected=f"the settings of the run {command.resume}", got=given, argument="--resume",
            advice=f"Leave them out, or start another run; {steps} and {minutes} may be raised.",
        )  # fmt: skip
    if again.data is not None and not again.data.exists():
        raise DataFormatError(
            expected="the data of the run", got="nothing there", argument=str(again.data),
            advice=f"If they were moved: {command.prog} NEW_PLACE --resume {command.resume}",
        )  # fmt: skip
    return again


def _later(before: int | float, now: int | float) -> bool:
    """Whether an end is not before another; 0 is none."""
    return not now or (bool(before) and now >= before)


def _said(name: str, value: Any) -> str:
    """A setting as a message names it."""
    return "none" if value == "" or (name in _ENDS and not value) else str(value)


def _fields(value: Any) -> tuple[Field[Any], ...]:
    """The fields of a command, which its protocol does not say it has."""
    return fields(value)


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    """All settings of a command, those of nested groups too, by dotted name."""
    if not is_dataclass(value):
        return {name: value}
    found: dict[str, Any] = {}
    for field in fields(value):
        path = f"{name}.{field.name}" if name else field.name
        found |= _leaves(getattr(value, field.name), path)
    return found


def _option_names(command: Any) -> dict[str, str]:
    """What options are called, by the dotted name of the setting: ``--fit.steps``."""
    found = {}
    for field in fields(command):
        for name in _leaves(getattr(command, field.name), field.name):
            inside = name.partition(".")[2]
            words = [word for word in (option_name(field), inside) if word]
            found[name] = "--" + ".".join(words).replace("_", "-")
    return found
