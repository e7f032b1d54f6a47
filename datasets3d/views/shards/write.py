"""From the folder layout to shards: each shard is whole or absent, and what is there is kept."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from datasets3d.views.parts import columns_of
from datasets3d.views.schema import LISTS, MANIFEST, PLAN, SHEET, Manifest
from datasets3d.views.shards.layout import (
    INDEX,
    LATENTS,
    OBJECTS,
    PARQUET,
    ROW,
    ShardSet,
    kinds_of,
    refuse_shards,
)
from datasets3d.views.shards.one_shard import ShardFormat, mixed, object_files_of
from datasets3d.views.shards.parquet import has_parquet, write_parquet
from datasets3d.views.storage import (
    read_array,
    write_array,
    writing,
)
from datasets3d.views.upkeep.folder_lock import folder_lock
from equivariant.errors import ConventionError, DataFormatError
from equivariant.files import checksum, read_file
from equivariant.runs import read_json, write_atomically, write_json

NOTE = ".export.json"
GIGABYTE = 10**9
SAMPLED = 32
NO_PARQUET = (
    'no index.parquet: pyarrow is not installed (pip install "equivariant[shards]"); shards and '
    "our readers do not need it"
)


@dataclass(frozen=True)
class ShardSize:
    """How large a shard becomes; objects are not divided between shards.

    Args:
        images: Images of each shard; None takes as many as make about ``bytes``.
        bytes: About so many for each shard, by the mean of its first 32 objects.

    Raises:
        ConventionError: A number is below 1.
    """

    images: int | None = None
    bytes: int = GIGABYTE

    def __post_init__(self) -> None:
        for name, value in (("images", self.images), ("bytes", self.bytes)):
            if value is not None and value < 1:
                raise ConventionError(
                    expected="at least 1", got=str(value), argument=name,
                    advice="A shard holds one object or more.",
                )  # fmt: skip

    def objects(self, root: Path, keys: Sequence[str], views: int) -> int:
        """Objects of each shard.

        Args:
            root: The set in the folder layout.
            keys: Objects in the order of the shards; the first 32 are measured.
            views: Of each.
        """
        if self.images is not None:
            return max(1, self.images // views)
        sizes = [
            sum(1024 + path.stat().st_size for path in (root / key).iterdir())
            for key in keys[:SAMPLED]
        ]
        each = float(sum(sizes)) / len(sizes) + 1024 * views
        return max(1, round(self.bytes / each))


def export_shards(
    root: Path, out: Path, size: ShardSize | None = None, *, progress: bool = True
) -> list[str]:
    """Write a set in the folder layout as shards; the same set gives the same bytes.

    Each shard is written under a temporary name and renamed; a call that was stopped goes on with
    the shard at which it was. Files are compared with the set's checksums while they are read.
    Objects stand in an order that is drawn from their names, train and val apart.

    Args:
        root: The set's folder.
        out: A folder that is not there yet or is empty, or one in which the same call stopped.
        size: Of the shards.
        progress: Show a bar on stderr.

    Returns:
        Remarks, one sentence each.

    Raises:
        ConventionError: ``out`` holds something else, or ``root`` is a set of shards.
        DataFormatError: An object is not what the manifest says; names it.
        StorageError: The place is read-only or full; the same call goes on.
    """
    refuse_shards(root)
    work = _Export.begin(root, out, size or ShardSize())
    with folder_lock(out, shared=False, progress=progress), writing(out):
        work.note()
        with tqdm(total=len(work.keys), desc="shards", unit="obj", disable=not progress) as bar:
            for number, rows in enumerate(work.plan):
                work.shard(number, rows)
                bar.update(len(rows))
        return work.finish()


@dataclass
class Shares:
    """The index of a set, gathered from the shares of its shards.

    Args:
        root: The folder of lists and manifest.
        out: The folder of shards.
        manifest: Of the set.
        keys: All objects, train then val, as they are listed.
        plan: Objects of each shard, by their place in ``keys``.
        names: Of the shards.
        kinds: What is kept of a view.
    """

    root: Path
    out: Path
    manifest: Manifest
    keys: list[str]
    plan: list[NDArray[np.int64]]
    names: list[str]
    kinds: list[str]

    @property
    def views(self) -> int:
        """Views of every object."""
        return int(self.manifest.config["views"])

    def there(self, name: str) -> bool:
        """Whether a shard's share is there."""
        return self._side(name, 0).is_file() and self._side(name, 1).is_file()

    def write(self, name: str, rows: NDArray[Any], latents: NDArray[np.float64]) -> None:
        """Keep a shard's share until all are there.

        Args:
            name: Of the shard.
            rows: Shape (its objects, views, kinds).
            latents: Shape (its objects, views, columns).
        """
        for side, array in enumerate((rows, latents)):
            write_array(self._side(name, side), array)

    def finish(self) -> list[str]:
        """Write index, lists and manifest, and last of all what says that the set is whole."""
        labels = [self.manifest.labels.index(key.split("/")[0]) for key in self.keys]
        encoded = [key.encode() for key in self.keys]
        objects = np.zeros(len(encoded), [("key", f"S{max(map(len, encoded))}"), ("label", "<u4")])
        objects["key"], objects["label"] = encoded, labels
        columns = [str(column["name"]) for column in self.manifest.latent_columns]
        shape = (len(self.keys), self.views)
        with (self.out / OBJECTS).open("wb") as file:
            np.save(file, objects, allow_pickle=False)
        self._gather(INDEX, ROW, (*shape, len(self.kinds)), side=0)
        self._gather(LATENTS, np.dtype(np.float64), (*shape, len(columns)), side=1)
        if self.out != self.root:
            copy_lists(self.root, self.out)
        counts = [list(self.manifest.splits.values()).count(split) for split in ("train", "val")]
        described = ShardSet(
            views=self.views,
            channel_order="bgr" if self.manifest.config["channel_order"] == "bgr" else "rgb",
            labels=self.manifest.labels, kinds=self.kinds, columns=columns,
            joints=len(columns_of(self.manifest.source)),
            objects=dict(zip(("train", "val"), counts, strict=True)), shards=self.names,
            bytes=[(self.out / name).stat().st_size for name in self.names],
        )  # fmt: skip
        names = [INDEX, LATENTS, OBJECTS]
        if has_parquet():
            write_parquet(self.out, described)
            names.append(PARQUET)
        described.files.update({name: checksum(self.out / name) for name in names})
        described.write(self.out)
        for left in (*self.out.glob(".*.index"), *self.out.glob(".*.latents"), self.out / NOTE):
            left.unlink(missing_ok=True)
        return [] if has_parquet() else [NO_PARQUET]

    def _side(self, name: str, side: int) -> Path:
        """Where a shard's share of the index waits for the others."""
        return self.out / f".{name}.{('index', 'latents')[side]}"

    def _gather(
        self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], *, side: int
    ) -> None:
        """Put the shares of all shards into one array, without holding more than one of them."""
        temporary = self.out / f".{name}.{uuid.uuid4().hex}"
        try:
            whole = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
            for shard, objects in zip(self.names, self.plan, strict=True):
                share = read_array(self._side(shard, side))
                if share.dtype != dtype or share.shape != (len(objects), *shape[1:]):
                    raise DataFormatError(
                        expected=f"a share of {name} with latents of {shape[-1]} numbers",
                        got=f"{share.dtype} of shape {share.shape}", argument=shard,
                        advice="Remove the folder and export again.",
                    )  # fmt: skip
                whole[objects] = share
            whole.flush()
            del whole
            os.replace(temporary, self.out / name)
        finally:
            temporary.unlink(missing_ok=True)


@dataclass
class _Export(Shares):
    """One export.

    Args:
        per_shard: Objects of a shard.
    """

    per_shard: int = 1

    @staticmethod
    def begin(root: Path, out: Path, size: ShardSize) -> _Export:
        """Plan the shards; nothing is written."""
        manifest = Manifest.read(root)
        rows = {split: listed(root, split) for split in ("train", "val")}
        keys = rows["train"] + rows["val"]
        if set(keys) != set(manifest.splits) or len(keys) != len(manifest.splits):
            raise DataFormatError(
                expected="lists of the manifest's objects", got="other objects",
                argument=str(root), advice="`equivariant verify DATA --repair` writes them anew.",
            )  # fmt: skip
        ordered = [key for split in ("train", "val") for key in sorted(rows[split], key=mixed)]
        per_shard = size.objects(root, ordered, int(manifest.config["views"]))
        plan: list[NDArray[np.int64]] = []
        names: list[str] = []
        first = 0
        for split in ("train", "val"):
            places = sorted(range(len(rows[split])), key=lambda k: mixed(rows[split][k]))
            order = first + np.array(places, dtype=np.int64)
            parts = [order[k : k + per_shard] for k in range(0, len(order), per_shard)]
            plan += parts
            names += [f"{split}-{k:06d}.tar" for k in range(len(parts))]
            first += len(order)
        return _Export(root, out, manifest, keys, plan, names, kinds_of(manifest), per_shard)

    def note(self) -> None:
        """Note what is being exported, or compare it with what was begun here."""
        now = {"manifest": self.manifest.sum(), "objects_per_shard": self.per_shard}
        path = self.out / NOTE
        if path.is_file() and read_json(path) == now:
            return
        if any(self.out.iterdir()):
            raise ConventionError(
                expected="a folder that is empty or not there, or holds the same export begun",
                got="something else", argument=str(self.out),
                advice="Choose another folder, or remove this one.",
            )  # fmt: skip
        write_json(path, now)

    def shard(self, number: int, objects: NDArray[np.int64]) -> None:
        """Write a shard and what the index says of it, unless both are there."""
        name = self.names[number]
        path = self.out / name
        if path.is_file() and self.there(name):
            return
        format = ShardFormat(self.views, self.kinds, self.manifest.labels)

        def files_of(key: str) -> dict[str, bytes]:
            return object_files_of(self.root / key, self.manifest.digests[key], format)

        keys = [self.keys[index] for index in objects.tolist()]
        format.write(path, number, keys, files_of, lambda share: self.write(name, *share))


def copy_lists(root: Path, out: Path) -> None:
    """Copy what both layouts have beside the objects."""
    for name in (PLAN, SHEET, *LISTS, MANIFEST):
        with suppress(FileNotFoundError):  # sets of one view have no fixed pairs
            write_atomically(out / name, read_file(root / name))


def listed(root: Path, split: str) -> list[str]:
    """Objects of a split, as its list has them."""
    rows = read_array(root / f"{split}_images.npy")
    return [str(row).strip("/") for row in rows.ravel().tolist()]
