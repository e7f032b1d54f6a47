"""A build straight into shards: finished objects go into shards in their order, and their folders.

While it goes on, beside what the folder layout has:

    ROOT/.layout.json           that it is a build of shards, how large they are, which classes
    ROOT/.{split}-000000.tar.objects    of a shard: notes, warnings, objects passed over

Objects are rendered into folders, as ever, in the order of the shards. Once all objects of a shard
are there, it is written whole under a temporary name, and renamed; then their folders go. So a
build that is killed at any moment finds every object in a folder or in a shard.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.source import MeshEntry
from datasets3d.views.config import BuildConfig
from datasets3d.views.object_notes import Note, forget_note, is_own
from datasets3d.views.plan import key_of
from datasets3d.views.schema import MANIFEST, Manifest
from datasets3d.views.shards.layout import IMAGE, OF_OBJECT, SHARDS, kinds_from, refuse_shards
from datasets3d.views.shards.one_shard import ShardFormat, mixed, object_files_of
from datasets3d.views.shards.write import SAMPLED, ShardSize, Shares
from datasets3d.views.splits import split_of
from datasets3d.views.storage import WARNINGS, decode_image, read_array, warnings_of, write_array
from equivariant.errors import ConventionError, DataFormatError, check_option
from equivariant.runs import read_json, remove_temporary, write_json

LAYOUT = ".layout.json"
SPLITS = ("train", "val")
Layout = Literal["folders", "shards"]
WARNED = OF_OBJECT + WARNINGS


def check_layout(root: Path, layout: Layout, *, add: bool) -> None:
    """Refuse to build in one layout what was begun or built in the other.

    Args:
        root: The data set's folder, if it is there.
        layout: In which it is to be built.
        add: Whether it is to grow.

    Raises:
        ConventionError: It is in the other one, shards are to grow, or there is no such layout.
    """
    check_option(layout, get_args(Layout), "layout")
    if layout == "shards" and add:
        raise ConventionError(
            expected="a set in the folder layout, to grow", got="layout 'shards'", argument="add",
            advice="Let folders grow, and export them: `equivariant export DATA --format shards`.",
        )  # fmt: skip
    if layout == "folders":
        refuse_shards(root)
        if (root / LAYOUT).is_file():
            raise ConventionError(
                expected="the layout that this build began with, shards", got="folders",
                argument="layout", advice="Go on with layout='shards' (--layout shards).",
            )  # fmt: skip


def packed_objects(root: Path) -> set[str]:
    """Objects that an unfinished build of shards has in shards, or has passed over.

    Args:
        root: The data set's folder.
    """
    found: set[str] = set()
    for path in root.glob("*-*.tar"):
        said = root / f".{path.name}.objects"
        if said.is_file():
            known = read_json(said)
            found |= {*known["notes"], *known["failed"]}
    return found


@dataclass
class Packing:
    """The shards of a build, as far as they are written.

    Args:
        root: The data set's folder.
        plan: What its plan says.
        size: Of the shards.
        order: All objects in the order of the shards, train then val.
        splits: "train" or "val" of each.
        held: Notes of the objects in shards.
        failed: Objects passed over for good, since later ones are in shards, and why.
        warnings: What of objects in shards is not shown.
        shards: Objects of each shard, by its name.
    """

    root: Path
    plan: Mapping[str, Any]
    size: ShardSize
    order: list[str]
    splits: dict[str, str]
    held: dict[str, Note] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    shards: dict[str, list[str]] = field(default_factory=dict)
    _labels: list[str] = field(default_factory=list)
    _per_shard: int = 0
    _place: int = 0
    _pending: list[str] = field(default_factory=list)
    _passed: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def begin(
        root: Path, plan: Mapping[str, Any], config: BuildConfig, size: ShardSize,
        entries: Sequence[MeshEntry],
    ) -> Packing:  # fmt: skip
        """Begin to pack, or go on.

        Args:
            root: The data set's folder, which has a plan.
            plan: What it says.
            config: What and how.
            size: Of the shards.
            entries: All objects.

        Raises:
            ConventionError: It is a finished set of folders, or was begun with other sizes.
        """
        if (root / MANIFEST).is_file() and not (root / LAYOUT).is_file():
            raise ConventionError(
                expected="a new folder, or a build that is not finished", got="a finished set",
                argument=str(root),
                advice="`equivariant export DATA --format shards` writes it as shards.",
            )  # fmt: skip
        splits: dict[str, str] = {}
        for entry in entries:
            splits[key_of(entry)] = split_of(
                entry, val_fraction=config.val_fraction, seed=config.seed, by=config.split_by
            )
        order = [
            key for split in SPLITS for key in sorted(splits, key=mixed) if splits[key] == split
        ]
        one = Packing(root, plan, size, order, splits)
        one._read()
        return one

    def _read(self) -> None:
        """What earlier calls did; removes what they left."""
        now = {"images": self.size.images, "bytes": self.size.bytes}
        if (self.root / LAYOUT).is_file():
            was = read_json(self.root / LAYOUT)
            if {name: was[name] for name in now} != now:
                raise ConventionError(
                    expected=f"shards of the size that this build began with, {was}", got=str(now),
                    argument="shard_size", advice="Ask for that size, or choose another folder.",
                )  # fmt: skip
            self._per_shard, self._labels = int(was["objects_per_shard"]), list(was["labels"])
            self.failed |= was["failed"]
        else:
            self._note()
        for temporary in self.root.glob(".*.tar.*"):
            if not temporary.name.endswith((".index", ".latents", ".objects")):
                temporary.unlink(missing_ok=True)
        for path in sorted(self.root.glob("*-*.tar")):  # train before val, by their numbers
            said = self.root / f".{path.name}.objects"
            if not said.is_file():
                raise DataFormatError(
                    expected="what is known of the objects of a shard", got="no such file",
                    argument=str(said), advice="Remove the folder and build again.",
                )  # fmt: skip
            self._take(path.name, read_json(said))
            self._remove(self.shards[path.name])

    def _note(self) -> None:
        write_json(self.root / LAYOUT, {
            "images": self.size.images, "bytes": self.size.bytes, "labels": self._labels,
            "objects_per_shard": self._per_shard, "failed": self.failed,
        })  # fmt: skip

    def _take(self, name: str, said: Mapping[str, Any]) -> None:
        """Take over what is known of a shard that is there."""
        notes = {key: Note(**note) for key, note in said["notes"].items()}
        self.shards[name] = list(said["objects"])
        self.held |= notes
        self.warnings |= said["warnings"]
        self.failed |= said["failed"]

    @property
    def settled(self) -> set[str]:
        """Objects that are not to be rendered any more."""
        return set(self.held) | set(self.failed)

    def wanted_order(self, entries: Iterable[MeshEntry]) -> list[MeshEntry]:
        """Objects in the order in which they are rendered: as they stand in the shards, but the
        first of each class ahead, since numbers of classes depend on which have any.

        Args:
            entries: Some of all.
        """
        place = {key: k for k, key in enumerate(self.order)}
        ordered = sorted(entries, key=lambda entry: place[key_of(entry)])
        first: dict[str, str] = {}
        for entry in ordered:
            first.setdefault(entry.label, key_of(entry))
        return sorted(ordered, key=lambda entry: first[entry.label] != key_of(entry))

    def pack(self, known: Mapping[str, Note], failed: Mapping[str, str]) -> None:
        """Write all shards whose objects are settled.

        Args:
            known: Notes of all objects that are rendered.
            failed: Why others could not be, so far.
        """
        while self._place < len(self.order):
            key = self.order[self._place]
            if key in known and key not in self.held:
                self._pending.append(key)
            elif key in failed and key not in self.failed:
                self._passed[key] = failed[key]
            elif key not in self.held and key not in self.failed:
                break
            self._place += 1
        if not self._pending or not self._numbered(known, failed) or not self._sized():
            return
        while rows := self._whole():
            self._write(rows, known)
            del self._pending[: len(rows)]

    def _numbered(self, known: Mapping[str, Note], failed: Mapping[str, str]) -> bool:
        """Whether it is known which classes have objects, and so their numbers."""
        if self._labels:
            return True
        labels = {key.split("/")[0] for key in known}
        lacking = {key: failed.get(key) for key in self.order if key.split("/")[0] not in labels}
        if any(reason is None for reason in lacking.values()):
            return False
        self._labels = sorted(labels)
        self.failed |= {key: reason for key, reason in lacking.items() if reason is not None}
        self._note()
        return True

    def _sized(self) -> bool:
        """Whether it is known how many objects a shard has."""
        if self._per_shard:
            return True
        few = self.size.images is None and len(self._pending) < SAMPLED
        if few and self._place < len(self.order):
            return False
        views = int(self.plan["config"]["views"])
        self._per_shard = self.size.objects(self.root, self._pending, views)
        self._note()
        return True

    def _whole(self) -> list[str]:
        """The objects of the next shard; none where some are not there yet."""
        if not self._pending:
            return []
        split = self.splits[self._pending[0]]
        rows = [key for key in self._pending[: self._per_shard] if self.splits[key] == split]
        coming = self.order[self._place : self._place + 1]
        last = (
            len(self._pending) > len(rows) or self.splits.get(coming[0] if coming else "") != split
        )
        return rows if len(rows) == self._per_shard or last else []

    def _write(self, keys: list[str], known: Mapping[str, Note]) -> None:
        """Write a shard; what is known of it comes first, its objects' folders go afterwards."""
        split = self.splits[keys[0]]
        name = f"{split}-{sum(n.startswith(split) for n in self.shards):06d}.tar"
        format = self.format(warnings=True)

        def files_of(key: str) -> dict[str, bytes]:
            return object_files_of(self.root / key, known[key].digest, format)

        warnings = {key: notes for key in keys if (notes := warnings_of(self.root / key))}
        said = {
            "objects": keys, "notes": {key: asdict(known[key]) for key in keys},
            "warnings": warnings, "failed": self._passed,
        }  # fmt: skip

        def keep(share: tuple[NDArray[Any], NDArray[np.float64]]) -> None:
            for side, array in zip(("index", "latents"), share, strict=True):
                write_array(self.root / f".{name}.{side}", array)
            write_json(self.root / f".{name}.objects", said)

        format.write(self.root / name, len(self.shards), keys, files_of, keep)
        self._take(name, said)
        self._passed = {}
        self._remove(keys)

    def _remove(self, keys: Sequence[str]) -> None:
        """Remove folders of objects that are in a shard; what is not ours in them stays."""
        for key in keys:
            folder = self.root / key
            if folder.is_dir():
                for path in folder.iterdir():
                    if is_own(path.name):
                        path.unlink(missing_ok=True)
                with suppress(OSError):
                    folder.rmdir()
            forget_note(self.root, key)

    def format(self, *, warnings: bool) -> ShardFormat:
        """What the members of the shards are.

        Args:
            warnings: Whether objects have warnings; tar files are the same either way.
        """
        kinds = kinds_from(self.plan["config"], self.plan["source"], warnings=warnings)
        return ShardFormat(int(self.plan["config"]["views"]), kinds, self._labels)

    def picture(self, key: str, view: int) -> NDArray[np.uint8]:
        """A view of an object in a shard, in true colors, for the contact sheet."""
        name = next(name for name, keys in self.shards.items() if key in keys)
        rows = np.load(self.root / f".{name}.index", mmap_mode="r", allow_pickle=False)
        row = rows[
            self.shards[name].index(key), view, self.format(warnings=True).kinds.index(IMAGE)
        ]
        with (self.root / name).open("rb") as tar:
            tar.seek(int(row["offset"]))
            data = tar.read(int(row["length"]))
        bgr = self.plan["config"]["channel_order"] == "bgr"
        return decode_image(data, self.root / name, channel_order="bgr" if bgr else "rgb")

    def finish(self, manifest: Manifest) -> list[str]:
        """Write the index, and remove what was known until then; remarks, one sentence each.

        Args:
            manifest: Of the set, written.
        """
        keys = [key for split in SPLITS for key, own in manifest.splits.items() if own == split]
        place = {key: index for index, key in enumerate(keys)}
        plan = [
            np.array([place[key] for key in own], dtype=np.int64) for own in self.shards.values()
        ]
        kinds = list(self.format(warnings=bool(manifest.warnings)).kinds)
        every = self.format(warnings=True).kinds
        for name in self.shards if len(kinds) < len(every) else ():
            path = self.root / f".{name}.index"
            rows = read_array(path)
            if rows.shape[2] == len(every):  # no object has warnings: no column for them
                write_array(path, np.delete(rows, every.index(WARNED), axis=2))
        shares = Shares(self.root, self.root, manifest, keys, plan, list(self.shards), kinds)
        remarks = shares.finish()
        for label in {key.split("/")[0] for key in self.order}:
            with suppress(OSError):
                (self.root / label).rmdir()
        tidy(self.root)
        return remarks


def tidy(root: Path) -> None:
    """Remove from a finished set of shards what its build kept meanwhile.

    Args:
        root: Its folder.
    """
    # two dots: what a killed process left of a file whose own name has one
    for kept in (".*.objects", ".*.index", ".*.latents", LAYOUT, "..*"):
        for left in root.glob(kept):
            left.unlink(missing_ok=True)
    remove_temporary(root / SHARDS)
    shutil.rmtree(root / ".notes", ignore_errors=True)
