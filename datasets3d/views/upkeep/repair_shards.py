"""Shards written anew where they are damaged: whole members stay, others are rendered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.schema import Manifest
from datasets3d.views.shards.layout import (
    IMAGE,
    PARQUET,
    SHARDS,
    ShardSet,
    file_of,
)
from datasets3d.views.shards.one_shard import ShardFormat, Share, object_files_of
from datasets3d.views.shards.parquet import has_parquet
from datasets3d.views.shards.read import ShardReader
from datasets3d.views.shards.rebuild import index_anew
from datasets3d.views.storage import decode_image, digest_of
from datasets3d.views.upkeep.problem import Problem
from equivariant.errors import DataFormatError

SCRATCH = ".repair"
OTHER_BYTES = "written anew it has other bytes than the index says"


def mend_index(root: Path, found: Sequence[Problem]) -> tuple[dict[str, str], bool]:
    """Make the index anew where it is damaged, from headers and members of the tar files.

    Args:
        root: Folder of the shards.
        found: What is wrong.

    Returns:
        Why files of it could not be made, by name; and whether it is new, and with it the checksums
        of members, which may be damaged.
    """
    names = {problem.name for problem in found if problem.kind == "file"}
    try:
        parts = set(ShardSet.read(root).files)
    except DataFormatError:
        parts = {SHARDS}
    damaged = names & parts
    if not damaged:
        return {}, False
    if PARQUET in parts and not has_parquet():
        why = 'pyarrow is not installed (pip install "equivariant[shards]")'
        return dict.fromkeys(damaged, why), False
    try:
        index_anew(root)
    except DataFormatError as error:
        return dict.fromkeys(damaged, f"{Path(error.argument).name}: {error.got}"), False
    except Exception as error:  # a damaged latent may trip any part of NumPy's parser
        return dict.fromkeys(damaged, f"{type(error).__name__}: {error}"), False
    return {}, True


def mend_shards(
    root: Path, manifest: Manifest, found: Sequence[Problem], *, new_index: bool
) -> dict[str, str]:
    """Write damaged shards anew, from what is whole in them and objects that were rendered.

    Args:
        root: Folder of the shards, with objects rendered anew in ``.repair``.
        manifest: Of the set.
        found: What is wrong, the index aside.
        new_index: Whether the index was made anew from these shards: then objects are compared with
            the manifest alone, and it is made once more.

    Returns:
        Why shards could not be written, by the names of shards and objects.
    """
    about = ShardSet.read(root)
    reader = ShardReader(root, about=about)
    shard_of = np.array([int(reader.rows(k, 0)[0]["shard"]) for k in range(about.number)])
    damaged = {problem.name for problem in found}
    broken = {k for k, key in enumerate(reader.keys) if key in damaged}
    numbers = {int(shard_of[k]) for k in broken}
    numbers |= {k for k, name in enumerate(about.shards) if name in damaged}
    reasons: dict[str, str] = {}
    for number in sorted(numbers):
        objects = np.flatnonzero(shard_of == number)
        objects = objects[reader.shard_order(objects)].tolist()
        try:
            _write(reader, manifest, number, objects, new_index=new_index)
        except DataFormatError as error:
            names = [about.shards[number], *(reader.keys[k] for k in objects if k in broken)]
            reasons |= dict.fromkeys(names, str(error.got))
    if new_index and numbers:
        index_anew(root)
    return reasons


def _write(
    reader: ShardReader, manifest: Manifest, number: int, objects: list[int], *, new_index: bool
) -> None:
    """Write one shard, unless it does not come out as the index says."""
    about, places = reader.about, {reader.keys[k]: k for k in objects}
    format = ShardFormat(about.views, about.kinds, about.labels)

    def files_of(key: str) -> dict[str, bytes]:
        fresh = reader.root / SCRATCH / key
        if fresh.is_dir():
            return object_files_of(fresh, manifest.digests[key], format)
        return _files_in(reader, places[key], manifest.digests[key])

    def keep(share: Share) -> None:
        was = np.stack([_rows(reader, k) for k in objects])
        if not new_index and not np.array_equal(share[0], was):
            raise _not_whole(reader.root / about.shards[number], OTHER_BYTES)

    format.write(reader.root / about.shards[number], number, list(places), files_of, keep)


def _rows(reader: ShardReader, index: int) -> NDArray[Any]:
    return np.stack([reader.rows(index, view) for view in range(reader.about.views)])


def _files_in(reader: ShardReader, index: int, digest: str) -> dict[str, bytes]:
    """The files of an object that is whole in its shard, by name."""
    files = {}
    for view in range(reader.about.views):
        for kind, row in zip(reader.about.kinds, reader.rows(index, view), strict=True):
            if row["offset"] and (name := file_of(kind, view)):
                files[name] = reader.read(index, view, kind)
    if digest_of(files) != digest:
        raise _not_whole(reader.root / reader.keys[index], "an object that is damaged")
    return files


def picture_in_shards(root: Path) -> Callable[[str, int], NDArray[np.uint8]]:
    """Reads views of a set of shards in true colors.

    Args:
        root: Its folder.
    """
    reader = ShardReader(root, check=True)
    place = {key: k for k, key in enumerate(reader.keys)}

    def picture(key: str, view: int) -> NDArray[np.uint8]:
        data = reader.read(place[key], view, IMAGE)
        where = reader.where(place[key], view, IMAGE)
        return decode_image(data, where, channel_order=reader.about.channel_order)

    return picture


def _not_whole(path: Path, got: str) -> DataFormatError:
    return DataFormatError(
        expected="a shard that comes out as it was", got=got, argument=str(path),
        advice="Each object is named with its reason.",
    )  # fmt: skip
