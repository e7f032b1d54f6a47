"""Mesh files that end too early, where the text still parses as a smaller mesh."""

from __future__ import annotations

import re

from equivariant.errors import DataFormatError


def check_complete(data: bytes, *, suffix: str, name: str) -> None:
    """Refuse a file whose contents stop before what it announces.

    Most formats hold their own lengths and are checked by their readers. Others are checked here:
    the text of a PLY must have as many lines as its header says, and the last line of an OBJ must
    be whole. An OBJ cut exactly between two lines cannot be told.

    Args:
        data: Contents of the file.
        suffix: Lower case, with the dot.
        name: What the error calls the file.

    Raises:
        DataFormatError: The file is empty or stops too early.

    Example:
        >>> check_complete(b"v 0 0 0\\nv 1 0", suffix=".obj", name="cut.obj")
        Traceback (most recent call last):
        ...
        equivariant.errors.DataFormatError: cut.obj: expected a whole last line, got 'v 1 0'. \
Copy or download the file again.
    """
    if not data.strip():
        raise _truncated(name, "a mesh file", "an empty file")
    if suffix == ".obj":
        _check_obj(data, name)
    elif suffix == ".ply":
        _check_ply(data, name)


def _check_obj(data: bytes, name: str) -> None:
    last = data.rstrip().rpartition(b"\n")[2].split()
    if last[0] in (b"v", b"f") and len(last) < 4:
        raise _truncated(name, "a whole last line", repr(b" ".join(last).decode("latin-1")))


def _check_ply(data: bytes, name: str) -> None:
    header, end, body = data.partition(b"end_header")
    if not end:
        raise _truncated(name, "a PLY header", "no end_header")
    if b"format ascii" not in header:
        return
    promised = sum(int(count) for count in re.findall(rb"element\s+\S+\s+(\d+)", header))
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) < promised:
        raise _truncated(name, f"{promised} lines after the header", str(len(lines)))
    last_element = header.rpartition(b"element")[2].split()[:2]
    if last_element[:1] == [b"face"] and last_element[1:] != [b"0"]:
        _check_last_face(lines[-1].split(), name)


def _check_last_face(face: list[bytes], name: str) -> None:
    if not face[0].isdigit() or len(face) <= int(face[0]):
        raise _truncated(name, "a whole last face", repr(b" ".join(face).decode("latin-1")))


def _truncated(name: str, expected: str, got: str) -> DataFormatError:
    return DataFormatError(
        expected=expected, got=got, argument=name, advice="Copy or download the file again."
    )
