"""Arrays of npz and npy files, read without pickle, with errors that name the file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from equivariant.errors import DataFormatError

_BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


def array_names(path: Path) -> list[str]:
    """Names of the arrays of an npz file.

    Raises:
        DataFormatError: It is missing or no npz file; names the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
    except _BROKEN as error:
        raise _damaged(path, "a file of arrays, .npz", error) from error


def array_shape(path: Path, name: str) -> tuple[int, ...]:
    """Shape of one array of an npz file; only its header is read.

    Raises:
        DataFormatError: It is missing or damaged; names the file and the array.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                return np.lib.format.read_array_header_1_0(file)[0]
            if version == (2, 0):
                return np.lib.format.read_array_header_2_0(file)[0]
            raise ValueError(f"array format {version}")
    except _BROKEN as error:
        raise _damaged(path, f"an array {name!r}", error) from error


def load_array(path: Path, name: str) -> NDArray[np.generic]:
    """One array of an npz file.

    Raises:
        DataFormatError: It is missing, damaged, or needs pickle; names the file and the array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found: NDArray[np.generic] = arrays[name]
            return found
    except _BROKEN as error:
        raise _damaged(path, f"an array {name!r} that needs no pickle", error) from error


def load_npy(path: Path) -> NDArray[np.generic]:
    """The array of an npy file.

    Raises:
        DataFormatError: It is missing, damaged, or needs pickle; names the file.
    """
    try:
        found: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except _BROKEN as error:
        raise _damaged(path, "an array file, .npy, that needs no pickle", error) from error
    return found


def finite_points(
    array: NDArray[np.generic], shape: tuple[int | None, ...], path: Path, name: str
) -> NDArray[np.float64]:
    """Check that an array holds finite numbers in a shape; None fits any length.

    Raises:
        DataFormatError: It does not; names the file and the array.
    """
    fits = array.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "fiu":
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise DataFormatError(
            expected=f"numbers of shape ({wanted})",
            got=f"{array.dtype} of shape {array.shape}",
            argument=f"{path}, {name}", advice="See the layout in the documentation.",
        )  # fmt: skip
    points = array.astype(np.float64)
    if not np.isfinite(points).all():
        raise DataFormatError(
            expected="finite numbers", got="NaN or infinity", argument=f"{path}, {name}",
            advice="Leave the damaged frames out.",
        )  # fmt: skip
    return points


def whole_labels(
    array: NDArray[np.generic], shape: tuple[int, ...], path: Path, name: str
) -> NDArray[np.int64]:
    """Check that an array holds one whole number per point.

    Raises:
        DataFormatError: It does not; names the file and the array.
    """
    whole = array.dtype.kind in "iub" or (
        array.dtype.kind == "f" and bool((array == np.floor(array)).all())
    )
    if array.shape != shape or not whole:
        raise DataFormatError(
            expected=f"one whole number per point, shape {shape}",
            got=f"{array.dtype} of shape {array.shape}",
            argument=f"{path}, {name}", advice="See the layout in the documentation.",
        )  # fmt: skip
    return array.astype(np.int64)


def _damaged(path: Path, expected: str, error: Exception) -> DataFormatError:
    return DataFormatError(
        expected=expected, got=f"{type(error).__name__}: {error}", argument=str(path),
        advice="The file is missing, damaged, or laid out otherwise.",
    )  # fmt: skip
