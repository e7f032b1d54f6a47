"""Going on with a run: what a command takes from it, what it may change, and how it stops."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import tyro

from equivariant.commands.stopping import Stopped, first_process
from equivariant.errors import ConventionError, DataFormatError
from equivariant.runs import RunFolder, write_json
from equivariant.training import FitConfig, TrainingStopped
from equivariant.training.resume.agreement import FREE
from equivariant.training.resume.checkpoint import read_state

_ENDS = ("fit.steps", "fit.minutes")
_KEPT = ("resume", "quiet", "data", *(f"fit.{name}" for name in FREE))


@runtime_checkable
class Resumable(Protocol):
    """A command that trains, and goes on with a run of its own.

    Attributes:
        verb: Its name.
        bare: Groups of settings whose options carry no name of the group.
        free: Settings of its own, besides those of every run, that may differ when it goes on.
        data: What is trained on.
        resume: Run folder to go on with; None starts one.
    """

    verb: ClassVar[str]
    bare: ClassVar[tuple[str, ...]]
    free: ClassVar[tuple[str, ...]]

    @property
    def data(self) -> Path | None: ...

    @property
    def resume(self) -> Path | None: ...

    def saved(self, run: RunFolder) -> Any:
        """The command with the settings of a run."""

    def __call__(self) -> None: ...


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
    prog = f"equivariant {command.verb}"
    again: C = tyro.cli(type(command), prog=prog, args=list(words), default=saved)
    before, now = _leaves(saved), _leaves(again)
    free = {*_KEPT, *command.free}
    wrong = [
        name
        for name, value in now.items()
        if value != before[name]
        and (name not in free or (name in _ENDS and not _later(before[name], value)))
    ]
    if wrong:
        given = ", ".join(
            f"{_option(command, n)} {now[n]} instead of {_said(n, before[n])}" for n in wrong
        )
        raise ConventionError(
            expected=f"the settings of the run {command.resume}", got=given, argument="--resume",
            advice=f"Leave them out, or start another run; {_option(command, 'fit.steps')} and "
            f"{_option(command, 'fit.minutes')} may be raised.",
        )  # fmt: skip
    if again.data is not None and not again.data.exists():
        raise DataFormatError(
            expected="the data of the run", got="nothing there", argument=str(again.data),
            advice=f"If they were moved: {prog} NEW_PLACE --resume {command.resume}",
        )  # fmt: skip
    return again


def with_ends(fit: FitConfig, run: RunFolder) -> FitConfig:
    """Settings of training as the last part of a run had them: its end may have been raised."""
    if not run.resume.is_file():
        return fit
    extra = read_state(run.resume)[1]
    return replace(fit, **{name: extra[name] for name in FREE if name in extra})


@contextmanager
def going_on(verb: str, run: RunFolder, settings: Any) -> Iterator[None]:
    """Train within: the run keeps these settings, and a stop says how it goes on.

    Args:
        verb: Name of the command.
        run: Its folder.
        settings: Of this part of the run, written into ``config.json`` once it has begun.

    Raises:
        Stopped: Training was stopped.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        step, number = "", int(signal.SIGINT)
        if isinstance(stop, TrainingStopped):
            step, number = f" at step {stop.step}", stop.number
            _keep(run, settings)
        line = shlex.join(["equivariant", verb, "--resume", str(run.path)])
        raise Stopped(f"stopped{step}; to go on: {line}", 128 + number) from stop
    _keep(run, settings)


def _keep(run: RunFolder, settings: Any) -> None:
    if first_process():
        write_json(run.path / "config.json", settings)


def _later(before: int | float, now: int | float) -> bool:
    """Whether an end is not before another; 0 is none."""
    return not now or (bool(before) and now >= before)


def _said(name: str, value: Any) -> str:
    return "none" if value == "" or (name in _ENDS and not value) else str(value)


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Settings by dotted name."""
    if not is_dataclass(value):
        return {name: value}
    found: dict[str, Any] = {}
    for field in fields(value):
        path = f"{name}.{field.name}" if name else field.name
        found |= _leaves(getattr(value, field.name), path)
    return found


def _option(command: Resumable, name: str) -> str:
    group, _, rest = name.partition(".")
    return "--" + (rest if group in command.bare else name).replace("_", "-")
