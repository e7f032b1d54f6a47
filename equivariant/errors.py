"""Exceptions: each says what was expected, what came, in which argument, and what to do.

    EquivariantError
    ├── ShapeError          an array of the wrong shape
    ├── ConventionError     values or objects that break a stated convention (units, group, order)
    ├── DataFormatError     a file or folder that is not what its name promises
    ├── StorageError        a file that cannot be written (a full disk); also an OSError
    └── MissingExtraError   an optional package that is not installed

They are raised once, at the public door.
"""

from __future__ import annotations

import errno
import unicodedata
from typing import Any

_CONTROLS = ("Cc", "Cf", "Cs", "Zl", "Zp")


class EquivariantError(Exception):
    """An error in four parts.

    Args:
        expected: What the callee accepts, as a noun phrase.
        got: What came instead.
        argument: Name of the argument, field or file at fault.
        advice: One sentence that says what to do.

    Example:
        >>> str(EquivariantError(expected="1 or more", got="-1", argument="size", advice="Pass 1."))
        'size: expected 1 or more, got -1. Pass 1.'
    """

    def __init__(self, *, expected: str, got: str, argument: str, advice: str) -> None:
        parts = f"{printable(argument)}: expected {expected}, got {got}. {advice}"
        super().__init__(printable(parts, keep="\n\t"))
        self.expected = expected
        self.got = got
        self.argument = argument
        self.advice = advice

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the trip between processes in spite of keyword-only parts."""
        return _rebuild, (type(self), self.expected, self.got, self.argument, self.advice)


class ShapeError(EquivariantError):
    """An array has the wrong shape."""


class ConventionError(EquivariantError):
    """A value or object breaks a stated convention: unit, range, group, order, dtype."""


class DataFormatError(EquivariantError):
    """A file or folder is missing, unreadable, or not what its name promises."""


class StorageError(EquivariantError, OSError):
    """A file cannot be written: the disk is full, or the place read-only. The old one is whole."""

    @classmethod
    def of(cls, error: OSError, path: object) -> StorageError:
        """The error for one file.

        Args:
            error: What the system said.
            path: The file.
        """
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "free some space" if full else "choose another place, or let this one be written to,"
        found = cls(
            expected="room to write" if full else "a place that can be written to",
            got=f"{type(error).__name__}: {error}",
            argument=str(path),
            advice=f"Nothing that was there is damaged: {what} and run the same again.",
        )
        found.errno = error.errno
        return found


class MissingExtraError(EquivariantError, ImportError):
    """An optional package is not installed."""

    @classmethod
    def of(cls, package: str, *, extra: str) -> MissingExtraError:
        """The error for one missing package of one extra.

        Args:
            package: Import name that could not be found.
            extra: Name of the extra of this distribution that brings it.
        """
        return cls(
            expected=f"the optional package {package!r}",
            got="an environment without it",
            argument=package,
            advice=f'Install it with: pip install "equivariant[{extra}]".',
        )


def _rebuild(
    kind: type[EquivariantError], expected: str, got: str, argument: str, advice: str
) -> EquivariantError:
    return kind(expected=expected, got=got, argument=argument, advice=advice)


def printable(text: str, *, keep: str = "") -> str:
    r"""Text whose control characters are written as Python writes them: names of files may hold
    any, and would break lines or speak to the terminal.

    Args:
        text: A name, or a message with names in it.
        keep: Characters that stay as they are.

    Returns:
        The text; of categories Cc, Cf, Cs, Zl and Zp only what ``keep`` holds is left, and joiners
        (U+200C, U+200D), which words of several scripts need.

    Example:
        >>> printable("a\nb\x1b[31m.obj")
        'a\\nb\\x1b[31m.obj'
    """
    return "".join(
        character
        if character.isprintable() or character in keep or character in " \u200c\u200d"
        or unicodedata.category(character) not in _CONTROLS
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )  # fmt: skip


def check_option(value: object, allowed: tuple[str, ...], argument: str) -> None:
    """Refuse a word that is none of those allowed.

    Args:
        value: The word.
        allowed: Those allowed.
        argument: Name of the argument that it came in.

    Raises:
        ConventionError: It is none of them.

    Example:
        >>> check_option("even", ("even", "full"), "parity")
    """
    if value not in allowed:
        raise ConventionError(
            expected=" or ".join(allowed),
            got=repr(value),
            argument=argument,
            advice="Choose one of them.",
        )
