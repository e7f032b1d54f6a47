"""The end of a build: lists of the splits, a contact sheet, and the manifest last of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from datasets3d.meshes.source import MeshEntry
from datasets3d.pairs.fixed_pairs import FIXED_PAIRS_PER_OBJECT, draw_fixed_pairs
from datasets3d.views.config import BuildConfig
from datasets3d.views.contact_sheet import contact_sheet
from datasets3d.views.parts import columns_of, conventions_of
from datasets3d.views.plan import key_of
from datasets3d.views.schema import (
    COLUMNS,
    CONVENTIONS,
    FIXED_PAIRS,
    FORMAT_VERSION,
    SHEET,
    Manifest,
)
from datasets3d.views.splits import split_of
from datasets3d.views.storage import digest, file_digest, warnings_of, write_array
from equivariant.errors import DataFormatError
from equivariant.runs import write_atomically

IGNORED_NAMED = 100  # of files and folders that are not read: so many are named in the manifest


def write_index(
    root: Path,
    config: BuildConfig,
    plan: dict[str, Any],
    *,
    entries: Sequence[MeshEntry],
    digests: dict[str, str],
    failed: dict[str, str],
    ignored: Sequence[str] = (),
) -> None:
    """Write everything that belongs to the data set as a whole.

    Args:
        root: The data set's folder, with the folders of all objects that did not fail.
        config: Settings of the build.
        plan: What the plan file says.
        entries: All objects, sorted.
        digests: Checksums that are known; the others are computed.
        failed: Reasons of the objects set aside.
        ignored: Files and folders beside the meshes that were not read.

    Raises:
        DataFormatError: No object is there.
    """
    complete = [entry for entry in entries if key_of(entry) not in failed]
    if not complete:
        raise DataFormatError(
            expected="at least one object that can be rendered",
            got=f"{len(failed)} that cannot; the first: {next(iter(failed.values()), 'none')}",
            argument=str(root),
            advice="Check the meshes; each reason names its file.",
        )
    splits: dict[str, str] = {}
    for entry in complete:
        split = split_of(
            entry, val_fraction=config.val_fraction, seed=config.seed, by=config.split_by
        )
        splits[key_of(entry)] = split
    labels = sorted({entry.label for entry in complete})
    names = _write_lists(root, config, splits, labels)
    sheet = contact_sheet(
        root, list(splits), views=config.views, channel_order=config.channel_order
    )
    write_atomically(root / SHEET, sheet)
    ranges = zip(COLUMNS, config.law.ranges(), strict=True)
    Manifest(
        format_version=FORMAT_VERSION,
        config=plan["config"],
        source=plan["source"],
        versions=plan["versions"],
        conventions=CONVENTIONS | conventions_of(plan["source"]),
        latent_columns=[
            *({**asdict(column), "range": list(span)} for column, span in ranges),
            *columns_of(plan["source"]),
        ],
        labels=labels,
        splits=splits,
        digests={key: digests.get(key) or digest(root / key) for key in splits},
        failed=failed,
        files={name: file_digest(root / name) for name in [*names, SHEET]},
        warnings={key: notes for key in splits if (notes := warnings_of(root / key))},
        ignored={"count": len(ignored), "first": list(ignored[:IGNORED_NAMED])} if ignored else {},
    ).write(root)


def _write_lists(
    root: Path, config: BuildConfig, splits: dict[str, str], labels: list[str]
) -> list[str]:
    """Write the lists of both splits and the fixed pairs; returns the files' names."""
    rank = {label: index for index, label in enumerate(labels)}
    names = []
    for split in ("train", "val"):
        keys = [key for key in splits if splits[key] == split]
        numbers = np.array([rank[key.split("/")[0]] for key in keys], dtype=np.int64)
        rows = np.array([f"/{key}/" for key in keys], dtype=np.str_)
        write_array(root / f"{split}_images.npy", rows)
        write_array(root / f"{split}_labels.npy", numbers)
        names += [f"{split}_images.npy", f"{split}_labels.npy"]
        if split == "val" and config.views >= 2:
            pairs = draw_fixed_pairs(
                keys, views=config.views, pairs_per_object=FIXED_PAIRS_PER_OBJECT, seed=0
            )
            write_array(root / FIXED_PAIRS, pairs)
            names.append(FIXED_PAIRS)
    return names
