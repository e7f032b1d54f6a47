"""The index of a set of shards, made again from the headers in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.schema import Manifest
from datasets3d.views.shards.layout import LATENT, ROW, file_of, kinds_of
from datasets3d.views.shards.one_shard import latent_of
from datasets3d.views.shards.tar import members
from datasets3d.views.shards.write import Shares, listed
from datasets3d.views.storage import writing
from datasets3d.views.upkeep.folder_lock import folder_lock
from equivariant.errors import DataFormatError


def rebuild_index(root: Path | str, *, progress: bool = True) -> list[str]:
    """Write all but the tar files anew, from these, the lists and the manifest.

    For sets whose index was lost or damaged, or was written without pyarrow and is to have an
    ``index.parquet``. The bytes are those of before. Reads every byte once.

    Args:
        root: Folder of shards, with its lists and manifest.
        progress: Say on stderr that another process is waited for.

    Returns:
        Remarks, one sentence each.

    Raises:
        DataFormatError: A shard is damaged, or holds what is not the set's, or a view lacks
            something.
        StorageError: The place is read-only or full.
    """
    root = Path(root)
    with folder_lock(root, shared=False, progress=progress), writing(root):
        return index_anew(root)


def index_anew(root: Path) -> list[str]:
    """:func:`rebuild_index` for those who hold the folder's lock.

    Args:
        root: Folder of shards.

    Raises:
        DataFormatError: As there.
    """
    manifest = Manifest.read(root)
    keys = [key for split in ("train", "val") for key in listed(root, split)]
    paths = [p for split in ("train", "val") for p in sorted(root.glob(f"{split}-*.tar"))]
    place = {key: index for index, key in enumerate(keys)}
    kinds = kinds_of(manifest)
    plan: list[NDArray[np.int64]] = []
    shares = Shares(root, root, manifest, keys, plan, [p.name for p in paths], kinds)
    for number, path in enumerate(paths):
        plan.append(_share(shares, path, number, place))
    if sum(map(len, plan)) != len(keys):
        raise _foreign(root, f"{sum(map(len, plan))} of {len(keys)} objects")
    return shares.finish()


def _share(shares: Shares, path: Path, number: int, place: dict[str, int]) -> NDArray[np.int64]:
    """Write a shard's share of the index; its objects, in their order."""
    views, kinds = shares.views, shares.kinds
    found: list[int] = []
    rows: list[NDArray[Any]] = []
    for name, offset, length, checksum in members(path):
        key, _, end = name.rpartition("/")
        view, _, kind = end.partition(".")
        if key not in place or not view.isdecimal() or int(view) >= views or kind not in kinds:
            raise _foreign(path, f"the member {name}")
        if not found or found[-1] != place[key]:
            found.append(place[key])
            rows.append(np.zeros((views, len(kinds)), ROW))
        numbers = np.frombuffer(checksum, np.uint8)
        rows[-1][int(view), kinds.index(kind)] = (offset, length, number, numbers)
    objects = np.array(found, dtype=np.int64)
    if len(set(found)) != len(found) or not found:
        raise _foreign(path, "an object in two places, or none")
    index = np.stack(rows)
    _check_whole(path, index, kinds)
    shares.write(path.name, index, _latents(path, index, kinds.index(LATENT)))
    return objects


def _check_whole(path: Path, index: NDArray[Any], kinds: Sequence[str]) -> None:
    """Raise DataFormatError where a view lacks what every view has."""
    each = [k for k, kind in enumerate(kinds) if file_of(kind, 0) != file_of(kind, 1)]
    if (index[:, :, each]["offset"] == 0).any():
        raise _foreign(path, "a view that lacks a member")


def _latents(path: Path, index: NDArray[Any], kind: int) -> NDArray[np.float64]:
    found = []
    with path.open("rb") as tar:
        for row in index[:, :, kind].ravel():
            tar.seek(int(row["offset"]))
            found.append(latent_of(tar.read(int(row["length"]))))
    return np.array(found).reshape(*index.shape[:2], -1)


def _foreign(path: Path, got: str) -> DataFormatError:
    return DataFormatError(
        expected="the views of the set, each once and whole", got=got, argument=str(path),
        advice="Export the set again.",
    )  # fmt: skip
