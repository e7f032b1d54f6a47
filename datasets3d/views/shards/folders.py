"""From shards back to the folder layout."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from datasets3d.views.schema import Manifest
from datasets3d.views.shards.layout import file_of
from datasets3d.views.shards.read import ShardReader
from datasets3d.views.shards.write import copy_lists
from datasets3d.views.storage import digest_of, write_folder
from equivariant.errors import DataFormatError


def export_folders(root: Path, out: Path, *, progress: bool = True) -> None:
    """Write a set of shards in the folder layout, byte for byte the set that it was made from.

    Args:
        root: The set of shards.
        out: A folder that is empty.
        progress: Show a bar on stderr.

    Raises:
        DataFormatError: A member is missing or damaged; names it.
    """
    manifest, reader = Manifest.read(root), ShardReader(root, check=True)
    kinds = reader.about.kinds
    for index, key in enumerate(tqdm(reader.keys, "folders", unit="obj", disable=not progress)):
        files = {}
        for view in range(reader.about.views):
            rows = reader.rows(index, view)
            for kind, row in zip(kinds, rows, strict=True):
                if (name := file_of(kind, view)) and row["offset"]:
                    files[name] = reader.read(index, view, kind)
        if digest_of(files) != manifest.digests.get(key):
            raise DataFormatError(
                expected=f"{key} as it was built", got="other bytes", argument=str(root),
                advice="`equivariant verify DATA` says what is damaged.",
            )  # fmt: skip
        write_folder(out / key, files)
    copy_lists(root, out)
