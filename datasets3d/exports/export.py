"""One door to every layout: checks what is needed, writes all or nothing."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from datasets3d.exports.bop import write_bop
from datasets3d.exports.coco import write_coco
from datasets3d.exports.exported_set import ExportedSet
from datasets3d.exports.nerf import write_nerf
from datasets3d.meshes.articulated import ArticulatedMeshes
from datasets3d.scenes.record import KIND
from datasets3d.views.passes.kinds import PassName, recorded_passes
from datasets3d.views.schema import Manifest
from datasets3d.views.shards.folders import export_folders
from datasets3d.views.shards.layout import is_sharded, refuse_shards
from datasets3d.views.shards.write import ShardSize, export_shards
from datasets3d.views.storage import writing
from equivariant.errors import ConventionError

ExportFormat = Literal["nerf", "bop", "coco", "shards", "folders"]

NEEDED: dict[ExportFormat, tuple[PassName, ...]] = {
    "nerf": ("rgba",),
    "bop": ("depth", "mask"),
    "coco": ("mask",),
    "shards": (),
    "folders": (),
}
NEEDED_OF_SCENES: dict[ExportFormat, tuple[PassName, ...]] = {"bop": ("depth", "silhouettes")}
_WRITERS: dict[ExportFormat, Callable[[ExportedSet, Path], None]] = {
    "nerf": write_nerf,
    "bop": write_bop,
    "coco": write_coco,
    "folders": lambda one, out: export_folders(one.root, out, progress=one.progress),
}


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Args:
        path: Its folder.
        objects: How many.
        images: How many, over all objects.
        remarks: What whoever uses it should know, one sentence each.
    """

    path: Path
    objects: int
    images: int
    remarks: list[str]


def export(
    root: Path | str,
    out: Path | str,
    *,
    format: ExportFormat,
    meshes: Path | str | None = None,
    shard_size: ShardSize | None = None,
    progress: bool = True,
) -> ExportReport:
    """Write a set in another layout, whole or not at all.

    ========= ================= ==================================================================
    format    needs the passes  writes
    ========= ================= ==================================================================
    nerf      rgba              per object ``transforms.json`` and pictures without floor
    bop       depth, mask       per object a scene: poses, 16-bit depth, masks, and the models
    coco      mask              ``instances_train.json``, ``instances_val.json``; pictures stay
    shards    none              tar files in the WebDataset convention, with an index
    folders   none              of a set of shards: the folder layout, with the bytes of before
    ========= ================= ==================================================================

    The camera of a view stands still and its object turns; so for "nerf" it is the camera that
    moves about the object, and floor and light, which would move with it, are a different matter:
    the floor is left out, and the light is as the set has it (see :mod:`datasets3d.exports.nerf`).

    "shards" keeps every byte of the set, and goes on where a call was stopped; its readers and
    the layout are explained in :mod:`datasets3d.views.shards.layout`.

    Of scenes of several objects "bop" needs depth and silhouettes, and "coco" nothing.

    Args:
        root: The set's folder.
        out: A folder that is not there yet, or is empty; for "shards" also one in which the same
            call was stopped.
        format: Which layout.
        meshes: For "bop", of sets that were built from mesh files: their folder, for the models.
        shard_size: For "shards": how large they become; None makes them about 1 GB.
        progress: Show a bar on stderr.

    Raises:
        ConventionError: A pass that is needed was not built, objects have joints and the layout
            is of rigid ones, there is something in ``out``, or the set is in shards and the layout
            needs folders, or the other way round.
        DataFormatError: A file is missing or damaged; names it.
        StorageError: The place is read-only or full.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, build
        >>> source, root = ProceduralMeshes(instances=1, classes=["chair"]), tempfile.mkdtemp()
        >>> config = BuildConfig(views=2, size_px=16, passes=("mask",))
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> out = Path(tempfile.mkdtemp()) / "coco"
        >>> report = export(root, out, format="coco", progress=False)
        >>> report.objects, report.images, sorted(p.name for p in out.iterdir())
        (1, 2, ['instances_train.json', 'instances_val.json'])
    """
    root, out = Path(root), Path(out)
    if format not in get_args(ExportFormat):
        raise ConventionError(
            expected=f"one of {', '.join(get_args(ExportFormat))}", got=repr(format),
            argument="format", advice="Each is explained in the documentation of export.",
        )  # fmt: skip
    manifest = Manifest.read(root)
    _check(manifest, format)
    _check_layout(root, format)
    if format == "shards":
        remarks = export_shards(root, out, shard_size, progress=progress)
        return _report(out, manifest, remarks)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConventionError(
            expected="a folder that is empty or not there", got="something else",
            argument=str(out), advice="Choose another folder, or remove this one.",
        )  # fmt: skip
    one = ExportedSet(root, manifest, None if meshes is None else Path(meshes), progress)
    partial = out.parent / f".{out.name}.partial-{uuid.uuid4().hex}"
    with writing(out):
        try:
            partial.mkdir(parents=True)
            _WRITERS[format](one, partial)
            if out.is_dir():
                out.rmdir()
            os.replace(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _report(out, manifest, one.remarks)


def _report(out: Path, manifest: Manifest, remarks: list[str]) -> ExportReport:
    objects = len(manifest.splits)
    return ExportReport(out, objects, objects * int(manifest.config["views"]), remarks)


def _check_layout(root: Path, format: ExportFormat) -> None:
    """Raise ConventionError where a set is not in the layout that a format starts from."""
    if format != "folders":
        refuse_shards(root)
    elif not is_sharded(root):
        raise ConventionError(
            expected="a set of shards", got="one in the folder layout", argument="root",
            advice="It is what the format folders would write.",
        )  # fmt: skip


def _check(manifest: Manifest, format: ExportFormat) -> None:
    names = recorded_passes(manifest.config)
    scenes = manifest.source.get("source") == KIND
    if scenes and format == "nerf":
        raise ConventionError(
            expected="one object in each view", got="scenes of several", argument="root",
            advice="The camera of NeRF's layout moves about a scene that stands still; here every "
            "object has another pose in each view. Use bop, which has a pose of each.",
        )  # fmt: skip
    needed = NEEDED_OF_SCENES.get(format, ()) if scenes else NEEDED[format]
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise ConventionError(
            expected=f"a set with the passes {', '.join(needed)}",
            got=f"one with {', '.join(names) or 'none'}", argument="root",
            advice=f"`equivariant build DATA --add --passes {' '.join(lacking)}` adds them.",
        )  # fmt: skip
    if format in ("nerf", "bop") and manifest.source.get("source") == ArticulatedMeshes.kind:
        raise ConventionError(
            expected="rigid objects", got="objects with joints, each view in a state of its own",
            argument="root", advice=f'The layout "{format}" has one pose for each object.',
        )  # fmt: skip
