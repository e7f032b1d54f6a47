"""What commands say, and where."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import make_dataclass
from typing import Annotated, Any, Union

import tyro

from equivariant.commands.stopping import first_process
from equivariant.errors import printable


def say(text: str = "") -> None:
    """Write on standard output, at once; control characters but ends of lines and tabs, and what
    the output's encoding lacks, as Python writes them."""
    line = printable(text, keep="\n\t") + "\n"
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def counted(number: int, *nouns: str) -> str:
    """A number of things, in their singular where there is one of them.

    Example:
        >>> counted(1, "object"), counted(1200, "file or folder", "files and folders")
        ('1 object', '1,200 files and folders')
    """
    return f"{number:,} {nouns[0] if number == 1 else nouns[1] if nouns[1:] else nouns[0] + 's'}"


def extent(objects: int, images: int) -> str:
    """How large a set of views is, in words."""
    return f"{counted(objects, 'object')}, {counted(images, 'image')}"


def quit_output() -> None:
    """Let nothing more reach a standard output whose reader has left, nor complain about it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """Write one line on standard error, from the first process only."""
    if first_process():
        sys.stderr.write(f"note: {text}\n")


def explain(
    choices: Mapping[str, str], words: Sequence[str], *, prog: str, description: str
) -> None:
    """List what may follow a command, or say that a word is none of it; leaves the process.

    Args:
        choices: Summaries by name.
        words: Of the command line, after ``prog``: nothing (which is an error, and answered by
            the list), a request for help, or a wrong word.
        prog: The command.
        description: What it is for.
    """
    kinds = [
        Annotated[make_dataclass("Choice", []), tyro.conf.subcommand(name, description=summary)]
        for name, summary in choices.items()
    ]
    any_choice: Any = Union[tuple(kinds)]  # noqa: UP007
    if words:
        tyro.cli(any_choice, prog=prog, description=description, args=list(words))
    with redirect_stdout(sys.stderr), suppress(SystemExit):
        tyro.cli(any_choice, prog=prog, description=description, args=["--help"])
    raise SystemExit(2)


def duration(seconds: float) -> str:
    """Seconds in words, for example ``2 h 05 min`` or ``41 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def size(count: int) -> str:
    """Bytes in words, for example ``3.2 GB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
