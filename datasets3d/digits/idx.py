"""Files of pictures and labels in the IDX format, as MNIST is published."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from equivariant.errors import ConventionError, DataFormatError, check_option
from equivariant.files import read_file
from equivariant.runs import write_atomically

DigitSplit = Literal["train", "val", "test"]
SPLITS: tuple[DigitSplit, ...] = ("train", "val", "test")

_UINT8 = 8
_ADVICE = "Put the four IDX files of MNIST there, compressed (.gz) or not."


def read_mnist(
    folder: str | Path, split: DigitSplit = "train", *, held_out: int = 10_000
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the pictures and labels of one split of MNIST, or of any set in its four files.

    The files are ``{train,t10k}-{images-idx3,labels-idx1}-ubyte``, compressed (``.gz``) or not;
    ``images.idx3`` for ``images-idx3`` is accepted too.

    Args:
        folder: Where the files are.
        split: "train": the training file without its last ``held_out`` pictures (50,000 of
            MNIST); "val": those; "test": the test file.
        held_out: Size of "val", at least 0.

    Returns:
        Pictures (N, height, width), uint8, rows from the top, and labels (N,), int64.

    Raises:
        DataFormatError: A file is missing, truncated, no IDX file of bytes, or pictures and
            labels differ in number. Names the file.
        ConventionError: The split is unknown, or held_out is not in [0, training pictures].

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> write_idx(root / "train-images-idx3-ubyte.gz", np.zeros((5, 28, 28), np.uint8))
        >>> write_idx(root / "train-labels-idx1-ubyte", np.arange(5, dtype=np.uint8))
        >>> images, labels = read_mnist(root, "val", held_out=2)
        >>> images.shape, labels.tolist()
        ((2, 28, 28), [3, 4])

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits.
    """
    check_option(split, SPLITS, "split")
    root, part = Path(folder), "t10k" if split == "test" else "train"
    image_path, label_path = _find(root, part, "images", 3), _find(root, part, "labels", 1)
    images, labels = read_idx(image_path), read_idx(label_path)
    for path, array, axes in ((image_path, images, 3), (label_path, labels, 1)):
        if array.ndim != axes:
            _refuse(path, f"{axes} axes", f"{array.ndim}", "Pictures have three axes, labels one.")
    if len(images) != len(labels):
        _refuse(label_path, f"{len(images)} labels, as many as pictures", str(len(labels)), _ADVICE)
    if split != "test":
        if not 0 <= held_out <= len(images):
            raise ConventionError(
                expected=f"0 to {len(images)} pictures of the training file",
                got=str(held_out), argument="held_out",
                advice="MNIST's validation split is the last 10,000 of 60,000.",
            )  # fmt: skip
        border = len(images) - held_out
        kept = slice(border) if split == "train" else slice(border, None)
        images, labels = images[kept], labels[kept]
    return images, labels.astype(np.int64)


def read_idx(path: str | Path) -> NDArray[np.uint8]:
    """Read one IDX file of bytes.

    The file starts with 0, 0, the code of the type (8 for bytes) and the number of axes; then
    each axis's length as four bytes, highest first; then the entries, the last axis fastest.

    Args:
        path: The file; whether it is compressed by gzip is read from its first two bytes.

    Returns:
        Array of the shape that the file states, uint8.

    Raises:
        DataFormatError: The file is missing, damaged, truncated, longer than it states, or holds
            another type than bytes. Names the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers"
        >>> write_idx(path, np.array([[1, 2], [3, 4]], np.uint8))
        >>> read_idx(path).tolist()
        [[1, 2], [3, 4]]
    """
    path = Path(path)
    data = _content(path)
    axes = data[3] if len(data) >= 4 else 0
    start = 4 + 4 * axes
    if data[:3] != bytes([0, 0, _UINT8]) or axes == 0:
        _refuse(path, "an IDX file of bytes, 00 00 08 and axes", f"it starts {data[:4].hex(' ')}")
    if len(data) < start:
        _refuse(path, f"a header of {start} bytes", f"a file of {len(data)} bytes")
    shape = tuple(np.frombuffer(data, ">u4", axes, 4).tolist())
    if len(data) - start != math.prod(shape):
        _refuse(path, f"{math.prod(shape)} bytes for shape {shape}", f"{len(data) - start}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def write_idx(path: str | Path, array: NDArray[np.uint8]) -> None:
    """Write an IDX file of bytes, whole or not at all; the same array gives the same bytes.

    Args:
        path: Where to; compressed if the name ends in ``.gz``.
        array: Shape of 1 to 255 axes, uint8.

    Raises:
        StorageError: The disk is full.
    """
    header = bytes([0, 0, _UINT8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    data = header + np.ascontiguousarray(array).tobytes()
    path = Path(path)
    write_atomically(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _find(root: Path, part: str, kind: str, axes: int) -> Path:
    names = [f"{part}-{kind}{mark}idx{axes}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    for name in names:
        if (root / name).is_file():
            return root / name
    _refuse(root / names[0], "this file, or the same with .gz", "no such file")


def _content(path: Path) -> bytes:
    try:
        data = read_file(path)
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataFormatError(
            expected="a readable IDX file",
            got=f"{type(error).__name__}: {error}",
            argument=str(path), advice=_ADVICE,
        ) from error  # fmt: skip


def _refuse(path: Path, expected: str, got: str, advice: str = _ADVICE) -> NoReturn:
    raise DataFormatError(expected=expected, got=got, argument=str(path), advice=advice)
