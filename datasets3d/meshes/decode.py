"""Mesh files of every format, read by trimesh, as triangles with one source of color."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import urllib.parse
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trimesh

from datasets3d.meshes.formats.absent_files import OutsideError, is_there, why_absent
from datasets3d.meshes.formats.gltf import read_gltf
from datasets3d.meshes.formats.mesh_warning import warn
from datasets3d.meshes.formats.object_file import read_off
from datasets3d.meshes.formats.polygon_file import (
    HEADER_AT_MOST,
    plain_names,
    plain_ply,
    texture_of,
)
from datasets3d.meshes.formats.stereolithography import read_stl
from datasets3d.meshes.formats.wavefront import plain_obj
from datasets3d.meshes.normalize import Triangles
from datasets3d.meshes.surfaces.of_trimesh import pieces_of
from datasets3d.meshes.surfaces.pictures import is_picture
from datasets3d.meshes.surfaces.pieces import SurfacePiece, join
from datasets3d.meshes.truncation import check_complete
from equivariant.errors import DataFormatError
from equivariant.files import read_file

SUFFIXES: Final = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")

# trimesh reports skipped materials through logging; without a handler Python prints them.
logging.getLogger("trimesh").addHandler(logging.NullHandler())


def decode(path: Path, *, name: str, notes: list[str] | None = None) -> Triangles:
    """Read one mesh file.

    All surfaces of a file are joined, each moved to its place. Where colors come from, by format:

    - PLY, OFF, OBJ: colors per face or per vertex as stored; PLY's texture where it names one.
    - OBJ with MTL: map_Kd alone where it can be read, else Kd, both taken as sRGB; holes where
      map_d is black.
    - GLB, glTF: base color texture × base color factor × COLOR_0; the last two are linear there
      and are multiplied in linear light. Skins and morph targets are shown at rest.
    - STL: grey.

    glTF and OFF are read here; OBJ, PLY and STL by trimesh, after what the formats allow and it
    does not read was rewritten by :mod:`datasets3d.meshes.formats`, or refused by name.

    A missing material file or image leaves the color of the material, or grey; partial
    transparency, lines and points are left out: each is noted. Textures larger
    than 1024 pixels are averaged down to that. Of several textures see
    :func:`surfaces.pieces.join`.

    Args:
        path: A file with one of ``SUFFIXES``.
        name: What errors call it.
        notes: Receives what the file asks for and is not read; None warns of each.

    Raises:
        DataFormatError: The file is missing, truncated, or not of its format; it has no
            triangles; it needs a Draco decoder (``pip install DracoPy``) that is not there.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "one.off"
        >>> _ = file.write_text("OFF3 1 0\\n0 0 0\\n1 0 0\\n0 1 0\\n3 0 1 2\\n")
        >>> decode(file, name="one.off").faces.tolist()
        [[0, 1, 2]]
    """
    found: list[str] = [] if notes is None else notes
    data = _contents(path, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # numpy merely warns when a number ends in rubbish and goes on with what it has
            warnings.filterwarnings("error", message=".*could not be read to its end.*")
            pieces = _pieces(data, path, found)
            joined = join(pieces, found) if pieces else None
    except (TimeoutError, MemoryError):
        raise
    except Exception as error:  # trimesh and PIL raise whatever their parsers stumble over
        raise _unreadable(name, error) from None
    if joined is None:
        raise DataFormatError(
            expected="a mesh with faces",
            got=", ".join(["a file without triangles", *found]),
            argument=name,
            advice="Repair the mesh or leave it out.",
        )
    if notes is None:
        warn(found, name)
    return joined


def _contents(path: Path, name: str) -> bytes:
    suffix = path.suffix.lower()
    try:
        data = read_file(path)
    except OSError as error:
        raise _unreadable(name, error) from None
    if suffix not in SUFFIXES:
        raise DataFormatError(
            expected=f"a file of {', '.join(SUFFIXES)}",
            got=f"a file of {suffix or 'no suffix'}",
            argument=name,
            advice="Convert the mesh first.",
        )
    check_complete(data, suffix=suffix, name=name)
    if suffix in (".glb", ".gltf"):
        _check_draco(data, name)
    return data


class Companions(trimesh.resolvers.Resolver):
    """Hands trimesh the files that a mesh file refers to.

    They may lie in the mesh's folder or anywhere below the folder above it, because ShapeNetCore
    keeps ``images`` beside ``models``; names that lead elsewhere are not
    read. Names may be
    percent-encoded, and of another letter case than the file's.

    Args:
        folder: Where the mesh file lies.
        made: Contents by name of what is no file.

    Example:
        >>> files = Companions(Path("no/such/folder"))
        >>> files.get("../../secret.png")  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        ...
        OutsideError: '../../secret.png' points outside of the mesh's folder and is not read
    """

    def __init__(self, folder: Path, made: Mapping[str, bytes] | None = None) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.made = dict(made or {})

    def get(self, key: str) -> bytes:
        """Contents of a file, named relative to the folder, with either kind of slash."""
        if key in self.made:
            return self.made[key]
        name = key.replace("\\", "/")
        bare = name.strip()
        for spelling in dict.fromkeys((name, urllib.parse.unquote(name), bare)):
            place = Path(os.path.normpath(self.folder / spelling))
            if not place.is_relative_to(self.folder.parent):
                raise OutsideError(key)
            if (found := _whatever_its_case(place)) is not None:
                return read_file(found)
        raise FileNotFoundError(key)

    def __getitem__(self, key: str) -> bytes:
        return self.get(key)

    def write(self, name: str, data: bytes) -> None:
        """Refused: meshes are only read here."""
        raise PermissionError(name)

    def namespaced(self, namespace: str) -> Companions:
        """The same, one folder down."""
        return Companions(self.folder / namespace, self.made)

    def keys(self) -> list[str]:
        """Names of the files in the folder itself."""
        return sorted(os.listdir(self.folder))


def _whatever_its_case(place: Path) -> Path | None:
    """The file of this name, or the first in order whose name differs in letter case alone."""
    if place.is_file() or not place.parent.is_dir():
        return place if place.is_file() else None
    alike = [name for name in os.listdir(place.parent) if name.lower() == place.name.lower()]
    # neither folders nor pipes, whose reading would never end
    return next((p for name in sorted(alike) if (p := place.parent / name).is_file()), None)


def _pieces(data: bytes, path: Path, notes: list[str]) -> list[SurfacePiece]:
    suffix, files = path.suffix.lower(), Companions(path.parent)
    if suffix in (".glb", ".gltf"):
        return read_gltf(data, files.get, notes)
    if suffix == ".off":
        return read_off(data, notes)
    if suffix == ".stl":
        return read_stl(data, notes)
    if suffix == ".obj":
        plain = plain_obj(data, files.get, notes)
        data, files = plain.text, Companions(path.parent, plain.made)
    else:
        picture = texture_of(data)
        if data[:HEADER_AT_MOST].lower().count(b"texturefile") > 1:
            notes.append("only the first of a PLY's textures is shown")
        if picture is not None and not is_there(picture, files.get):
            notes.append(f"texture {picture!r} {why_absent(picture, files.get)}: grey is shown")
        elif picture is not None and not is_picture(files.get(picture)):
            notes.append(f"texture {picture!r} is no picture: grey is shown")
        data = plain_names(data)
        data = plain_ply(data) or data
    scene = trimesh.load_scene(
        io.BytesIO(data), file_type=suffix[1:], resolver=files, process=False
    )
    return pieces_of(scene, notes)


def _check_draco(data: bytes, name: str) -> None:
    if b"KHR_draco_mesh_compression" not in data or importlib.util.find_spec("DracoPy"):
        return
    raise DataFormatError(
        expected="a glTF without Draco compression, or a Draco decoder",
        got="Draco compression and no decoder",
        argument=name,
        advice="Install one with: pip install DracoPy.",
    )


def _unreadable(name: str, error: Exception) -> DataFormatError:
    reason = " ".join(str(error).split())[:160]
    said = isinstance(error, ValueError) and reason  # others tell little without their type
    return DataFormatError(
        expected="a readable mesh file",
        got=reason if said else f"{type(error).__name__}: {reason}",
        argument=name,
        advice="Check that the file is whole and of the format its suffix says.",
    )
