"""What a data set says of itself: the seven numbers of a view, conventions, and the manifest."""

from __future__ import annotations

import hashlib
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from equivariant.errors import DataFormatError
from equivariant.runs import json_bytes, read_json, write_json

FORMAT_VERSION = 1
PLAN, MANIFEST, SHEET = "plan.json", "manifest.json", "contact_sheet.png"
FIXED_PAIRS = "val_pairs.npy"
LISTS = (
    "train_images.npy",
    "train_labels.npy",
    "val_images.npy",
    "val_labels.npy",
    FIXED_PAIRS,
)

CONVENTIONS = {
    "world": "right-handed, +z up; the camera is fixed, the object turns about the origin",
    "rotation": "world from object, acting on columns: R = Rz(c) Ry(b) Rx(a), extrinsic x, y, z",
    "angles": "radians",
    "hues": "turns, in [0, 1]; differences are not wrapped",
    "spot": "at distance 4, polar angle theta from +z and azimuth phi, aimed at the origin",
    "images": "sRGB, row 0 on top",
    "digests": "BLAKE2b, 128 bits, over '<name> <size> <content>' of an object's files by name",
}


@dataclass(frozen=True)
class Column:
    """One number of a latent.

    Args:
        name: What it is.
        unit: "rad", "turn" for a hue, "scene" for the scene's unit of length, "mm", or "1".
        meaning: One sentence.
    """

    name: str
    unit: str
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("rotation_x_rad", "rad", "a of R = Rz(c) Ry(b) Rx(a): extrinsic turn about x"),
    Column("rotation_y_rad", "rad", "b of R = Rz(c) Ry(b) Rx(a): extrinsic turn about y"),
    Column("rotation_z_rad", "rad", "c of R = Rz(c) Ry(b) Rx(a): extrinsic turn about z, up"),
    Column("floor_hue", "turn", "hue of the floor, HSV(h, 0.6, 0.6)"),
    Column("spot_theta_rad", "rad", "angle of the spot light from +z"),
    Column("spot_phi_rad", "rad", "azimuth of the spot light"),
    Column("spot_hue", "turn", "hue of the spot light, HSV(h, 1, 0.8)"),
)


@dataclass(frozen=True)
class Manifest:
    """Everything about a data set but its pixels; the last file that a build writes.

    It names no time, no machine and no absolute path, so equal builds have equal manifests.

    Args:
        format_version: Of this file.
        config: Settings of the build, as :class:`~datasets3d.views.config.BuildConfig` has them.
        source: Settings that determine the meshes.
        versions: Of the packages that determine pixels.
        conventions: Axes, units and orders, in words.
        latent_columns: Name, unit, meaning and range of each number of a latent.
        labels: Names of the classes; a class's number is its place here.
        splits: "train" or "val" of each object, by ``<class>/<object id>``.
        digests: Checksum of each object's files.
        failed: Reasons of the objects set aside.
        files: Checksums of plan, lists and contact sheet.
        warnings: What of each object is not shown as its file says, by ``<class>/<object id>``.
        ignored: How many files and folders beside the meshes were not read, and the first of them.
        law: Name and digest of the source of a law that is not ours; empty of one that is.
        meshes: Digest of the files that each object was made from, where there are any.
        checksum: Of all the other fields; empty in manifests of earlier versions.
    """

    format_version: int
    config: dict[str, Any]
    source: dict[str, Any]
    versions: dict[str, str]
    conventions: dict[str, str]
    latent_columns: list[dict[str, Any]]
    labels: list[str]
    splits: dict[str, str]
    digests: dict[str, str]
    failed: dict[str, str]
    files: dict[str, str]
    warnings: dict[str, list[str]] = field(default_factory=dict)
    ignored: dict[str, Any] = field(default_factory=dict)
    law: dict[str, str] = field(default_factory=dict)
    meshes: dict[str, str] = field(default_factory=dict)
    checksum: str = ""

    @staticmethod
    def read(root: Path | str) -> Manifest:
        """The manifest of a data set.

        Args:
            root: The data set's folder.

        Raises:
            DataFormatError: It is missing, damaged, or of another version.
        """
        path = Path(root) / MANIFEST
        if not path.is_file():
            raise _no_manifest(Path(root))
        try:
            value = read_json(path)
        except DataFormatError as error:
            raise DataFormatError(
                expected=error.expected, got=error.got, argument=error.argument, advice=_DAMAGED
            ) from error
        version = value.get("format_version") if isinstance(value, dict) else None
        known = {field.name for field in fields(Manifest)}
        if version != FORMAT_VERSION or not known - _LATER <= set(value) <= known:
            raise DataFormatError(
                expected=f"a manifest of format {FORMAT_VERSION}",
                got=f"format {version!r}" if version != FORMAT_VERSION else "other fields",
                argument=str(path),
                advice="It is damaged or of another version: build the data set again.",
            )
        found = Manifest(**value)
        wrong = [f.name for f in fields(Manifest) if type(value.get(f.name)) is not _KINDS[f.name]]
        if set(wrong) - (_LATER - set(value)) or found.checksum not in ("", found.sum()):
            raise DataFormatError(
                expected="a manifest as it was written", got="one that has changed since",
                argument=str(path),
                advice=_DAMAGED,
            )  # fmt: skip
        return found

    def sum(self) -> str:
        """Checksum of all fields but itself, 32 hexadecimal digits."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "checksum"}
        return hashlib.blake2b(json_bytes(content), digest_size=16).hexdigest()

    def write(self, root: Path) -> None:
        """Write it with its checksum and sorted keys, atomically."""
        write_json(root / MANIFEST, replace(self, checksum=self.sum()))


_DAMAGED = "It is damaged: bring it back from a copy, or remove it and build again."


def _no_manifest(root: Path) -> DataFormatError:
    """What is said of a folder that is no finished data set."""
    begun = (root / PLAN).is_file()
    return DataFormatError(
        expected="a data set, whose last file is its manifest",
        got="one whose build has not ended" if begun else
        "a folder without one" if root.is_dir() else "no such folder",
        argument=str(root / MANIFEST),
        advice="Call the same build again: it goes on." if begun else "Check the path.",
    )  # fmt: skip


_LATER = {field.name for field in fields(Manifest) if field.default is not MISSING} | {
    field.name for field in fields(Manifest) if field.default_factory is not MISSING
}
_KINDS = {
    field.name: {"int": int, "str": str, "list": list, "dict": dict}[str(field.type).split("[")[0]]
    for field in fields(Manifest)
}
