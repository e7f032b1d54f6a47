"""Lists of the objects of a set in 3DIEBench's layout."""

from __future__ import annotations

from pathlib import Path

from datasets3d.views.storage import read_array
from equivariant.errors import ConventionError, DataFormatError


def read_list(root: Path, split: str) -> list[str]:
    """Objects of ``<split>_images.npy``, ``<class>/<object id>``, in its order.

    Raises:
        DataFormatError: It is missing, damaged, or names no objects.
    """
    path = root / f"{split}_images.npy"
    rows = read_array(path)
    keys = ["/".join(str(row).strip("/").split("/")[-2:]) for row in rows.ravel().tolist()]
    wrong = [key for key in keys if key.count("/") != 1 or "/" in (key[0], key[-1])]
    if rows.ndim != 1 or rows.dtype.kind != "U" or wrong:
        got = f"{rows.dtype} of shape {rows.shape}" + (f" with {wrong[0]!r}" if wrong else "")
        raise format_error(path, 'rows "/<class>/<object id>/"', got)
    return keys


def listed_objects(root: Path, split: str) -> tuple[list[str], list[str]]:
    """Objects of a split, and the names of all classes; of "all" those whose folders are there."""
    if split == "all":
        found = sorted(
            f"{folder.name}/{inner.name}"
            for folder in root.iterdir()
            if folder.is_dir() and not folder.name.startswith(".")
            for inner in folder.iterdir()
            if inner.is_dir() and not inner.name.startswith(".")
        )
        return found, sorted({key.split("/")[0] for key in found})
    lists = {name: read_list(root, name) for name in ("train", "val")}
    names = sorted({key.split("/")[0] for keys in lists.values() for key in keys})
    _check_labels(root, split, lists[split])
    return lists[split], names


def _check_labels(root: Path, split: str, keys: list[str]) -> None:
    """Ranks are used instead; but a list of another length belongs to other objects."""
    path = root / f"{split}_labels.npy"
    if path.is_file() and (shape := read_array(path).shape) != (len(keys),):
        raise format_error(path, f"{len(keys)} labels, one per listed object", f"shape {shape}")


def check_arguments(split: str, views: int | None, channel_order: str | None) -> None:
    """Raise ConventionError where an argument of ThreeDIEBench is out of its range."""
    for argument, value, fine, expected in (
        ("split", split, split in ("train", "val", "all"), "train, val or all"),
        ("views", views, views is None or views >= 1, "at least 1, or None"),
        ("channel_order", channel_order, channel_order in (None, "rgb", "bgr"), "rgb or bgr"),
    ):
        if not fine:
            raise ConventionError(
                expected=expected, got=repr(value), argument=argument,
                advice="See the documentation of ThreeDIEBench.",
            )  # fmt: skip


def format_error(path: Path, expected: str, got: str) -> DataFormatError:
    """What is said of a file or folder that is not as the layout has it."""
    return DataFormatError(
        expected=expected, got=got, argument=str(path),
        advice="See the layout in the documentation of ThreeDIEBench.",
    )  # fmt: skip
