"""Files of a data set: 3DIEBench's layout, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from datasets3d.views.schema import LISTS, MANIFEST, PLAN, SHEET
from equivariant.errors import DataFormatError, StorageError
from equivariant.files import open_file, read_file
from equivariant.runs import write_atomically

ChannelOrder = Literal["rgb", "bgr"]
PARTIAL = ".partial-"
WARNINGS = "warnings.json"
BLOCK = 1 << 20  # bytes that are read at once
_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class RenderedView:
    """One view of an object, ready to be written.

    Args:
        image: sRGB, shape (size, size, 3), uint8.
        latent: Shape (7 or more,), float64.
        parts: Of articulated objects the part that each pixel sees plus 1, shape (size, size),
            uint8; else None.
        cut: Whether the object reaches the border of the picture.
        further: Files of its passes, by name.
    """

    image: NDArray[np.uint8]
    latent: NDArray[np.float64]
    parts: NDArray[np.uint8] | None = None
    cut: bool = False
    further: dict[str, bytes] = field(default_factory=dict)


def object_files(
    views: Sequence[RenderedView],
    *,
    first: int = 0,
    quality: int,
    channel_order: ChannelOrder,
    extra: dict[str, bytes] | None = None,
) -> dict[str, bytes]:
    """The files of one object, by name; the same views give the same bytes.

    Args:
        views: In the order of their index.
        first: Index of the first of them.
        quality: Of the JPEGs, 1 to 100; chroma is not subsampled, since hues are labels.
        channel_order: "rgb" writes true colors; "bgr" exchanges red and blue, as the published
            images probably do.
        extra: Further files of the object, by name.
    """
    files: dict[str, bytes] = dict(extra or {})
    for index, view in enumerate(views, first):
        files |= view_files(index, view, quality=quality, channel_order=channel_order)
    return files


def write_folder(
    folder: Path, files: dict[str, bytes], *, replace: bool = False, keep: Collection[str] = ()
) -> None:
    """Write all files of one object and rename the folder into place.

    A folder that exists is therefore complete, however a process may have ended; after a power
    cut :func:`datasets3d.verify` tells.

    Args:
        folder: ``<root>/<class>/<object id>``.
        files: By name.
        replace: Put the folder in the place of one that is there; else that one stays as it is.
        keep: Names of what is taken over from the folder that is replaced.

    Raises:
        StorageError: The disk is full, or the place read-only; nothing half-written is left.
    """
    partial = folder.parent / f"{PARTIAL}{uuid.uuid4().hex}"
    with writing(folder):
        try:
            partial.mkdir(parents=True)
            place = str(partial)
            for name, content in files.items():
                _write_new(f"{place}{os.sep}{name}", content)
            for name in keep:
                _copy(folder / name, partial / name)
            old = folder.parent / f"{PARTIAL}{uuid.uuid4().hex}"
            if replace:
                with suppress(FileNotFoundError):
                    os.replace(folder, old)
            os.replace(partial, folder)
            shutil.rmtree(old, ignore_errors=True)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            if not folder.is_dir():  # else another process was faster, with the same bytes
                raise


def _write_new(path: str, content: bytes) -> None:
    """Write a file by the system's calls alone: half the time of a Python file, for small ones."""
    number = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666
    )
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(number, left) :]
    finally:
        os.close(number)


def _copy(item: Path, place: Path) -> None:
    """Copy a file, link or folder; links stay links."""
    if item.is_dir() and not item.is_symlink():
        shutil.copytree(item, place, symlinks=True)
    else:
        shutil.copy2(item, place, follow_symlinks=False)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in words that what is written inside finds no room, or a place that is read-only.

    Args:
        path: What is being written.

    Raises:
        StorageError: In place of the system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_PLACE or isinstance(error, StorageError):
            raise
        raise StorageError.of(error, path) from error


def view_files(
    index: int, view: RenderedView, *, quality: int, channel_order: ChannelOrder
) -> dict[str, bytes]:
    """The files of one view, by name.

    Args:
        index: Which view of its object.
        view: What it shows.
        quality: Of the JPEG, 1 to 100.
        channel_order: Order of colors on disk.
    """
    image = view.image if channel_order == "rgb" else view.image[..., ::-1]
    files = {
        f"image_{index}.jpg": jpeg_bytes(image, quality=quality),
        f"latent_{index}.npy": npy_bytes(view.latent),
    }
    if view.parts is not None:
        files[f"parts_{index}.png"] = mask_bytes(view.parts)
    return files | view.further


def mask_bytes(mask: NDArray[np.uint8]) -> bytes:
    """The bytes of a grey PNG file; the same mask gives the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def jpeg_bytes(image: NDArray[np.uint8], *, quality: int) -> bytes:
    """The bytes of a JPEG file, chroma not subsampled."""
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling="444"
    )
    return data


def warnings_file(notes: list[str]) -> dict[str, bytes]:
    """The file that says what of an object's mesh is not shown; none where there is nothing."""
    return {WARNINGS: (json.dumps(notes, indent=1) + "\n").encode()} if notes else {}


def warnings_of(folder: Path) -> list[str]:
    """What :func:`warnings_file` wrote into an object's folder; a damaged file says so."""
    path = folder / WARNINGS
    if not path.is_file():
        return []
    try:
        return [str(note) for note in json.loads(read_file(path))]
    except (OSError, ValueError, TypeError, RecursionError):
        return [f"{WARNINGS} is damaged"]


def digest(folder: Path, *, only: Collection[str] | None = None) -> str:
    """Checksum of the names and contents of an object's files, 32 hexadecimal digits.

    Folders, pipes and devices count as empty: reading them might never end.

    Args:
        folder: The object's.
        only: Names of the files that count; None for all that are there.
    """
    state = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if only is not None and path.name not in only:
            continue
        if not path.is_file():
            state.update(f"{path.name} 0 ".encode())
            continue
        with open_file(path) as file:
            state.update(f"{path.name} {os.fstat(file.fileno()).st_size} ".encode())
            while block := file.read(BLOCK):
                state.update(block)
    return state.hexdigest()


def bytes_digest(data: bytes) -> str:
    """:func:`~equivariant.files.checksum` of a file that is not written yet."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_of(files: dict[str, bytes]) -> str:
    """:func:`digest` of files that are not written yet, by name."""
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(files):
        state.update(f"{name} {len(files[name])} ".encode())
        state.update(files[name])
    return state.hexdigest()


def npy_bytes(array: NDArray[np.generic]) -> bytes:
    """The bytes of an npy file, without pickle."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write an npy file atomically."""
    write_atomically(path, npy_bytes(array))


def read_array(path: Path) -> NDArray[np.generic]:
    """Read an npy file.

    Raises:
        DataFormatError: It is missing, damaged, or needs pickle; names the file.
    """
    try:
        with open_file(path) as file:
            array: NDArray[np.generic] = np.lib.format.read_array(file, allow_pickle=False)
            if array.dtype.kind == "U":
                _check_characters(array)
    except Exception as error:  # a damaged header may trip any part of NumPy's parser
        raise DataFormatError(
            expected="a NumPy array file",
            got=f"{type(error).__name__}: {error}",
            argument=str(path),
            advice="The file is missing or damaged: build or download it again.",
        ) from error
    return array


def _check_characters(array: NDArray[Any]) -> None:
    """Raise ValueError where a number is no character: Python would crash on it later."""
    numbers = np.ascontiguousarray(array).view(np.uint8).tobytes()
    codes = np.frombuffer(numbers, np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    if codes.size and int(codes.max()) > 0x10FFFF:
        raise ValueError("a number that is no character")


def check_extent(width: int, height: int, *, size: int, path: Path | str) -> None:
    """Refuse a picture whose header promises more pixels than its file can hold.

    Args:
        width: Pixels.
        height: Pixels.
        size: Bytes of the file.
        path: For the message.

    Raises:
        DataFormatError: There are more than 2000 pixels for each byte.
    """
    if width * height > 2000 * size:
        raise DataFormatError(
            expected=f"a picture that fits into {size} bytes", got=f"{width} x {height} px",
            argument=str(path), advice="The file is damaged: build or download its object again.",
        )  # fmt: skip


def read_image(path: Path, *, channel_order: ChannelOrder = "rgb") -> NDArray[np.uint8]:
    """Decode an image file to sRGB, shape (height, width, 3), uint8.

    Args:
        path: JPEG, or whatever Pillow reads.
        channel_order: How the file stores colors; with "bgr" red and blue are exchanged back.

    Raises:
        DataFormatError: It is missing or damaged; names the file.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise _no_image(path, error) from error
    return decode_image(data, path, channel_order=channel_order)


def decode_image(
    data: bytes, path: Path, *, channel_order: ChannelOrder = "rgb"
) -> NDArray[np.uint8]:
    """:func:`read_image` of a file's content.

    Args:
        data: The content.
        path: For the message.
        channel_order: How it stores colors.

    Raises:
        DataFormatError: It is damaged; names the file.
    """
    try:
        if simplejpeg.is_jpeg(data):
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            check_extent(width, height, size=len(data), path=path)
            image: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data, colorspace=channel_order.upper(), strict=True
            )
            return image
        with Image.open(io.BytesIO(data)) as picture:
            check_extent(*picture.size, size=len(data), path=path)
            pixels = np.asarray(picture.convert("RGB"))
            return pixels if channel_order == "rgb" else np.ascontiguousarray(pixels[..., ::-1])
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise _no_image(path, error) from error


def _no_image(path: Path, error: Exception) -> DataFormatError:
    return DataFormatError(
        expected="a readable image", got=f"{type(error).__name__}: {error}", argument=str(path),
        advice="The file is missing or damaged: build or download its object again.",
    )  # fmt: skip


def remove_partial(root: Path) -> None:
    """Remove what an interrupted build was writing."""
    for partial in root.glob(f"*/{PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)
    for name in (PLAN, MANIFEST, SHEET, *LISTS):
        for temporary in root.glob(f".{name}.*"):
            temporary.unlink(missing_ok=True)
