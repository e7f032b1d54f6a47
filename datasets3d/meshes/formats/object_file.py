"""OFF files: plain, with normals, colors or texture coordinates; by lines or all on one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.formats.polygons import triangulated
from datasets3d.meshes.normalize import GREY
from datasets3d.meshes.surfaces.pieces import SurfacePiece

HEADER: Final = re.compile(rb"\s*(ST)?(C)?(N)?(4)?(n)?OFF(?![A-Za-z])")
COLOR_WIDTHS: Final = (3, 4)


def read_off(data: bytes, notes: list[str]) -> list[SurfacePiece]:
    """The surface of an OFF file.

    Vertices have three numbers, then normals (NOFF), a color (COFF, or where there are three or
    four numbers more than the header says) and texture coordinates (STOFF); all but the colors are
    passed over. Faces may end in a color. Colors are bytes, or shares where any has a point.

    Args:
        data: Contents of the file.
        notes: Receives what is not shown.

    Raises:
        ValueError: It is not one, is binary or of other dimensions (4OFF, nOFF), or ends before
            its counts say.

    Example:
        >>> piece = read_off(b"off 3 1 0 0 0 0 1 0 0 0 1 0 3 0 1 2".replace(b"off", b"OFF"), [])[0]
        >>> piece.faces.tolist(), piece.vertices.shape
        ([[0, 1, 2]], (3, 3))
    """
    text = re.sub(rb"#[^\r\n]*", b"", data)
    header = HEADER.match(text)
    if header is None:
        raise ValueError("no OFF at the beginning")
    if header[4] or header[5]:
        raise ValueError(f"{header[0].decode().strip()}, whose vertices are not points of space")
    body = text[header.end() :]
    if body.split(None, 1)[:1] == [b"BINARY"]:
        raise ValueError("OFF BINARY, which is not read")
    counts, rows = _counts([line for line in body.splitlines() if line.strip()])
    known = 3 + (3 if header[3] else 0) + (2 if header[1] else 0)
    found = _plain(rows, counts)
    if found is None:
        lines = [row.split() for row in rows]
        found = _by_lines(lines, counts, known) or _by_words(lines, counts, known, bool(header[2]))
    triangles, owner = triangulated(found.points, found.faces)
    if not len(triangles):
        return []
    vertex_colors = _colors(found.vertex_colors) if found.vertex_colors else None
    face_colors = None
    if any(len(color) in COLOR_WIDTHS for color in found.face_colors):
        face_colors = _colors(found.face_colors)[owner]
    elif any(found.face_colors):
        notes.append("colors of faces by number in a table are not read: grey is shown")
    return [
        SurfacePiece(
            found.points, triangles,
            face_colors=face_colors if vertex_colors is None else None,
            vertex_colors=vertex_colors,
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """Points, shape (V, 3); corners of faces; words of colors, empty lists where there are none."""

    points: NDArray[np.float64]
    faces: Sequence[NDArray[np.int64]] | NDArray[np.int64]
    vertex_colors: list[list[bytes]]
    face_colors: list[list[bytes]]


def _counts(rows: list[bytes]) -> tuple[tuple[int, int], list[bytes]]:
    """Numbers of vertices and faces, and what follows them."""
    first = rows[0].split() if rows else []
    if len(first) < 2 or not all(word.isdigit() for word in first[:2]):
        raise ValueError("no numbers of vertices and faces")
    rest = [b" ".join(first[3:]), *rows[1:]] if len(first) > 3 else rows[1:]
    return (int(first[0]), int(first[1])), rest


def _plain(rows: list[bytes], counts: tuple[int, int]) -> _Found | None:
    """The most frequent file, points and triangles alone, read at once; None for others."""
    first, last = rows[: counts[0]], rows[counts[0] : sum(counts)]
    if not first or not last or len(first[0].split()) != 3 or len(last[0].split()) != 4:
        return None
    points = np.fromstring(b" ".join(first), np.float64, sep=" ")
    corners = np.fromstring(b" ".join(last), np.float64, sep=" ")
    if len(points) != 3 * counts[0] or len(corners) != 4 * counts[1]:
        return None
    faces = corners.reshape(-1, 4).astype(np.int64)
    if (faces != corners.reshape(-1, 4)).any() or (faces[:, 0] != 3).any():
        return None
    return _Found(points.reshape(-1, 3), faces[:, 1:], [], [])


def _by_lines(lines: list[list[bytes]], counts: tuple[int, int], known: int) -> _Found | None:
    """A file with a line per vertex and per face; None where it is not laid out so."""
    vertices, faces = lines[: counts[0]], lines[counts[0] : sum(counts)]
    widths = {len(words) for words in vertices}
    if len(lines) < sum(counts) or len(widths) != 1:
        return None
    extra = widths.pop() - known
    whole = all(words[0].isdigit() and len(words) > int(words[0]) for words in faces)
    if not whole or extra not in (0, *COLOR_WIDTHS):
        return None
    table = np.array(vertices).astype(np.float64)
    corners = [np.array(words[1 : int(words[0]) + 1]).astype(np.int64) for words in faces]
    start = known if known != 5 else 3  # texture coordinates come last
    colors = [words[start : start + extra] for words in vertices] if extra else []
    return _Found(
        table[:, :3], corners, colors, [words[int(words[0]) + 1 :] for words in faces]
    )  # fmt: skip


def _by_words(
    lines: list[list[bytes]], counts: tuple[int, int], known: int, colored: bool
) -> _Found:
    """A file whose lines mean nothing: vertices of the header's width, faces without colors."""
    words = [word for line in lines for word in line]
    width = known + (4 if colored else 0)
    place = counts[0] * width
    if len(words) < place + counts[1]:
        raise ValueError(f"{len(words)} numbers where {counts[0]} vertices need {place}")
    table = np.array(words[:place]).astype(np.float64).reshape(counts[0], width)
    faces: list[NDArray[np.int64]] = []
    for _ in range(counts[1]):
        if place >= len(words):
            raise ValueError(f"{len(faces)} of {counts[1]} faces")
        size = int(words[place])
        corners = words[place + 1 : place + 1 + size]
        if size < 0 or len(corners) < size:
            raise ValueError("a last face that is not whole")
        faces.append(np.array(corners, dtype=np.bytes_).astype(np.int64))
        place += 1 + size
    if place != len(words):
        raise ValueError(f"{len(words) - place} numbers after the last face")
    colors = [words[k * width + 3 : k * width + 7] for k in range(counts[0])] if colored else []
    return _Found(table[:, :3], faces, colors, [])


def _colors(written: list[list[bytes]]) -> NDArray[np.uint8]:
    """Bytes of colors, grey where there is none, shape (n, 3)."""
    shares = any(b"." in word for words in written for word in words)
    found = np.tile(np.array(GREY, np.uint8), (len(written), 1))
    for number, words in enumerate(written):
        if len(words) in COLOR_WIDTHS:
            color = np.array(words[:3]).astype(np.float64) * (255.0 if shares else 1.0)
            found[number] = np.rint(np.clip(np.nan_to_num(color), 0.0, 255.0))
    return found
