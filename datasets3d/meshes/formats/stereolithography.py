"""STL files, of bytes or of text in any letter case."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.surfaces.pieces import SurfacePiece

RECORD: Final = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
HEADER_BYTES: Final = 84
COLORED: Final = 0x8000


def read_stl(data: bytes, notes: list[str]) -> list[SurfacePiece]:
    """The triangles of an STL file, all solids together.

    Args:
        data: Contents of the file.
        notes: Receives what is not shown: colors, which the format does not define.

    Raises:
        ValueError: It is neither, or ends before it says.

    Example:
        >>> text = b"SOLID a FACET NORMAL 0 0 1 OUTER LOOP VERTEX 0 0 0 VERTEX 1 0 0 VERTEX 0 1 0"
        >>> read_stl(text + b" ENDLOOP ENDFACET ENDSOLID a", [])[0].vertices.tolist()
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    count = int.from_bytes(data[80:HEADER_BYTES], "little")
    if len(data) == HEADER_BYTES + RECORD.itemsize * count:
        records = np.frombuffer(data, RECORD, count, HEADER_BYTES)
        if count and (b"COLOR=" in data[:80] or bool((records["more"] & COLORED).all())):
            notes.append("colors of an STL are not read: grey is shown")
        points: NDArray[np.float64] = records["corners"].reshape(-1, 3).astype(np.float64)
    elif re.match(rb"\s*solid\b", data, re.IGNORECASE):
        points = _of_text(data)
    else:
        raise ValueError(f"{len(data)} bytes where {count} triangles need {84 + 50 * count}")
    if not len(points):
        return []
    return [SurfacePiece(points, np.arange(len(points), dtype=np.int32).reshape(-1, 3))]


def _of_text(data: bytes) -> NDArray[np.float64]:
    """Corners of all facets, shape (3 F, 3)."""
    named = re.sub(rb"(?i)\bendsolid\b[^\r\n]*?(?=\bsolid\b|[\r\n]|\Z)", b" ", data)
    words = re.sub(rb"(?i)\bsolid\b[^\r\n]*?(?=\bfacet\s+normal\b|[\r\n]|\Z)", b" ", named)
    parts = words.lower().split(b"vertex")
    facets = sum(len(re.findall(rb"\bfacet\s+normal\b", part)) for part in parts)
    if len(parts) - 1 != 3 * facets or not re.search(rb"(?i)\bendsolid\b", data[-2000:]):
        raise ValueError(f"{facets} facets with {len(parts) - 1} corners, or no endsolid")
    rows = [part.split(None, 3)[:3] for part in parts[1:]]
    if any(len(row) < 3 for row in rows):
        raise ValueError("a corner of fewer than three numbers")
    return np.array(rows, dtype=np.bytes_).astype(np.float64).reshape(-1, 3)
