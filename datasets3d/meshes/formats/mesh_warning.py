"""Warnings about one mesh: what its file asks for and the picture will not show."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from equivariant.errors import printable


class MeshWarning(UserWarning):
    """A mesh is read, but not as its file says: a texture is missing, transparency is ignored.

    ``warnings.simplefilter("error", MeshWarning)`` makes errors of them, as ``strict`` does.

    Args:
        note: What differs, one clause without the file's name.
        file: What the message calls the file.

    Example:
        >>> print(MeshWarning("texture 'red.png' was not found: grey is used", "chair.obj"))
        chair.obj: texture 'red.png' was not found: grey is used
    """

    def __init__(self, note: str, file: str) -> None:
        super().__init__(note, file)
        self.note, self.file = note, file

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.note}")


def warn(notes: Iterable[str], file: str, *, level: int = 3) -> None:
    """Issue a :class:`MeshWarning` per note.

    Args:
        notes: What differs.
        file: What the messages call the file.
        level: On whose behalf: 3 is the caller's caller, 4 the caller of that.
    """
    for note in notes:
        warnings.warn(MeshWarning(note, file), stacklevel=level)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Gather the notes of all :class:`MeshWarning` inside, in order and each once.

    Other warnings pass. Not for several threads at once, as ``warnings.catch_warnings`` is not.

    Yields:
        Filled when the block ends without an exception.

    Example:
        >>> with collected() as notes:
        ...     warn(["grey is used"], "a.obj")
        >>> notes
        ['grey is used']
    """
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MeshWarning)
        yield notes
    for item in caught:
        if isinstance(item.message, MeshWarning):
            if item.message.note not in notes:
                notes.append(item.message.note)
        else:
            warnings.showwarning(
                item.message, item.category, item.filename, item.lineno, item.file, item.line
            )
