"""Points of PLY files with all their columns, such as a label that mesh readers drop."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from equivariant.errors import DataFormatError
from equivariant.files import read_file

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}


def read_point_ply(path: str | Path) -> dict[str, NDArray[np.generic]]:
    """Read the columns of the vertices of a PLY file.

    Args:
        path: The file: text or binary, whose first element is ``vertex`` and has no lists; what
            follows is passed over.

    Returns:
        Columns by name, "x", "y", "z" and whatever there is, shape (points,) each.

    Raises:
        DataFormatError: It is missing, cut off or malformed; names the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "two.ply"
        >>> _ = path.write_text('''ply
        ... format ascii 1.0
        ... element vertex 2
        ... property float x
        ... property int idx
        ... end_header
        ... 0.5 3
        ... 1.5 4
        ... ''')
        >>> read_point_ply(path)["idx"].tolist()
        [3, 4]
    """
    path = Path(path)
    try:
        data = read_file(path)
    except OSError as error:
        _refuse(path, "a readable file", f"{type(error).__name__}: {error}")
    for ending in (b"end_header\n", b"end_header\r\n"):
        head, found, body = data.partition(ending)
        if found:
            break
    if not found or not head.startswith(b"ply"):
        _refuse(path, "a PLY file with its header", f"it starts {data[:12]!r}")
    form, count, columns = _header(path, head.decode("latin-1"))
    dtype = np.dtype([(name, _ORDERS[form] + kind) for name, kind in columns])
    if form != "ascii":
        if len(body) < count * dtype.itemsize:
            _refuse(path, f"{count} points, {count * dtype.itemsize} bytes", f"{len(body)} bytes")
        table = np.frombuffer(body, dtype, count)
        return {name: table[name].astype(dtype[name].newbyteorder("=")) for name, _ in columns}
    words = body.decode("latin-1").split()[: count * len(columns)]
    try:
        numbers = np.array(words, np.float64)
    except ValueError as error:
        _refuse(path, "numbers", str(error))
    if len(numbers) != count * len(columns):
        _refuse(path, f"{count} points of {len(columns)} numbers", f"{len(numbers)} numbers")
    rows = numbers.reshape(count, len(columns))
    return {name: rows[:, k].astype(kind) for k, (name, kind) in enumerate(columns)}


def _header(path: Path, text: str) -> tuple[str, int, list[tuple[str, str]]]:
    """Format, number of points, and name and type of their columns."""
    form, count, columns, elements = "", -1, [], 0
    for line in text.splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) == 3 and words[1] in _ORDERS:
            form = words[1]
        elif words[0] == "element" and len(words) == 3 and words[2].isdigit():
            elements += 1
            if elements == 1 and words[1] != "vertex":
                _refuse(path, "vertices as the first element", repr(words[1]))
            count = int(words[2]) if elements == 1 else count
        elif words[0] == "property" and elements != 1:
            continue
        elif words[0] == "property" and len(words) == 3 and words[1] in _TYPES:
            columns.append((words[2], _TYPES[words[1]]))
        else:
            _refuse(path, "a line of a PLY header", repr(line[:60]))
    if not form or count < 0 or not columns or len(dict(columns)) != len(columns):
        _refuse(path, "a format, vertices and columns of different names", repr(text[:80]))
    return form, count, columns


def _refuse(path: Path, expected: str, got: str) -> NoReturn:
    raise DataFormatError(
        expected=expected, got=got, argument=str(path), advice="Get a whole copy of the file."
    )
