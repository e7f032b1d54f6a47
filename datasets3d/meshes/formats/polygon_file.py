"""PLY files of mixed polygons, colored polygons or wide colors, rewritten as triangles in bytes."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.formats.polygons import triangulated

KINDS: Final = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
COLORS: Final = ("red", "green", "blue", "alpha")
HEADER_AT_MOST: Final = 2**16


@dataclass
class Property:
    """A column of an element: numbers, or lists of them where ``length`` is a kind."""

    name: str
    kind: str
    length: str | None = None


@dataclass
class Element:
    """Rows of a PLY file: vertices, faces.

    Args:
        name: What the rows are.
        count: How many.
        properties: Their columns.
        columns: Values, by property; a list of arrays for lists.
    """

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)


def plain_ply(data: bytes) -> bytes | None:
    """A PLY file whose faces are triangles and whose colors are bytes; None where they are.

    Polygons become fans, or ears where they are not convex; colors of faces go to their
    triangles. Integers of 16 or 32 bits are colors of their full range.

    Args:
        data: Contents of the file.

    Raises:
        ValueError: The header is not one of a PLY file, or the data end before it says.

    Example:
        >>> head = b"ply\\nformat ascii 1.0\\nelement vertex 1\\nproperty float x\\nend_header\\n"
        >>> plain_ply(head + b"0\\n") is None
        True
    """
    head, order, elements, comments = _header(data)
    by_name = {element.name: element for element in elements}
    face, vertex = by_name.get("face"), by_name.get("vertex")
    corners = next((p for p in face.properties if p.length), None) if face else None
    if face is None or vertex is None or corners is None or not _concerns(face, vertex):
        return None
    wide = any(p.name in COLORS and _is_wide(p) for p in (*face.properties, *vertex.properties))
    colored = any(p.name in COLORS for p in face.properties)
    if not wide and (
        (order == "ascii" and not colored) or _are_triangles(data, head, order, elements)
    ):
        return None
    if order == "ascii":
        _read_text(data[head:], elements)
    else:
        _read_numbers(data, head, elements, "<" if order == "binary_little_endian" else ">")
    sizes = {len(polygon) for polygon in face.columns[corners.name]}
    if not wide and not colored and len(sizes) == 1:
        return None
    return _written(vertex, face, corners.name, comments)


def plain_names(data: bytes) -> bytes:
    """The file with colors of vertices called red, green, blue that are called diffuse_red, ..."""
    header, end, body = data[:HEADER_AT_MOST].partition(b"end_header")
    if b"diffuse_" not in header:
        return data
    renamed = re.sub(rb"(property\s+\w+\s+)diffuse_(red|green|blue)\b", rb"\1\2", header)
    return renamed + end + body + data[HEADER_AT_MOST:]


def texture_of(data: bytes) -> str | None:
    """The picture that a PLY file names in a comment, or None."""
    header = data[:HEADER_AT_MOST].partition(b"end_header")[0]
    found = re.search(rb"(?im)^comment\s+texturefile\s+([^\r\n]+)", header)
    return found[1].decode("utf-8", "replace").strip() if found else None


def _concerns(face: Element, vertex: Element) -> bool:
    """Whether the file may need it, by its header alone: most do not."""
    columns = {p.name for p in vertex.properties}
    lists = [p for p in face.properties if p.length]
    return (
        {"x", "y", "z"} <= columns
        and len(lists) == 1
        and not any(p.length for p in vertex.properties)
    )


def _are_triangles(data: bytes, head: int, order: str, elements: list[Element]) -> bool:
    """Whether all faces have three corners, without reading them one by one."""
    before = elements[: next(n for n, element in enumerate(elements) if element.name == "face")]
    face = elements[len(before)]
    if any(p.length for element in before for p in element.properties):
        return False
    if order == "ascii":
        first = sum(element.count for element in before)
        lines = data[head:].split(b"\n")[first : first + face.count]
        at = next(n for n, p in enumerate(face.properties) if p.length)
        return all(line.split()[at : at + 1] == [b"3"] for line in lines)
    end = "<" if order == "binary_little_endian" else ">"
    start = head + sum(
        np.dtype(p.kind).itemsize * element.count for element in before for p in element.properties
    )
    kind = np.dtype([
        part for p in face.properties for part in (
            [("length", end + p.length), (p.name, end + p.kind, (3,))] if p.length
            else [(p.name, end + p.kind)]
        )
    ])  # fmt: skip
    if start + kind.itemsize * face.count > len(data):
        return False
    return bool((np.frombuffer(data, kind, face.count, start)["length"] == 3).all())


def _header(data: bytes) -> tuple[int, str, list[Element], list[str]]:
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise ValueError("no header of a PLY file")
    order, elements, comments = "ascii", list[Element](), list[str]()
    for line in data[:end].decode("latin-1").splitlines()[1:]:
        words = line.split()
        if not words:
            continue
        if words[0] == "format":
            order = words[1]
        elif words[0] == "comment":
            comments.append(line.strip())
        elif words[0] == "element":
            elements.append(Element(words[1], int(words[2])))
        elif words[0] == "property" and words[1] == "list":
            elements[-1].properties.append(Property(words[4], KINDS[words[3]], KINDS[words[2]]))
        elif words[0] == "property":
            elements[-1].properties.append(Property(words[2], KINDS[words[1]]))
    return data.index(b"\n", end) + 1, order, elements, comments


def _read_text(text: bytes, elements: list[Element]) -> None:
    words = iter(text.split())
    for element in elements:
        columns: dict[str, list[Any]] = {p.name: [] for p in element.properties}
        for _ in range(element.count):
            for p in element.properties:
                if p.length is None:
                    columns[p.name].append(float(next(words)))
                else:
                    size = int(next(words))
                    columns[p.name].append(np.array([int(next(words)) for _ in range(size)]))
        for p in element.properties:
            values = columns[p.name]
            element.columns[p.name] = values if p.length else np.array(values).astype(p.kind)


def _read_numbers(data: bytes, place: int, elements: list[Element], order: str) -> None:
    for element in elements:
        if not any(p.length for p in element.properties):
            kind = np.dtype([(p.name, order + p.kind) for p in element.properties])
            rows = np.frombuffer(data, kind, element.count, place)
            element.columns = {p.name: rows[p.name] for p in element.properties}
            place += kind.itemsize * element.count
            continue
        columns: dict[str, list[Any]] = {p.name: [] for p in element.properties}
        for _ in range(element.count):
            for p in element.properties:
                size = 1
                if p.length is not None:
                    size = int(np.frombuffer(data, order + p.length, 1, place)[0])
                    place += np.dtype(p.length).itemsize
                values = np.frombuffer(data, order + p.kind, size, place)
                place += values.nbytes
                columns[p.name].append(values if p.length else values[0])
        for p in element.properties:
            column = columns[p.name]
            element.columns[p.name] = column if p.length else np.array(column).astype(p.kind)


def _written(vertex: Element, face: Element, corners: str, comments: list[str]) -> bytes:
    points = np.stack([np.asarray(vertex.columns[axis], np.float64) for axis in "xyz"], 1)
    triangles, owner = triangulated(points, face.columns[corners])
    out = io.BytesIO()
    lines = ["ply", "format binary_little_endian 1.0", *comments]
    rows = [_columns(vertex), _columns(face)]
    lines += [f"element vertex {vertex.count}", *_named(rows[0]), f"element face {len(triangles)}"]
    lines += ["property list uchar int vertex_indices", *_named(rows[1]), "end_header", ""]
    out.write("\n".join(lines).encode("latin-1"))
    out.write(_packed(rows[0], np.arange(vertex.count)).tobytes())
    own = _packed(rows[1], owner)
    table = np.zeros(len(triangles), [("n", "u1"), ("i", "<i4", (3,)), *own.dtype.descr])
    table["n"] = 3
    table["i"] = triangles
    for name in own.dtype.names or ():
        table[name] = own[name]
    out.write(table.tobytes())
    return out.getvalue()


def _columns(element: Element) -> dict[str, NDArray[Any]]:
    """Columns of numbers; wide colors as bytes."""
    found = {}
    for p in element.properties:
        if p.length is not None:
            continue
        values = np.asarray(element.columns[p.name])
        if p.name in COLORS and _is_wide(p):
            values = np.rint(values / np.iinfo(p.kind).max * 255.0).astype(np.uint8)
        found[p.name] = values
    return found


def _is_wide(p: Property) -> bool:
    kind = np.dtype(p.kind)
    return p.length is None and kind.kind in "iu" and kind.itemsize > 1


def _named(columns: dict[str, NDArray[Any]]) -> list[str]:
    words = {np.dtype(kind): word for word, kind in reversed(KINDS.items())}
    return [f"property {words[v.dtype.newbyteorder('=')]} {name}" for name, v in columns.items()]


def _packed(columns: dict[str, NDArray[Any]], rows: NDArray[np.int64]) -> NDArray[Any]:
    kind = [(name, v.dtype.newbyteorder("<")) for name, v in columns.items()]
    packed = np.zeros(len(rows), kind)
    for name, values in columns.items():
        packed[name] = values[rows]
    return packed
