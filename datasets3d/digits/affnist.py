"""The files of the official affNIST set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from equivariant.errors import DataFormatError, check_option

SIDE_PX = 40
_STRUCT, _IMAGE, _LABEL = "affNISTdata", "image", "label_int"
_ADVICE = "Unpack the archives of affNIST and give one of their .mat files, or their folder."


class AffNist(NamedTuple):
    """What files of affNIST hold, one row per picture.

    Attributes:
        images: Shape (N, 40, 40), uint8, rows from the top.
        labels: Shape (N,), int64.
        recorded: All further fields that have a column per picture, by their name, as they are
            stored but with a row per picture: "human_readable_transform", for example.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    recorded: dict[str, NDArray[Any]]


def read_affnist(path: str | Path, *, pixel_order: Literal["row", "column"] = "row") -> AffNist:
    """Read a MATLAB file of affNIST, or all those of a folder.

    A file holds the struct ``affNISTdata``, whose ``image`` has one picture of 1,600 bytes per
    column and whose ``label_int`` the labels. By default the bytes of a picture run along its
    rows, as public loaders that are trained on MNIST and tested on these files take them;
    MATLAB's own order of a matrix is the other. No official file was at hand to verify it: look
    at a few pictures once, and pass "column" if digits lie mirrored at the diagonal.

    Args:
        path: A .mat file of versions 5 to 7, or a folder with ``1.mat``, ``2.mat``, ..., which are
            read in the order of their numbers.
        pixel_order: Along which the bytes of a picture run, "row" or "column".

    Returns:
        Pictures, labels, and what else is recorded.

    Raises:
        DataFormatError: A file is missing, damaged, of another version, or holds no such struct;
            or a folder has no numbered .mat file. Names the file.
        ConventionError: The order is unknown.

    Example:
        >>> import tempfile
        >>> from scipy.io import savemat
        >>> file = Path(tempfile.mkdtemp()) / "1.mat"
        >>> fields = {"image": np.zeros((1600, 3), np.uint8), "label_int": np.array([[5, 0, 4]])}
        >>> savemat(file, {"affNISTdata": fields})
        >>> images, labels, _ = read_affnist(file)
        >>> images.shape, labels.tolist()
        ((3, 40, 40), [5, 0, 4])

    Source: Tieleman 2013, The affNIST dataset for machine learning.
    """
    check_option(pixel_order, ("row", "column"), "pixel_order")
    path = Path(path)
    files = [path]
    if path.is_dir():
        numbered = [file for file in path.glob("*.mat") if file.stem.isascii()]
        files = sorted((f for f in numbered if f.stem.isdigit()), key=lambda f: int(f.stem))
        if not files:
            _refuse(path, "files 1.mat, 2.mat, ...", "a folder without any")
    parts = [_read(file, pixel_order) for file in files]
    common = [name for name in parts[0].recorded if all(name in p.recorded for p in parts)]
    return AffNist(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        {name: np.concatenate([part.recorded[name] for part in parts]) for name in common},
    )


def _read(path: Path, pixel_order: str) -> AffNist:
    data = _struct(path)
    for name in (_IMAGE, _LABEL):
        if name not in data:
            _refuse(path, f"the fields {_IMAGE} and {_LABEL}", ", ".join(data) or "none")
    image, label = data.pop(_IMAGE), data.pop(_LABEL)
    if image.dtype != np.uint8 or image.ndim != 2 or image.shape[0] != SIDE_PX**2:
        _refuse(path, "pictures of shape (1600, N), uint8", f"{image.shape}, {image.dtype}")
    number = image.shape[1]
    real = np.issubdtype(label.dtype, np.integer) or np.issubdtype(label.dtype, np.floating)
    whole = real and bool(((label == np.round(label)) & (label >= 0) & (label < 2**31)).all())
    if label.size != number or not whole:
        _refuse(
            path, f"{number} whole numbers of at least 0 as labels", f"{label.shape}, {label.dtype}"
        )
    images = np.ascontiguousarray(image.T).reshape(number, SIDE_PX, SIDE_PX)
    if pixel_order == "column":
        images = np.ascontiguousarray(images.swapaxes(1, 2))
    recorded = {
        name: np.ascontiguousarray(values.T)
        for name, values in data.items()
        if values.ndim == 2 and values.shape[1] == number and values.dtype != object
    }
    return AffNist(images, label.reshape(-1).astype(np.int64), recorded)


def _struct(path: Path) -> dict[str, NDArray[Any]]:
    """Fields of the struct, by name."""
    if not path.is_file():
        _refuse(path, "a .mat file", "no such file")
    try:
        found = loadmat(path, variable_names=[_STRUCT], appendmat=False).get(_STRUCT)
    except NotImplementedError:
        _refuse(path, "a .mat file of version 5 to 7", "one of version 7.3",
                "Load it in MATLAB and save it with -v7.")  # fmt: skip
    except Exception as error:  # a damaged file may trip any part of SciPy's parser
        _refuse(path, "a readable .mat file", f"{type(error).__name__}: {error}")
    if found is None or found.dtype.names is None or found.size != 1:
        _refuse(path, f"one struct {_STRUCT}", "none" if found is None else f"{found.dtype}")
    return {name: np.asarray(found[name].item()) for name in found.dtype.names}


def _refuse(path: Path, expected: str, got: str, advice: str = _ADVICE) -> NoReturn:
    raise DataFormatError(expected=expected, got=got, argument=str(path), advice=advice)
