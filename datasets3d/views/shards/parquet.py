"""The index as a Parquet table for other tools: one row per view."""

from __future__ import annotations

import os
import uuid
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.shards.layout import INDEX, PARQUET, ShardSet
from datasets3d.views.shards.read import ShardReader
from equivariant.errors import MissingExtraError

GROUP = 1 << 16


def has_parquet() -> bool:
    """Whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


def write_parquet(root: Path, about: ShardSet) -> None:
    """Write ``index.parquet`` beside the index, in groups of 65,536 rows.

    Columns: key (``<class>/<object>/<view>``, the sample's name in WebDataset), class, object,
    view, split, label; the numbers of the latent by their names; shard; and of each kind k of
    member ``k.offset``, ``k.length`` and ``k.checksum`` (BLAKE2b, 128 bits), null where there is
    none.

    Args:
        root: Folder with the arrays of the index.
        about: What ``shards.json`` says, or will.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError.of("pyarrow", extra="shards") from None
    reader = ShardReader(root, about=about)
    index = np.load(root / INDEX, mmap_mode="r", allow_pickle=False)
    step = max(1, GROUP // about.views)
    temporary = root / f".{PARQUET}.{uuid.uuid4().hex}"
    writer = None
    try:
        for first in range(0, about.number, step):
            last = min(first + step, about.number)
            table = arrow.table(_columns(arrow, reader, index[first:last], first))
            writer = writer or parquet.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
            writer = None
        os.replace(temporary, root / PARQUET)
    finally:
        if writer is not None:
            writer.close()
        temporary.unlink(missing_ok=True)


def _columns(arrow: Any, reader: ShardReader, index: NDArray[Any], first: int) -> dict[str, Any]:
    """The columns of some objects, all views of each."""
    about, (objects, views, _) = reader.about, index.shape
    keys = [reader.keys[k] for k in range(first, first + objects)]
    labels = np.repeat(reader.labels[first : first + objects], views)
    held = first + np.repeat(np.arange(objects), views) >= about.objects["train"]
    table: dict[str, Any] = {
        "key": arrow.array([f"{key}/{view}" for key in keys for view in range(views)]),
        "class": arrow.array([about.labels[k] for k in labels]),
        "object": arrow.array([key.split("/")[1] for key in keys for _ in range(views)]),
        "view": arrow.array(np.tile(np.arange(views, dtype=np.int32), objects)),
        "split": arrow.array(np.where(held, "val", "train").tolist()),
        "label": arrow.array(labels.astype(np.int32)),
    }
    latents = reader.latents[first : first + objects].reshape(objects * views, -1)
    for place, name in enumerate(about.columns):
        table[name] = arrow.array(np.ascontiguousarray(latents[:, place]))
    table["shard"] = arrow.array([about.shards[k] for k in index[:, :, 0]["shard"].ravel()])
    for place, kind in enumerate(about.kinds):
        rows = np.ascontiguousarray(index[:, :, place].ravel())
        none = rows["offset"] == 0
        checksums = [None if n else bytes(c) for n, c in zip(none, rows["checksum"], strict=True)]
        table[f"{kind}.offset"] = arrow.array(rows["offset"].astype(np.int64), mask=none)
        table[f"{kind}.length"] = arrow.array(rows["length"].astype(np.int64), mask=none)
        table[f"{kind}.checksum"] = arrow.array(checksums, arrow.binary(16))
    return table
