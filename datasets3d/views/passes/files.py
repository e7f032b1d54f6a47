"""Files of passes: compressed arrays that NumPy reads, and PNG; nothing is lost."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets3d.views.passes.kinds import KINDS, PASS_NAMES, PassKind, PassName, pass_file
from datasets3d.views.shards.layout import is_sharded
from datasets3d.views.shards.members import shard_member
from datasets3d.views.storage import check_extent, npy_bytes
from equivariant.errors import ConventionError, DataFormatError
from equivariant.files import read_file

INFLATION = 1100  # bytes that deflate can make of one, at most, and a little
LEVEL = 6
_DAY = (1980, 1, 1, 0, 0, 0)
_MODES = {"bool": "L", "uint8": "L"}


def pass_bytes(name: PassName, array: NDArray[Any]) -> bytes:
    """The bytes of a pass's file; the same array gives the same bytes.

    Floating-point passes are float32 in a compressed npz, one array under the pass's name: 16-bit
    PNG would round depth to more than 1e-4, and ``numpy.load`` opens npz everywhere. Masks and
    pictures are 8-bit PNG.

    Args:
        name: Which pass.
        array: Of the type that ``KINDS`` says.
    """
    kind = KINDS[name]
    if kind.suffix == "png":
        pixels = array.astype(np.uint8) * np.uint8(255 if kind.dtype == "bool" else 1)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        return buffer.getvalue()
    entry = zipfile.ZipInfo(f"{name}.npy", _DAY)
    entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, npy_bytes(array.astype(kind.dtype)), compresslevel=LEVEL)
    return buffer.getvalue()


def read_pass(root: Path | str, key: str, view: int, name: PassName) -> NDArray[Any]:
    """One pass of one view.

    =========== ======================= =========================================================
    name        shape, type             content
    =========== ======================= =========================================================
    depth       (size, size) float32    along the viewing axis, in units of the scene (the
                                        object's box has diagonal 1); infinite where nothing is
    normals     (size, size, 3) float32 in world coordinates; zero where nothing is
    mask        (size, size) bool       where the object is seen
    shadow      (size, size) bool       inside the spot's cone and hidden from it
    coordinates (size, size, 3) float32 the surface's point in coordinates of the object, of
                                        articulated ones at rest; NaN where it is not seen
    faces       (size, size) int32      index of the face; -1 where the object is not seen
    parts       (size, size) uint8      number of the part plus 1; 0 where it is not seen
    rgba        (size, size, 4) uint8   the object alone, sRGB, alpha not multiplied
    instances   (size, size) uint8      number of a scene's object, from 1; 0 where none is seen
    silhouettes (size, size) uint8      bit k: where a scene's object k + 1 would be seen alone
    shadows     (size, size) uint8      bit k: inside the cone of light k + 1 and hidden from it
    =========== ======================= =========================================================

    All but rgba are those of the pixels' centers and are never averaged. No pickle is read, and
    no more memory is taken than a file of its size can rightly hold.

    Args:
        root: The set's folder; a set of shards has the same arrays.
        key: The object, ``<class>/<object id>``.
        view: Which of its views, from 0.
        name: Which pass.

    Raises:
        DataFormatError: The set was built without the pass, or the file is damaged; names it.
        ConventionError: There is no pass of this name; or, of shards, no such object or view.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, build
        >>> source, root = ProceduralMeshes(instances=1, classes=["chair"]), tempfile.mkdtemp()
        >>> config = BuildConfig(views=1, size_px=16, passes=("depth", "mask"))
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> depth = read_pass(root, "chair/chair-000000", 0, "depth")
        >>> mask = read_pass(root, "chair/chair-000000", 0, "mask")
        >>> depth.shape, str(depth.dtype), bool(2.0 < depth[mask].min() < 2.5)
        ((16, 16), 'float32', True)
    """
    if name not in PASS_NAMES:
        raise ConventionError(
            expected=f"a pass among {', '.join(PASS_NAMES)}", got=repr(name), argument="name",
            advice="The picture itself is read by ThreeDIEBench.",
        )  # fmt: skip
    path = Path(root) / key / pass_file(name, view)
    if is_sharded(Path(root)):
        data, path = shard_member(Path(root), key, view, path.name)
        return _decoded(name, data, path)
    if not path.is_file():
        raise DataFormatError(
            expected=f"the pass {name}", got="no such file", argument=str(path),
            advice=f"`equivariant build DATA --add --passes {name}` adds it to the set.",
        )  # fmt: skip
    return read_pass_file(path)


def read_pass_file(path: Path) -> NDArray[Any]:
    """The array in the file of a pass, as :func:`read_pass` returns it.

    Args:
        path: ``<name of the pass>_<view>.npz`` or ``.png``.

    Raises:
        DataFormatError: It is missing, damaged, or no pass; names the file.
    """
    try:
        data = read_file(path)
    except Exception as error:
        raise _damaged(path, error) from error
    return _decoded(path.name.rpartition("_")[0], data, path)


def _decoded(name: str, data: bytes, path: Path) -> NDArray[Any]:
    """The array in the content of a pass's file; the path is for messages."""
    try:
        kind = KINDS[cast(PassName, name)]
        array = _png(data, kind, path) if kind.suffix == "png" else _npz(data, kind, name)
        shape = (*array.shape[:1] * 2, *((kind.channels,) if kind.channels > 1 else ()))
        if array.shape != shape or array.dtype != np.dtype(kind.dtype) or not array.size:
            raise ValueError(f"{array.dtype} of shape {array.shape}")
    except Exception as error:  # a damaged header may trip any part of NumPy's and Pillow's readers
        raise _damaged(path, error) from error
    return array


def _damaged(path: Path, error: Exception) -> DataFormatError:
    return DataFormatError(
        expected="the file of a pass as it was written", got=f"{type(error).__name__}: {error}",
        argument=str(path),
        advice="It is damaged: `equivariant verify DATA --repair` brings it back.",
    )  # fmt: skip


def _png(data: bytes, kind: PassKind, path: Path) -> NDArray[Any]:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        check_extent(*picture.size, size=len(data), path=path)
        mode = "RGBA" if kind.channels == 4 else _MODES[kind.dtype]
        if picture.mode != mode:
            raise ValueError(f"a picture of mode {picture.mode}")
        pixels = np.asarray(picture)
    if kind.dtype != "bool":
        return pixels
    if ((pixels != 0) & (pixels != 255)).any():
        raise ValueError("greys in a mask")
    return cast(NDArray[Any], pixels == 255)


def _npz(data: bytes, kind: PassKind, name: str) -> NDArray[Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (entry,) = archive.infolist()
        if entry.filename != f"{name}.npy" or entry.file_size > INFLATION * len(data):
            raise ValueError(f"{entry.filename} of {entry.file_size} bytes in {len(data)}")
        with archive.open(entry) as file:
            content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise ValueError("an array that is cut off")
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype(kind.dtype) or fortran:
        raise ValueError(f"numbers of type {dtype}")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape).copy()
