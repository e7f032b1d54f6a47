"""The end of a build: lists of the splits, a contact sheet, and the manifest last of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.source import MeshEntry
from datasets3d.pairs.fixed_pairs import FIXED_PAIRS_PER_OBJECT, draw_fixed_pairs
from datasets3d.views.config import BuildConfig
from datasets3d.views.contact_sheet import contact_sheet
from datasets3d.views.factors.record import conventions_of_law
from datasets3d.views.object_notes import Note
from datasets3d.views.parts import columns_of, conventions_of
from datasets3d.views.passes.kinds import conventions_of_passes
from datasets3d.views.plan import key_of
from datasets3d.views.schema import (
    CONVENTIONS,
    FIXED_PAIRS,
    FORMAT_VERSION,
    PLAN,
    SHEET,
    Manifest,
)
from datasets3d.views.splits import split_of
from datasets3d.views.storage import digest, npy_bytes, read_image, warnings_of
from equivariant.errors import DataFormatError
from equivariant.files import checksum
from equivariant.runs import write_atomically

Picture = Callable[[str, int], NDArray[np.uint8]]
IGNORED_NAMED = 100  # of files and folders that are not read: so many are named in the manifest


def write_index(
    root: Path,
    config: BuildConfig,
    plan: dict[str, Any],
    *,
    entries: Sequence[MeshEntry],
    notes: Mapping[str, Note],
    failed: dict[str, str],
    ignored: Sequence[str] = (),
    warnings: Mapping[str, list[str]] | None = None,
    picture: Picture | None = None,
) -> Manifest:
    """Write everything that belongs to the data set as a whole.

    Args:
        root: The data set's folder, with the folders of all objects that did not fail.
        config: Settings of the build.
        plan: What the plan file says.
        entries: All objects, sorted.
        notes: What is known of objects; checksums of the others are computed.
        failed: Reasons of the objects set aside.
        ignored: Files and folders beside the meshes that were not read.
        warnings: What of objects is not shown; None reads it from their folders.
        picture: Gives a view of an object; None reads it from its folder.

    Returns:
        The manifest, as it was written.

    Raises:
        DataFormatError: No object is there.
    """
    complete = [entry for entry in entries if key_of(entry) not in failed]
    if not complete:
        first = next(iter(failed.values()), "none").rstrip(".")
        raise DataFormatError(
            expected="at least one object that can be rendered",
            got=f"{len(failed)} that cannot; the first: {first}",
            argument=str(root),
            advice="Check the meshes; each reason names its file.",
        )
    splits: dict[str, str] = {}
    for entry in complete:
        split = split_of(
            entry, val_fraction=config.val_fraction, seed=config.seed, by=config.split_by
        )
        splits[key_of(entry)] = split
    files = list_files(picture or picture_in(root, config), config, splits)
    if warnings is None:
        warnings = {key: warnings_of(root / key) for key in splits}
    for name, content in files.items():
        write_atomically(root / name, content)
    ranges = zip(config.law.columns(), config.law.ranges(), strict=True)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        config=plan["config"],
        source=plan["source"],
        versions=plan["versions"],
        conventions=CONVENTIONS
        | conventions_of(plan["source"])
        | conventions_of_law(plan["config"]["law"])
        | conventions_of_passes(config.passes),
        latent_columns=[
            *({**asdict(column), "range": list(span)} for column, span in ranges),
            *columns_of(plan["source"]),
        ],
        labels=labels_of(splits),
        splits=splits,
        digests={key: notes[key].digest if key in notes else digest(root / key) for key in splits},
        failed=failed,
        files={name: checksum(root / name) for name in (PLAN, *files)},
        warnings={key: said for key in splits if (said := warnings.get(key))},
        ignored={"count": len(ignored), "first": list(ignored[:IGNORED_NAMED])} if ignored else {},
        law=plan.get("law", {}),
        meshes={key: notes[key].mesh for key in splits if key in notes and notes[key].mesh},
    )
    manifest.write(root)
    return manifest


def labels_of(splits: Mapping[str, str]) -> list[str]:
    """Names of the classes of some objects, sorted."""
    return sorted({key.split("/")[0] for key in splits})


def picture_in(root: Path, config: BuildConfig) -> Picture:
    """Reads views of a set in the folder layout.

    Args:
        root: The data set's folder.
        config: Says how its files store colors.
    """

    def picture(key: str, view: int) -> NDArray[np.uint8]:
        path = root / key / f"image_{view}.jpg"
        return read_image(path, channel_order=config.channel_order)

    return picture


def list_files(
    picture: Picture, config: BuildConfig, splits: Mapping[str, str]
) -> dict[str, bytes]:
    """Lists of both splits, fixed pairs and contact sheet, by name; the same splits and views
    give the same bytes.

    Args:
        picture: Gives a view of an object, as :func:`picture_in` does.
        config: Settings of the build.
        splits: "train" or "val" of each object.
    """
    rank = {label: index for index, label in enumerate(labels_of(splits))}
    files = {}
    for split in ("train", "val"):
        keys = [key for key in splits if splits[key] == split]
        numbers = np.array([rank[key.split("/")[0]] for key in keys], dtype=np.int64)
        rows = np.array([f"/{key}/" for key in keys], dtype=np.str_)
        files[f"{split}_images.npy"] = npy_bytes(rows)
        files[f"{split}_labels.npy"] = npy_bytes(numbers)
        if split == "val" and config.views >= 2:
            pairs = draw_fixed_pairs(
                keys, views=config.views, pairs_per_object=FIXED_PAIRS_PER_OBJECT, seed=0
            )
            files[FIXED_PAIRS] = npy_bytes(pairs)
    files[SHEET] = contact_sheet(picture, list(splits), views=config.views)
    return files


def remarks_on(manifest: Manifest) -> list[str]:
    """What whoever uses a data set should know of it as a whole, one sentence each."""
    remarks = [
        f"the {split} split is empty"
        for split in ("train", "val")
        if split not in manifest.splits.values()
    ]
    same: dict[str, dict[str, str]] = {}
    for key, mesh in manifest.meshes.items():
        same.setdefault(mesh, {}).setdefault(manifest.splits[key], key)
    both = [sides for sides in same.values() if len(sides) == 2]
    if both:
        first = both[0]
        remarks.append(
            f"{len(both)} meshes are in both splits, the same files under other names: "
            f"{first['train']} (train) and {first['val']} (val)"
            f"{', for one' if len(both) > 1 else ''}"
        )
    return remarks
