"""Files of a data set: 3DIEBench's layout, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from equivariant.errors import DataFormatError
from equivariant.runs import read_json, write_atomically

ChannelOrder = Literal["rgb", "bgr"]
PARTIAL = ".partial-"


@dataclass(frozen=True)
class View:
    """One view of an object, ready to be written.

    Args:
        image: sRGB, shape (size, size, 3), uint8.
        latent: Shape (7,), float64.
    """

    image: NDArray[np.uint8]
    latent: NDArray[np.float64]


def write_object(
    folder: Path, views: list[View], *, quality: int, channel_order: ChannelOrder
) -> str:
    """Write all views of one object and rename the folder into place.

    A folder that exists is therefore complete. Writing the same views gives the same bytes.

    Args:
        folder: ``<root>/<class>/<object id>``; it must not exist.
        views: In the order of their index.
        quality: Of the JPEGs, 1 to 100; chroma is not subsampled, since hues are labels.
        channel_order: "rgb" writes true colors; "bgr" exchanges red and blue, as the published
            images probably do.

    Returns:
        Digest of the folder, as :func:`digest` gives it.
    """
    partial = folder.parent / f"{PARTIAL}{folder.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for index, view in enumerate(views):
        image = view.image if channel_order == "rgb" else view.image[..., ::-1]
        (partial / f"image_{index}.jpg").write_bytes(jpeg_bytes(image, quality=quality))
        (partial / f"latent_{index}.npy").write_bytes(npy_bytes(view.latent))
    checksum = digest(partial)
    os.replace(partial, folder)
    return checksum


def jpeg_bytes(image: NDArray[np.uint8], *, quality: int) -> bytes:
    """The bytes of a JPEG file, chroma not subsampled."""
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling="444"
    )
    return data


def digest(folder: Path) -> str:
    """Checksum of the names and contents of an object's files, 32 hexadecimal digits."""
    state = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        state.update(f"{path.name} {len(content)} ".encode())
        state.update(content)
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
        array: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataFormatError(
            expected="a NumPy array file",
            got=f"{type(error).__name__}: {error}",
            argument=str(path),
            advice="The file is missing or damaged: build or download it again.",
        ) from error
    return array


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image file to sRGB, shape (height, width, 3), uint8.

    Raises:
        DataFormatError: It is missing or damaged; names the file.
    """
    try:
        data = path.read_bytes()
        if simplejpeg.is_jpeg(data):
            image: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
            return image
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, UnidentifiedImageError) as error:
        raise DataFormatError(
            expected="a readable image",
            got=f"{type(error).__name__}: {error}",
            argument=str(path),
            advice="The file is missing or damaged: build or download its object again.",
        ) from error


def remove_partial(root: Path) -> None:
    """Remove what an interrupted build was writing."""
    for partial in root.glob(f"*/{PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)
    for temporary in root.glob(".*.*"):
        if temporary.is_file():
            temporary.unlink(missing_ok=True)


def verify(root: Path) -> list[str]:
    """Compare a data set with its manifest.

    Args:
        root: Folder that ``build`` wrote.

    Returns:
        One sentence per missing, damaged or foreign object; empty where all is well.

    Raises:
        DataFormatError: There is no readable manifest.
    """
    manifest = read_json(Path(root) / "manifest.json")
    expected: dict[str, str] = manifest["digests"]
    problems = []
    for key, checksum in expected.items():
        folder = root / key
        if not folder.is_dir():
            problems.append(f"{key} is missing")
        elif digest(folder) != checksum:
            problems.append(f"{key} is damaged")
    present = {f"{p.parent.name}/{p.name}" for p in root.glob("*/*") if p.is_dir()}
    problems += [f"{key} is not in the manifest" for key in sorted(present - expected.keys())]
    return problems
