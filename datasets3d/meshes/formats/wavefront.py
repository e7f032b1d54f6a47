"""OBJ and MTL text as exporters write it, rewritten in the dialect that the reader knows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from datasets3d.meshes.formats.absent_files import Read, is_there, why_absent
from datasets3d.meshes.formats.cutouts import CUT, CUT_PLACED, with_holes
from datasets3d.meshes.formats.polygons import ear_clipped
from datasets3d.meshes.surfaces.pictures import is_picture

COMBINED: Final = "\x00materials.mtl"  # no file has this name
OPTIONS: Final = {"-mm": 2, "-o": 3, "-s": 3, "-t": 3}  # of map_Kd: most numbers; others take one
PLAIN: Final = (1.0, 1.0, 0.0, 0.0)
LEFT_OUT: Final = ("p", "l", "curv", "curv2", "surf", "bzp", "bsp", "cdc", "cdp", "res")
UNPLACED: Final = "\x00unplaced"  # ends names of materials of ours, which no file's name holds
CLAMPED: Final = "clamped"  # lines of ours
PLACED: Final = "placed"
TRANSPARENT: Final = "transparency is ignored"
_INDEX: Final = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class PlainObj:
    """An OBJ file in plain words.

    Args:
        text: The file.
        made: Its one material library and pictures that we made, by the names it gives them.
    """

    text: bytes
    made: dict[str, bytes]


def plain_obj(data: bytes, read: Read, notes: list[str]) -> PlainObj:
    """An OBJ file in plain words, and the one material library that it then names.

    Negative indices become absolute where they stand; tabs, indentation, byte-order marks,
    continued lines and comments after numbers go; polygons become triangles, right ones
    where they are not convex; all material libraries become one, in which texture names are
    those of files that are there. Faces without texture coordinates, of a material that has
    others with them, come last, under a copy of the material.

    Args:
        data: Contents of the file.
        read: Gives the contents of a file that it names; raises OSError where there is none.
        notes: Receives what is missing and what is left out.

    Raises:
        ValueError: An index, vertex or number is none.

    Example:
        >>> text = b"v 0 0 0\\nv 1 0 0\\n\\tv 0 1 0 # top\\nf -3 -2 -1\\n"
        >>> plain_obj(text, lambda name: b"", []).text.splitlines()[3]
        b'f 1 2 3'
    """
    lines, libraries = _Lines(), []
    for line in _text(data).replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ") if "\t" not in line else _parted(line)
        if word == "mtllib":
            libraries.append(rest.strip())
        else:
            lines.add(word, rest)
    if lines.left_out:
        notes.append(f"curves, surfaces, lines and points are left out: {_some(lines.left_out)}")
    names = [name for line in libraries for name in _files(line, read)]
    found = [
        plain_mtl(read(name), read, notes, used=set(lines.used), folder=_folder(name))
        for name in names
    ]
    notes += [
        f"material library {line!r} {why_absent(line, read)}: its materials are grey"
        for line in libraries if not _files(line, read)
    ]  # fmt: skip
    if not found:
        return PlainObj(lines.joined(), {})
    library, made = with_holes(b"\n".join(found).decode(), read, notes, used=set(lines.used))
    combined = library.encode()
    known = {m.strip() for m in re.findall(r"(?m)^newmtl (.*)$", combined.decode())}
    combined += lines.take_apart(combined.decode())
    if unknown := set(lines.used) - known - {""}:
        notes.append(f"materials that no library defines are grey: {_some(unknown)}")
    if lines.painted and known & set(lines.used):
        notes.append("colors of vertices beside materials are not read")
    lines.first = f"mtllib {COMBINED}"
    return PlainObj(lines.joined(), {COMBINED: combined} | made)


def plain_mtl(
    data: bytes,
    read: Read,
    notes: list[str],
    *,
    used: set[str] | None = None,
    folder: str = "",
) -> bytes:
    """A material library whose ``map_Kd`` name files that are there, without options.

    A line ``clamped on`` stands for the option ``-clamp on``, and ``placed su sv ou ov`` for ``-s``
    and ``-o``: coordinates (u, v) go to (su u + ou, sv v + ov). trimesh keeps words that it does
    not know beside the material. ``map_d`` is left out where its file is not there, else followed
    by ``cutout_placed`` in the same way.

    Args:
        data: Contents of the file.
        read: As for :func:`plain_obj`.
        notes: Receives what is missing and what is left out of materials that are used.
        used: Their names; None means all.
        folder: Where the library lies, from the model: textures may lie there too.

    Example:
        >>> plain_mtl(b"newmtl a\\n\\tmap_Kd -clamp on red.png", lambda name: b"", [])
        b'newmtl a\\nclamped on\\nmap_Kd red.png'
    """
    lines, shown = [], True
    for line in _text(data).splitlines():
        word, _, rest = _parted(line)
        if word.lower() == "map_kd":
            name, place = _texture(rest)
            if re.search(r"-clamp\s+on\b", rest):
                lines.append(f"{CLAMPED} on")
            if place != PLAIN:
                lines.append(f"{PLACED} {' '.join(map(repr, place))}")
            there = [n for n in _spellings(name, folder) if is_there(n, read)]
            if not there and shown:
                notes.append(
                    f"texture {name!r} {why_absent(name, read)}: the material's color is shown"
                )
            elif shown and not is_picture(read(there[0])):
                notes.append(f"texture {name!r} is no picture: the material's color is shown")
            rest = there[0] if there else name
            word = "map_Kd"
        elif word.lower() == "map_d":
            lines += _cut(rest, folder, read, notes if shown else [])
            continue
        elif word.lower() in (CLAMPED, PLACED, CUT, CUT_PLACED):
            continue
        elif word == "newmtl":
            shown = used is None or rest in used
        elif _is_see_through(word.lower(), rest.split()) and shown and TRANSPARENT not in notes:
            notes.append(TRANSPARENT)
        lines.append(f"{word} {rest}".strip())
    return "\n".join(lines).encode()


def _cut(rest: str, folder: str, read: Read, notes: list[str]) -> list[str]:
    """The lines of a picture of opacity; none where it is not there."""
    name, place = _texture(rest)
    there = [n for n in _spellings(name, folder) if is_there(n, read)]
    if not there or not is_picture(read(there[0])):
        why = "is no picture" if there else why_absent(name, read)
        notes.append(f"texture {name!r} {why}: {TRANSPARENT}")
        return []
    placed = [] if place == PLAIN else [f"{CUT_PLACED} {' '.join(map(repr, place))}"]
    return [f"map_d {there[0]}", *placed]


def companions(data: bytes, read: Read) -> list[str]:
    """Names of the files that an OBJ file needs, material libraries and then their textures."""
    names = []
    for line in re.findall(rb"(?m)^\s*mtllib[ \t]+([^\r\n]+)", data):
        for name in _files(_text(line).strip(), read):
            names.append(name)
            for texture in re.findall(rb"(?im)^\s*map_k?d[ \t]+([^\r\n]+)", read(name)):
                written, _ = _texture(_text(texture))
                found = (n for n in _spellings(written, _folder(name)) if is_there(n, read))
                names.append(next(found, written))
    return names


class _Lines:
    """The lines of a plain file, as they are found."""

    def __init__(self) -> None:
        self.first, self.lines = "", list[str]()
        self.used: list[str] = []
        self.placed: set[str] = set()  # materials of faces with texture coordinates
        self.unplaced: dict[str, list[int]] = {}  # and lines of faces without them
        self.painted = False
        self.left_out: set[str] = set()
        self.points: list[tuple[float, ...]] = []
        self.counts = {"v": 0, "vt": 0, "vn": 0}
        self.last = {"v": 0, "vt": 0, "vn": 0}  # highest indices of faces

    def add(self, word: str, rest: str) -> None:
        """One more line."""
        if word in self.counts:
            numbers = rest.partition("#")[0].split()
            self.counts[word] += 1
            if word == "v":
                self.painted |= len(numbers) >= 6
                if len(numbers) < 3 or not all(map(_is_number, numbers[:3])):
                    raise ValueError(f"a vertex {' '.join(numbers)!r} that is not three numbers")
                self.points.append(tuple(float(x) for x in numbers[:3]))
            self.lines.append(f"{word} {' '.join(numbers)}")
        elif word in ("f", "fo"):
            self._face(rest.partition("#")[0].split())
        elif word in LEFT_OUT:
            self.left_out.add(word)
        elif word and not word.startswith("#"):
            if word == "usemtl":
                self.used.append(rest.strip())
            self.lines.append(f"{word} {rest.strip()}")

    def joined(self) -> bytes:
        """The file.

        Raises:
            ValueError: A face names a vertex or texture coordinate that is not there.
        """
        for kind in ("v", "vt"):
            if self.last[kind] > self.counts[kind]:
                raise ValueError(
                    f"a face with index {self.last[kind]} of {self.counts[kind]} {kind}"
                )
        return "\n".join([self.first, *self.lines] if self.first else self.lines).encode() + b"\n"

    def take_apart(self, library: str) -> bytes:
        """Move faces without texture coordinates, of textured materials that have others too, to
        the end; returns the copies of their materials."""
        copies, last = [], list[str]()
        for block in re.split(r"(?m)^newmtl ", library)[1:]:
            name, _, rest = block.partition("\n")
            numbers = self.unplaced.get(name, [])
            if numbers and name in self.placed and "map_Kd " in rest:
                copies.append(f"\nnewmtl {name}{UNPLACED}\n{rest}")
                last += [f"usemtl {name}{UNPLACED}", *(self.lines[k] for k in numbers)]
                for k in numbers:
                    self.lines[k] = ""
                del self.unplaced[name]
        self.lines += last
        return "".join(copies).encode()

    def _face(self, corners: list[str]) -> None:
        fixed = [self._corner(corner) for corner in corners]
        if len(fixed) < 3:
            self.left_out.add("f of fewer than three corners")
        triangles: list[tuple[int, int, int]] | None = None
        if len(fixed) > 3:
            places = [int(corner.partition("/")[0]) - 1 for corner in fixed]
            if max(places) < len(self.points):  # else the reader refuses it
                triangles = ear_clipped(np.array([self.points[p] for p in places]))
        # Old versions of trimesh lose the texture coordinates of quads.
        split = triangles or [(0, k, k + 1) for k in range(1, len(fixed) - 1)]
        if self.used and all(_has_place(corner) for corner in fixed):
            self.placed.add(self.used[-1])
        elif self.used:
            fixed = [corner.partition("/")[0] for corner in fixed]  # normals are not read
            first = len(self.lines)
            numbers = range(first, first + len(split))
            self.unplaced.setdefault(self.used[-1], []).extend(numbers)
        self.lines += [f"f {fixed[a]} {fixed[b]} {fixed[c]}" for a, b, c in split]

    def _corner(self, corner: str) -> str:
        parts = corner.split("/")
        for place, (part, kind) in enumerate(zip(parts, self.counts, strict=False)):
            if (not part and kind != "v") or (kind != "v" and not self.counts[kind]):
                continue
            if not _INDEX.fullmatch(part):
                raise ValueError(f"a face with {corner!r} in the place of an index of {kind}")
            index = int(part)
            if index < 0:
                index += self.counts[kind] + 1
                if index < 1:
                    raise ValueError(f"index {part} before the first {kind}")
                parts[place] = str(index)
            elif index == 0 and kind != "vn":  # normals are not read
                raise ValueError(f"a face with index 0 of {kind}, which begin at 1")
            self.last[kind] = max(self.last[kind], index)
        return "/".join(parts)


def _has_place(corner: str) -> bool:
    """Whether a corner of a face, ``v/vt/vn``, has a texture coordinate."""
    parts = corner.split("/")
    return len(parts) > 1 and parts[1] != ""


def _some(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")


def _is_see_through(word: str, values: list[str]) -> bool:
    """Whether a line of a material, its first word in lower case, asks for transparency."""
    # exporters disagree on whether Tr 1 is opaque; nobody stores a model that cannot be seen
    opaque = {"d": (1.0,), "tr": (0.0, 1.0)}.get(word)
    number = values[-1] if values else ""
    return opaque is not None and _is_number(number) and float(number) not in opaque


def _parted(line: str) -> tuple[str, str, str]:
    word, _, rest = line.strip().replace("\t", " ").partition(" ")
    return word, " ", rest.strip()


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:  # a comment in an old encoding; the numbers are ASCII
        return data.decode("latin-1").removeprefix("ï»¿")


def _files(line: str, read: Read) -> list[str]:
    """The libraries of a ``mtllib`` line: one name, with spaces, that is there, or several, whose
    spaces may stand behind backslashes."""
    escaped = [name.replace("\\ ", " ") for name in re.split(r"(?<!\\)\s+", line)]
    for names in ([line], line.split(), escaped):
        found = [next((n for n in _spellings(x) if is_there(n, read)), None) for x in names]
        if any(found):
            return [name for name in found if name is not None]
    return []


def _spellings(name: str, folder: str = "") -> list[str]:
    """How a file may be called: as written, or by its last part alone (paths of other machines)."""
    clean = re.sub(r"[\\/]+", "/", name.strip().strip('"'))
    names = [clean, clean.rpartition("/")[2]]
    return names + [f"{folder}/{name}" for name in names] if folder else names


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _texture(rest: str) -> tuple[str, tuple[float, ...]]:
    """The file name of a ``map_Kd`` line, behind its options, and its scales and shifts."""
    words = rest.split()
    place = list(PLAIN)
    while len(words) > 1 and words[0].startswith("-"):
        option, words = words[0], words[1:]
        values: list[str] = []
        most = OPTIONS.get(option, 1)
        while len(values) < most and len(words) > 1 and (most == 1 or _is_number(words[0])):
            values.append(words.pop(0))
        if option in ("-s", "-o"):
            first = 0 if option == "-s" else 2
            for k, value in enumerate(values[:2]):
                place[first + k] = float(value)
    return " ".join(words), tuple(place)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
