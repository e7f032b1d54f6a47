"""Mesh files of every format, read by trimesh, as triangles with one source of color."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import logging
import os
import urllib.parse
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from datasets3d.meshes.formats.gltf import plain_gltf
from datasets3d.meshes.formats.mesh_warning import warn
from datasets3d.meshes.formats.polygon_file import plain_ply
from datasets3d.meshes.formats.wavefront import plain_obj
from datasets3d.meshes.normalize import Triangles
from datasets3d.meshes.surface import SurfacePiece, face_colors, join
from datasets3d.meshes.truncation import TEXT_SUFFIXES, check_complete
from equivariant.errors import DataFormatError

SUFFIXES: Final = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")
TEXTURE_PX: Final = 1024  # larger textures are averaged down: images here have 64 to 512 pixels

EncodedImages = dict[tuple[int, bytes], tuple[NDArray[np.uint8], str]]

# trimesh reports skipped materials through logging; without a handler Python prints them.
logging.getLogger("trimesh").addHandler(logging.NullHandler())


def decode(path: Path, *, name: str, notes: list[str] | None = None) -> Triangles:
    """Read one mesh file.

    All geometries of a file are joined, each moved by its nodes' transforms. Where colors come
    from, by format:

    - PLY, OBJ: colors per face or per vertex as stored; PLY's texture where it names one.
    - OBJ with MTL: map_Kd alone where it can be read, else Kd, both taken as sRGB.
    - GLB, glTF: base color texture × base color factor × COLOR_0; the last two are linear there
      and are multiplied in linear light. Transparency, other maps and skins are ignored.
    - OFF, STL: grey.

    What the formats allow and trimesh does not read is first rewritten by
    :mod:`datasets3d.meshes.formats`, or refused by name.

    A missing material file or image leaves the color of the material, or grey. Textures larger
    than 1024 pixels are averaged down to that. Of several textures see :func:`surface.join`.

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
    suffix, found = path.suffix.lower(), list[str]() if notes is None else notes
    data = _contents(path, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # numpy merely warns when a number ends in rubbish and goes on with what it has
            warnings.filterwarnings("error", message=".*could not be read to its end.*")
            pieces = _pieces(_scene(data, path, suffix, found), linear=suffix in (".glb", ".gltf"))
    except Exception as error:  # trimesh and PIL raise whatever their parsers stumble over
        raise _unreadable(name, error) from None
    if not pieces:
        raise DataFormatError(
            expected="a mesh with faces",
            got="a file without triangles",
            argument=name,
            advice="Repair the mesh or leave it out.",
        )
    if notes is None:
        warn(found, name)
    return join(pieces)


def _contents(path: Path, name: str) -> bytes:
    suffix = path.suffix.lower()
    try:
        data = path.read_bytes()
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
    keeps ``images`` beside ``models``; names that lead elsewhere count as missing. Names may be
    percent-encoded, and of another letter case than the file's.

    Args:
        folder: Where the mesh file lies.
        made: Contents by name of what is no file.

    Example:
        >>> Companions(Path("no/such/folder")).get("../../secret.png")
        Traceback (most recent call last):
        ...
        FileNotFoundError: ../../secret.png
    """

    def __init__(self, folder: Path, made: Mapping[str, bytes] | None = None) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.made = dict(made or {})

    def get(self, key: str) -> bytes:
        """Contents of a file, named relative to the folder, with either kind of slash."""
        if key in self.made:
            return self.made[key]
        name = key.strip().replace("\\", "/")
        for spelling in (name, urllib.parse.unquote(name)):
            place = Path(os.path.normpath(self.folder / spelling))
            if not place.is_relative_to(self.folder.parent):
                raise FileNotFoundError(key)
            if (found := _whatever_its_case(place)) is not None:
                return found.read_bytes()
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
    return place.parent / min(alike) if alike else None


def _scene(data: bytes, path: Path, suffix: str, notes: list[str]) -> Any:
    files = Companions(path.parent)
    if suffix == ".obj":
        data, made = plain_obj(data, files.get, notes)
        files = Companions(path.parent, made)
    elif suffix in (".glb", ".gltf"):
        plain = plain_gltf(data, files.get)
        data, suffix = (data, suffix) if plain is None else (plain, ".gltf")
    elif suffix == ".ply":
        data = plain_ply(data) or data
    elif suffix in TEXT_SUFFIXES:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:  # a comment in an old encoding; the numbers are ASCII
            data = data.decode("latin-1").encode("utf-8")
    return trimesh.load_scene(
        io.BytesIO(data),
        file_type=suffix[1:],
        resolver=files,
        process=False,
    )


def _pieces(scene: Any, *, linear: bool) -> list[SurfacePiece]:
    """One piece per placed geometry, in the order of the scene's nodes."""
    pieces = []
    images: EncodedImages = {}
    for node in scene.graph.nodes_geometry:
        transform, geometry = scene.graph[node]
        mesh = scene.geometry[geometry]
        if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
            continue
        matrix = np.asarray(transform, np.float64)
        vertices = np.asarray(mesh.vertices, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        faces = np.asarray(mesh.faces, np.int64)
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise IndexError("a face names a vertex that is not there")
        if np.linalg.det(matrix[:3, :3]) < 0.0:
            faces = faces[:, ::-1]
        bare = SurfacePiece(vertices, faces.astype(np.int32))
        pieces.append(_colored(mesh.visual, bare, images=images, linear=linear))
    return pieces


def _colored(
    visual: Any, bare: SurfacePiece, *, images: EncodedImages, linear: bool
) -> SurfacePiece:
    if not isinstance(visual, trimesh.visual.ColorVisuals):
        return _of_material(visual, bare, images=images, linear=linear)
    if visual.kind not in ("face", "vertex"):
        return bare
    stored = visual.face_colors if visual.kind == "face" else visual.vertex_colors
    colors = np.asarray(stored)[:, :3].astype(np.uint8)
    if linear:
        colors = _to_srgb(colors / 255.0)
    if visual.kind == "face":
        return replace(bare, face_colors=colors)
    return replace(bare, vertex_colors=colors)


def _of_material(
    visual: Any, bare: SurfacePiece, *, images: EncodedImages, linear: bool
) -> SurfacePiece:
    material = getattr(visual, "material", None)
    factor = _factor(material, linear=linear)
    tint = _vertex_factor(visual, len(bare.vertices)) if linear else None
    source = getattr(material, "baseColorTexture" if linear else "image", None)
    # trimesh puts a drawn image where texture coordinates come without one; it has no file format
    if source is not None and source.format is not None:
        return _of_texture(visual, bare, _image(source, factor, linear, images), tint=tint)
    if tint is not None:
        return replace(bare, vertex_colors=_to_srgb(tint if factor is None else tint * factor))
    if factor is None:
        return bare
    color = _to_srgb(factor) if linear else np.rint(factor * 255.0).astype(np.uint8)
    return replace(bare, face_colors=np.tile(color, (len(bare.faces), 1)))


def _of_texture(
    visual: Any,
    bare: SurfacePiece,
    image: tuple[NDArray[np.uint8], str],
    *,
    tint: NDArray[np.float64] | None,
) -> SurfacePiece:
    texels, key = image
    uv = getattr(visual, "uv", None)
    if uv is None or np.shape(uv) != (len(bare.vertices), 2):
        mean = np.rint(texels.reshape(-1, 3).mean(0)).astype(np.uint8)
        return replace(bare, face_colors=np.tile(mean, (len(bare.faces), 1)))
    finite = np.nan_to_num(np.asarray(uv, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    piece = replace(bare, image=texels, image_key=key, uv=finite)
    if tint is None:
        return piece
    shaded = _to_linear(face_colors(piece)) * tint[bare.faces].mean(1)
    return replace(bare, face_colors=_to_srgb(shaded))


def _factor(material: Any, *, linear: bool) -> NDArray[np.float64] | None:
    """The material's own color in [0, 1], as its format encodes it; None where it says none."""
    if material is None:
        return None
    if linear:
        value = getattr(material, "baseColorFactor", None)
    else:
        stated = getattr(material, "kwargs", None) or {}
        value = getattr(material, "diffuse", None) if "kd" in stated else None
    if value is None:
        return None
    return np.asarray(value, np.float64).reshape(-1)[:3] / 255.0


def _vertex_factor(visual: Any, count: int) -> NDArray[np.float64] | None:
    """COLOR_0 beside a material, in [0, 1], linear; None where it is missing or all white."""
    attributes = getattr(visual, "vertex_attributes", None)
    colors = attributes.get("color") if attributes is not None and len(attributes) else None
    if colors is None:
        return None
    values = np.asarray(colors)
    if values.ndim != 2 or len(values) != count or values.shape[1] < 3:
        return None
    share = values[:, :3].astype(np.float64)
    if values.dtype.kind in "iu":
        share /= float(np.iinfo(values.dtype).max)
    return None if np.all(share == 1.0) else np.clip(np.nan_to_num(share), 0.0, 1.0)


def _image(
    source: Image.Image, factor: NDArray[np.float64] | None, linear: bool, images: EncodedImages
) -> tuple[NDArray[np.uint8], str]:
    """A texture, multiplied by a linear factor, and its key; each is prepared once per file."""
    white = not linear or factor is None or bool(np.all(factor == 1.0))
    known = (id(source), b"" if white or factor is None else factor.tobytes())
    if known in images:
        return images[known]
    image = source
    if max(image.size) > TEXTURE_PX:
        image.draft("RGB", (TEXTURE_PX, TEXTURE_PX))  # JPEG alone: decodes at a coarser scale
    image = image.convert("RGB")
    if max(image.size) > TEXTURE_PX:
        share = TEXTURE_PX / max(image.size)
        size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        image = image.resize(size, Image.Resampling.BOX)
    texels = np.asarray(image, np.uint8).copy()
    if not white and factor is not None:
        texels = _to_srgb(_to_linear(texels) * factor)
    images[known] = texels, hashlib.sha256(texels.tobytes()).hexdigest()
    return images[known]


def _to_linear(srgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = np.arange(256) / 255.0
    table = np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)
    light: NDArray[np.float64] = table[srgb]
    return light


def _to_srgb(linear: NDArray[np.float64]) -> NDArray[np.uint8]:
    light = np.clip(linear, 0.0, 1.0)
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1.0 / 2.4) - 0.055)
    return np.rint(curve * 255.0).astype(np.uint8)


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
    return DataFormatError(
        expected="a readable mesh file",
        got=f"{type(error).__name__}: {reason}",
        argument=name,
        advice="Check that the file is whole and of the format its suffix says.",
    )
