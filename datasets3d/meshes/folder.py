"""Objects from a folder of mesh files."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets3d.meshes.cache import VERSION, Converted, MeshCache, content_key
from datasets3d.meshes.decode import SUFFIXES, decode
from datasets3d.meshes.folders.archives import UnpackedArchive
from datasets3d.meshes.folders.names import names_to_keep
from datasets3d.meshes.formats.limits import ReadingLimits, limited
from datasets3d.meshes.formats.mesh_warning import warn
from datasets3d.meshes.layouts import classes_called_as_splits, find, ignored, scan, top_of
from datasets3d.meshes.normalize import Scale, UpAxis, normalize
from datasets3d.meshes.normals import CREASE_RAD
from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.meshes.surfaces.pictures import TEXTURE_PX
from equivariant.errors import DataFormatError
from renderers.scene import Mesh

DEFAULT_LIMITS = ReadingLimits()


class MeshFolder(MeshSource):
    """The objects of a folder: one class per sub-folder, in any of the layouts of ``scan``.

    Reads OBJ (with MTL), GLB, glTF, OFF, PLY and STL; see ``decode`` for where colors come from.

    An archive (:mod:`folders.archives`) in place of the folder is unpacked when it is first needed,
    below ``cache`` or, without one, into a temporary folder that this process removes: give a
    cache that all machines share where several of them read. Its objects are those of the folder
    that it unpacks to, or of the one folder in that.

    Args:
        path: The folder, or an archive of one.
        up: The axis that points up in the files. ShapeNet and glTF have "y", ModelNet40 "z".
        scale: "diagonal" makes the bounding box's diagonal 1; "sphere" makes the largest distance
            from the origin 0.5.
        crease_rad: Largest angle between faces that are shaded as one surface, in [0, π].
        cache: Folder for converted meshes, shared by any number of processes; None converts
            anew each time. An entry is found by the contents of the files, not by their names.
        strict: Refuse a mesh that is not shown as its file says, instead of warning.
        limits: Time and memory that one mesh may take; None for as much as it takes.
        names: Names that objects keep though other files would have the same, as a data set's
            manifest records them: by path, of classes by folder with a slash.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "chair").mkdir()
        >>> text = "OFF 3 1 0\\n0 0 0\\n1 0 0\\n0 1 0\\n3 0 1 2\\n"
        >>> _ = (root / "chair" / "a.off").write_text(text)
        >>> source = MeshFolder(root)
        >>> source.load(source.entries()[0]).faces.tolist()
        [[0, 1, 2]]
    """

    def __init__(
        self,
        path: str | Path,
        *,
        up: UpAxis = "y",
        scale: Scale = "diagonal",
        crease_rad: float = CREASE_RAD,
        cache: str | Path | None = None,
        strict: bool = False,
        limits: ReadingLimits | None = DEFAULT_LIMITS,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._given = Path(path)
        self._archive = None
        if self._given.is_file() and self._given.suffix.lower() not in SUFFIXES:
            keep = None if cache is None else Path(cache) / "archives"
            self._archive = UnpackedArchive(self._given, keep=keep)
        self._root_found: Path | None = None
        self._up: UpAxis = up
        self._scale: Scale = scale
        self._crease_rad = crease_rad
        self._cache = None if cache is None else MeshCache(Path(cache))
        self._strict = strict
        self._limits = limits
        self._names = dict(names or {})
        self._entries: list[MeshEntry] | None = None

    def entries(self) -> list[MeshEntry]:
        """All objects, sorted by (label, object_id); their paths are relative to the folder.

        The folder is listed once per source.

        Raises:
            DataFormatError: The folder is missing or holds no object.
        """
        if self._entries is None:
            self._entries = scan(self._root, kept=self._names)
        return list(self._entries)

    def load(self, entry: MeshEntry) -> Mesh:
        """Read and normalize one object, from the cache where it is there.

        Warns with :class:`MeshWarning` of each thing that the file asks for and that is not shown.

        Raises:
            DataFormatError: The file is unreadable, or its mesh has no faces, no extent, or
                vertices that are not finite; it takes more time or memory than the limits; or it
                is not shown as it says, and the folder is strict. Names the file.
        """
        path = self._root / entry.path
        mesh, notes = self._converted(path)
        _report(notes, str(path), strict=self._strict)
        return mesh

    def ignored(self) -> list[str]:
        """Files and folders that are not read, from the folder; see :func:`layouts.ignored`."""
        return ignored(self._root, self.entries())

    def remarks(self) -> list[str]:
        """Says where folders called like splits are classes."""
        names = classes_called_as_splits(self._root, self.entries())
        if not names:
            return []
        said = (
            f"{names[0]} holds meshes itself and is a class of this name, not a split"
            if len(names) == 1
            else f"{', '.join(names)} hold meshes themselves and are classes of these names, "
            "not splits"
        )
        return [f"{said}: a split is a folder of classes, or lies in each class"]

    def fingerprint(self, entry: MeshEntry) -> str:
        """Digest of a mesh file and of those that it refers to: materials, textures, buffers."""
        return self._fingerprint(entry.path)

    def _fingerprint(self, path: str) -> str:
        try:
            return content_key(self._root / path, {})
        except OSError:
            return ""  # loading says what is wrong with the file

    def describe(self) -> dict[str, str | int | float | bool]:
        """Settings and a digest of the listing (names, splits and files, not their contents)."""
        listing = "\n".join(
            f"{e.label}\t{e.object_id}\t{e.split}\t{e.path}" for e in self.entries()
        )
        return {
            "source": "folder",
            **self._settings(),
            **({"strict": True} if self._strict else {}),
            **({"names": json.dumps(self._names, sort_keys=True)} if self._names else {}),
            "objects": len(self.entries()),
            "listing_sha256": hashlib.sha256(listing.encode("utf-8", "replace")).hexdigest(),
        }

    @property
    def _root(self) -> Path:
        """The folder; of an archive that it unpacks to, or the one in that."""
        if self._root_found is None or not self._root_found.is_dir():
            self._root_found = self._given if self._archive is None else self._top(self._archive)
        return self._root_found

    def _top(self, archive: UnpackedArchive) -> Path:
        """The folder of classes that an archive holds."""
        folder = archive.folder()
        try:
            return top_of(folder)
        except DataFormatError as error:  # names the archive: where it is unpacked goes away
            raise DataFormatError(
                expected=error.expected, got=error.got,
                argument=str(self._given), advice=error.advice,
            ) from None  # fmt: skip

    def as_recorded(self, settings: Mapping[str, Any]) -> MeshFolder:
        """The folder whose objects have the names that a set recorded.

        Raises:
            DataFormatError: What it recorded is damaged.
        """
        try:
            names = dict(json.loads(settings.get("names", "{}")))
        except (TypeError, ValueError, RecursionError) as error:
            raise DataFormatError(
                expected="names by path", got=f"{type(error).__name__}: {error}",
                argument="source.names", advice="The plan or manifest is damaged.",
            ) from None  # fmt: skip
        return self._called(names)

    def keeping_names(self, known: Mapping[str, str]) -> MeshFolder:
        """The folder whose objects keep the names that they have in a set, told by contents."""
        found = find(self._root)
        kept = names_to_keep(found, known, kept=self._names, fingerprint=self._fingerprint)
        return self._called(kept)

    def _called(self, names: Mapping[str, str]) -> MeshFolder:
        if dict(names) == self._names:
            return self
        other = copy.copy(self)
        other._names, other._entries = dict(names), None
        return other

    def __getstate__(self) -> dict[str, object]:
        """Leave the listing behind: ``load`` does not need it, so copies stay small."""
        return {**self.__dict__, "_entries": None}

    def _settings(self) -> dict[str, str | int | float]:
        return {
            "version": VERSION,
            "up": self._up,
            "scale": self._scale,
            "crease_rad": float(self._crease_rad),
            "texture_px": TEXTURE_PX,
        }

    def _converted(self, path: Path) -> Converted:
        if self._cache is None:
            return self._convert(path)
        try:
            key = content_key(path, self._settings())
        except OSError:
            return self._convert(path)  # says what is wrong with the file
        found = self._cache.load(key)
        if found is None:
            found = self._convert(path)
            self._cache.store(key, *found)
        return found

    def _convert(self, path: Path) -> Converted:
        notes: list[str] = []
        try:
            with limited(self._limits):
                mesh = normalize(
                    decode(path, name=str(path), notes=notes), name=str(path), up=self._up,
                    scale=self._scale, crease_rad=self._crease_rad,
                )  # fmt: skip
        except (TimeoutError, MemoryError) as error:
            raise DataFormatError(
                expected="a mesh that is read within the limits of time and memory",
                got=": ".join(filter(None, (type(error).__name__, str(error)))), argument=str(path),
                advice="Simplify the mesh, leave it out, or allow more.",
            ) from None  # fmt: skip
        return mesh, notes


def read_mesh(
    path: str | Path,
    *,
    up: UpAxis = "y",
    scale: Scale = "diagonal",
    crease_rad: float = CREASE_RAD,
    strict: bool = False,
) -> Mesh:
    """Read and normalize one mesh file.

    Warns with :class:`MeshWarning` of each thing that the file asks for and that is not shown.

    Args:
        path: The file; see :func:`datasets3d.meshes.decode.decode` for formats and colors.
        up: The axis that points up in the file.
        scale: As of :class:`MeshFolder`.
        crease_rad: Largest angle between faces that are shaded as one surface, in [0, π].
        strict: Refuse a mesh that is not shown as its file says, instead of warning.

    Raises:
        DataFormatError: The file is unreadable or holds no mesh that can be rendered; or it is
            not shown as it says, and ``strict`` is set.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.off"
        >>> _ = file.write_text("OFF\\n3 1 0\\n0 0 0\\n1 0 0\\n0 1 0\\n3 0 1 2\\n")
        >>> read_mesh(file, up="z", scale="sphere").vertices.round(3).tolist()[0]
        [-0.354, -0.354, 0.0]
    """
    name, notes = str(path), list[str]()
    triangles = decode(Path(path), name=name, notes=notes)
    _report(notes, name, strict=strict)
    return normalize(triangles, name=name, up=up, scale=scale, crease_rad=crease_rad)


def _report(notes: list[str], name: str, *, strict: bool) -> None:
    if notes and strict:
        raise DataFormatError(
            expected="a mesh that is shown as its file says",
            got="; ".join(notes), argument=name,
            advice="Mend the file, or leave out strict for a warning instead.",
        )  # fmt: skip
    warn(notes, name, level=4)
