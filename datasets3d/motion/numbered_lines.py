"""Lines of a text file with their numbers, and errors that name them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NoReturn

from equivariant.errors import DataFormatError
from equivariant.files import read_file


class NumberedLines:
    """The lines of a file that say something, one after another.

    Empty lines and lines that begin with ``#`` are passed over; line ends are LF or CRLF.

    Args:
        path: The file.

    Attributes:
        path: The file.
        number: Number of the line read last, from 1.

    Raises:
        DataFormatError: The file is missing, unreadable or no text.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            data = read_file(self.path)
        except OSError as error:
            raise DataFormatError(
                expected="a readable file",
                got=f"{type(error).__name__}: {error}",
                argument=str(path),
                advice="Check the name of the file.",
            ) from error
        if b"\0" in data:
            self.number = 1 + data[: data.index(b"\0")].count(b"\n")
            self.refuse("a file of text", "a byte of zero")
        lines = data.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._lines = [
            (number, words)
            for number, line in enumerate(lines, 1)
            if (words := line.split()) and not words[0].startswith("#")
        ]
        self._place = 0
        self.number = 0
        self._last = len(lines)

    def peek(self) -> list[str] | None:
        """Words of the next line, which stays the next; None at the end of the file."""
        return self._lines[self._place][1] if self._place < len(self._lines) else None

    def next(self, expected: str) -> list[str]:
        """Words of the next line.

        Args:
            expected: What the line should be; said where the file ends instead.

        Raises:
            DataFormatError: The file ends.
        """
        if self._place == len(self._lines):
            self.number = self._last
            self.refuse(expected, "the end of the file", "The file is cut off: get a whole one.")
        self.number, words = self._lines[self._place]
        self._place += 1
        return words

    def floats(self, words: list[str], count: int, what: str) -> list[float]:
        """Finite numbers of the line read last.

        Args:
            words: The words that should be numbers.
            count: How many there should be.
            what: What they are, for errors.

        Raises:
            DataFormatError: There are more or fewer, or one is no finite number.
        """
        if len(words) != count:
            self.refuse(f"{count} numbers, {what}", f"{len(words)}: {' '.join(words)[:60]!r}")
        found = []
        for word in words:
            try:
                value = math.nan if "_" in word else float(word)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                self.refuse(f"finite numbers, {what}", repr(word[:40]))
            found.append(value)
        return found

    def refuse(self, expected: str, got: str, advice: str = "Get a whole copy of it.") -> NoReturn:
        """Raise the error for the line read last.

        Raises:
            DataFormatError: Always.
        """
        raise DataFormatError(
            expected=expected, got=got, argument=f"{self.path}, line {self.number}", advice=advice
        )
