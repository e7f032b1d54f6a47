"""Names and types of a set of shards.

    ROOT/shards.json                  what a reader must know; written last
    ROOT/{train,val}-000000.tar       views in the WebDataset convention
    ROOT/index.npy                    shard, offset, length, checksum; [object, view, kind]
    ROOT/latents.npy                  [object, view, column], float64
    ROOT/objects.npy                  name and class of every object: train, then val, as listed
    ROOT/index.parquet                the same for other tools, one row per view (extra "shards")
    ROOT/manifest.json, plan.json, {train,val}_images.npy, ...     as in the folder layout

A view is the sample ``<class>/<object>/<view>``: members that follow one another and differ after
the first dot of their last part. ``0.jpg`` is ``image_0.jpg`` of the folder layout,
``0.latent.npy`` is ``latent_0.npy``, ``0.depth.npz`` is ``depth_0.npz``; ``0.cls`` is the number
of the class in ASCII; what belongs to an object as a whole is in its first view,
``0.object.warnings.json``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from datasets3d.scenes.record import SCENE
from datasets3d.views.parts import MECHANISM, names_of
from datasets3d.views.passes.kinds import files_of_passes, recorded_passes
from datasets3d.views.schema import Manifest
from datasets3d.views.storage import WARNINGS, ChannelOrder
from equivariant.errors import ConventionError, DataFormatError
from equivariant.runs import json_bytes, read_json, write_json

SHARDS, INDEX, LATENTS, OBJECTS, PARQUET = (
    "shards.json", "index.npy", "latents.npy", "objects.npy", "index.parquet"
)  # fmt: skip
SHARDS_VERSION = 1
IMAGE, LATENT, LABEL, OF_OBJECT = "jpg", "latent.npy", "cls", "object."
ROW = np.dtype([("offset", "<u8"), ("length", "<u4"), ("shard", "<u4"), ("checksum", "u1", (16,))])
"""Where a member's content is; offset 0, where no content can be, means that there is none."""
_OF_OBJECT = (MECHANISM, WARNINGS, SCENE)


def is_sharded(root: Path) -> bool:
    """Whether a folder holds a finished set of shards."""
    return (root / SHARDS).is_file()


def holds_shards(root: Path) -> bool:
    """Whether a folder holds a set of shards, though what says so may be lost."""
    tars = (path for split in ("train", "val") for path in root.glob(f"{split}-*.tar"))
    return is_sharded(root) or next(tars, None) is not None


def refuse_shards(root: Path) -> None:
    """Raise ConventionError where a folder holds shards and the folder layout is needed."""
    if is_sharded(root):
        raise ConventionError(
            expected="a set in the folder layout", got="a set of shards", argument=str(root),
            advice="`equivariant export DATA --format folders` writes it as folders.",
        )  # fmt: skip


def kinds_of(manifest: Manifest) -> list[str]:
    """What is kept of views: the ends of their members' names, in the order of a shard.

    Args:
        manifest: Of the set.
    """
    return kinds_from(manifest.config, manifest.source, warnings=bool(manifest.warnings))


def kinds_from(
    config: Mapping[str, Any], source: Mapping[str, Any], *, warnings: bool
) -> list[str]:
    """:func:`kinds_of` a set that has no manifest yet.

    Args:
        config: What its plan says of views.
        source: What it says of the source.
        warnings: Whether any object has warnings.
    """
    files = files_of_passes(recorded_passes(config), 1) | names_of(dict(source), 1)
    if warnings:
        files.add(WARNINGS)
    further = [kind_of(name) for name in files]
    return [IMAGE, LATENT, LABEL, *sorted(k for k in further if not k.startswith(OF_OBJECT)),
            *sorted(k for k in further if k.startswith(OF_OBJECT))]  # fmt: skip


def kind_of(name: str) -> str:
    """The end of a member's name for a file of the folder layout.

    Example:
        >>> kind_of("image_3.jpg"), kind_of("latent_3.npy"), kind_of("warnings.json")
        ('jpg', 'latent.npy', 'object.warnings.json')
    """
    if name in _OF_OBJECT:
        return OF_OBJECT + name
    stem, _, suffix = name.rpartition(".")
    word = stem.rpartition("_")[0]
    return IMAGE if (word, suffix) == ("image", "jpg") else f"{word}.{suffix}"


def file_of(kind: str, view: int) -> str:
    """Name of a member's file in the folder layout; empty where it has none.

    Example:
        >>> file_of("jpg", 3), file_of("object.warnings.json", 0), file_of("cls", 0)
        ('image_3.jpg', 'warnings.json', '')
    """
    if kind == LABEL:
        return ""
    if kind.startswith(OF_OBJECT):
        return kind.removeprefix(OF_OBJECT)
    word, _, suffix = kind.rpartition(".")
    return f"{word or 'image'}_{view}.{suffix}"


def member_name(key: str, view: int, kind: str) -> str:
    """Name of a member of a shard.

    Example:
        >>> member_name("chair/x", 3, "latent.npy")
        'chair/x/3.latent.npy'
    """
    return f"{key}/{view}.{kind}"


@dataclass(frozen=True)
class ShardSet:
    """What ``shards.json`` says; it grows with the number of shards alone.

    Args:
        views: Views of every object.
        channel_order: Order of colors in the pictures.
        labels: Names of the classes.
        kinds: What is kept of a view, see :func:`kinds_of`.
        columns: Names of the numbers of a latent.
        joints: How many of them, the last ones, are states of joints.
        objects: How many of them are in "train" and in "val".
        shards: Names, in the numbering of the index.
        bytes: Their sizes.
        files: Checksums of the index and what else belongs to it.
        format_version: Of this file.
        checksum: Of all the other fields.
    """

    views: int
    channel_order: ChannelOrder
    labels: list[str]
    kinds: list[str]
    columns: list[str]
    joints: int
    objects: dict[str, int]
    shards: list[str]
    bytes: list[int]
    files: dict[str, str] = field(default_factory=dict)
    format_version: int = SHARDS_VERSION
    checksum: str = ""

    @property
    def number(self) -> int:
        """Objects of both splits."""
        return self.objects["train"] + self.objects["val"]

    @staticmethod
    def read(root: Path) -> ShardSet:
        """What a set of shards says of itself.

        Args:
            root: Its folder.

        Raises:
            DataFormatError: The file is missing, damaged or of another version.
        """
        value = read_json(root / SHARDS)
        version = value.get("format_version") if isinstance(value, dict) else None
        known = {f.name for f in fields(ShardSet)}
        if version != SHARDS_VERSION or set(value) != known:
            raise _damaged(root, f"format {version!r}")
        found = ShardSet(**value)
        if found.checksum != found.sum():
            raise _damaged(root, "one that has changed since it was written")
        return found

    def sum(self) -> str:
        """Checksum of all fields but itself."""
        return hashlib.blake2b(json_bytes(self._content()), digest_size=16).hexdigest()

    def write(self, root: Path) -> None:
        """Write it with its checksum, atomically."""
        write_json(root / SHARDS, self._content() | {"checksum": self.sum()})

    def _content(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "checksum"}


def _damaged(root: Path, got: str) -> DataFormatError:
    return DataFormatError(
        expected=f"the description of a set of shards, format {SHARDS_VERSION}", got=got,
        argument=str(root / SHARDS),
        advice="It is damaged or of another version: export the set again.",
    )  # fmt: skip
