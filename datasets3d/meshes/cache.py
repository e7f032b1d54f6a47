"""Converted meshes on disk: read in milliseconds, keyed by what they were made from."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from datasets3d.meshes.decode import Companions
from datasets3d.meshes.formats.wavefront import companions
from equivariant.errors import StorageError
from equivariant.files import read_file
from renderers.scene import Mesh

VERSION: Final = 7  # of conversion, file and how textures are shown: raise it when one changes
REQUIRED: Final = ("vertices", "faces", "corner_normals")
ARRAYS: Final = tuple(field.name for field in dataclasses.fields(Mesh))
NOTES: Final = "notes"
Converted = tuple[Mesh, list[str]]


class MeshCache:
    """A folder of npz files, one per mesh, without pickles.

    Safe with several writers: files are written under a temporary name and then renamed. An entry
    that cannot be read counts as absent.

    Args:
        folder: Made when the first mesh is stored.

    Example:
        >>> normals, gray = np.ones((1, 3, 3), np.float32), np.full((1, 3), 128, np.uint8)
        >>> mesh = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32), normals, face_colors=gray)
        >>> cache = MeshCache(Path(tempfile.mkdtemp()))
        >>> cache.store("0" * 64, mesh, ["grey is used"])
        >>> stored, notes = cache.load("0" * 64)
        >>> stored.faces.tolist(), notes, cache.load("1" * 64)
        ([[0, 1, 2]], ['grey is used'], None)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str) -> Converted | None:
        """The mesh stored under a key and the notes of its conversion, or None."""
        try:
            # opened here, because numpy leaves the file open when it is no whole archive
            with self._path(key).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None
        if not {*REQUIRED, NOTES} <= set(arrays) <= {*ARRAYS, NOTES}:
            return None
        notes = [str(note) for note in arrays.pop(NOTES)]
        return Mesh(**arrays), notes

    def store(self, key: str, mesh: Mesh, notes: Sequence[str] = ()) -> None:
        """Keep a mesh and the notes of its conversion under a key; replaces what was there.

        Raises:
            StorageError: The folder cannot be made or written to, or the disk is full.
        """
        path = self._path(key)
        try:
            self._write(path, mesh, notes)
        except OSError as error:
            raise StorageError.of(error, path) from error

    def _write(self, path: Path, mesh: Mesh, notes: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: getattr(mesh, name) for name in ARRAYS}
        arrays[NOTES] = np.array(notes, np.str_)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **{n: value for n, value in arrays.items() if value is not None})
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"


def content_key(path: Path, settings: dict[str, str | int | float]) -> str:
    """Digest of a mesh file, of the files it refers to, and of the settings of its conversion.

    OBJ files refer to material files and these to images; glTF files to buffers and images. A
    file that is missing is part of the digest too: adding it later changes the key.

    Args:
        path: The mesh file.
        settings: What else determines the mesh.

    Returns:
        64 hexadecimal digits.

    Raises:
        OSError: The mesh file cannot be read.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "a.off"
        >>> _ = file.write_text("OFF")
        >>> content_key(file, {"up": "y"}) == content_key(file, {"up": "z"})
        False
    """
    data = read_file(path)
    digest = hashlib.sha256()
    digest.update(json.dumps([VERSION, path.suffix.lower(), settings], sort_keys=True).encode())
    digest.update(hashlib.sha256(data).digest())
    for name in _referred(path, data):
        digest.update(name.encode("utf-8", "replace"))
        with contextlib.suppress(OSError, ValueError):
            digest.update(hashlib.sha256(Companions(path.parent).get(name)).digest())
    return digest.hexdigest()


def _referred(path: Path, data: bytes) -> list[str]:
    """Names of further files, relative to the mesh file's folder, in order of appearance."""
    suffix = path.suffix.lower()
    if suffix == ".gltf":
        with contextlib.suppress(ValueError, AttributeError, TypeError, RecursionError):
            document = json.loads(data)
            entries = [*document.get("buffers", ()), *document.get("images", ())]
            found = [str(entry["uri"]) for entry in entries if "uri" in entry]
            return [uri for uri in found if not uri.startswith("data:")]
        return []
    if suffix == ".ply":
        header = data[:4096].partition(b"end_header")[0]
        return _texts(re.findall(rb"(?i)texturefile\s+([^\r\n]+)", header))
    names: list[str] = []
    if suffix == ".obj":
        with contextlib.suppress(OSError, ValueError):  # decoding says what is wrong
            names = companions(data, Companions(path.parent).get)
    return names


def _texts(found: list[bytes]) -> list[str]:
    return [name.decode("utf-8", "replace").strip().replace("\\", "/") for name in found]
