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
from datasets3d.views.passes.kinds import PassName, recorded_passes
from datasets3d.views.schema import Manifest
from datasets3d.views.storage import writing
from equivariant.errors import ConventionError

ExportFormat = Literal["nerf", "bop", "coco"]

NEEDED: dict[ExportFormat, tuple[PassName, ...]] = {
    "nerf": ("rgba",),
    "bop": ("depth", "mask"),
    "coco": ("mask",),
}
_WRITERS: dict[ExportFormat, Callable[[ExportedSet, Path], None]] = {
    "nerf": write_nerf,
    "bop": write_bop,
    "coco": write_coco,
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
    progress: bool = True,
) -> ExportReport:
    """Write a set that was built with passes in another layout, whole or not at all.

    ========= ================= ==================================================================
    format    needs the passes  writes
    ========= ================= ==================================================================
    nerf      rgba              per object ``transforms.json`` and pictures without floor
    bop       depth, mask       per object a scene: poses, 16-bit depth, masks, and the models
    coco      mask              ``instances_train.json``, ``instances_val.json``; pictures stay
    ========= ================= ==================================================================

    The camera of a view stands still and its object turns; so for "nerf" it is the camera that
    moves about the object, and floor and light, which would move with it, are a different matter:
    the floor is left out, and the light is as the set has it (see :mod:`datasets3d.exports.nerf`).

    Args:
        root: The set's folder.
        out: A folder that is not there yet, or is empty.
        format: Which layout.
        meshes: For "bop", of sets that were built from mesh files: their folder, for the models.
        progress: Show a bar on stderr.

    Raises:
        ConventionError: A pass that is needed was not built, objects have joints and the layout
            is of rigid ones, or there is something in ``out``.
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
    return ExportReport(out, len(one.keys), len(one.keys) * one.views, one.remarks)


def _check(manifest: Manifest, format: ExportFormat) -> None:
    names = recorded_passes(manifest.config)
    lacking = [name for name in NEEDED[format] if name not in names]
    if lacking:
        raise ConventionError(
            expected=f"a set with the passes {', '.join(NEEDED[format])}",
            got=f"one with {', '.join(names) or 'none'}", argument="root",
            advice=f"Build one with --passes {' '.join(lacking)}; they are not added to a set "
            "that is there.",
        )  # fmt: skip
    if format != "coco" and manifest.source.get("source") == ArticulatedMeshes.kind:
        raise ConventionError(
            expected="rigid objects", got="objects with joints, each view in a state of its own",
            argument="root", advice=f'The layout "{format}" has one pose for each object.',
        )  # fmt: skip
