"""equivariant export"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from datasets3d.exports.export import ExportFormat, export
from equivariant.commands.terminal import say


@dataclass(frozen=True)
class Export:
    """Write a data set for other readers: NeRF and instant-ngp, BOP, COCO.

    The set must have been built with the passes that the layout needs:

        equivariant build DATA --passes rgba depth mask
        equivariant export DATA --format nerf --out SCENES

    nerf needs rgba: a scene per object, transforms.json and pictures without floor. The camera of
    a set stands still and the object turns, so the camera moves about the object; the light does,
    too. Build with --fixed-light to keep its place relative to the camera.

    bop needs depth and mask: a scene per object with poses in millimetres, 16-bit depth, masks,
    and the models. Of a set built from mesh files, name their folder with --meshes.

    coco needs mask: instances_train.json and instances_val.json with run-length masks. Pictures
    stay in DATA, which is the folder of images that readers ask for.

    The folder is written whole or not at all.

    Args:
        data: Folder that `equivariant build` wrote.
        format: nerf, bop or coco.
        out: A folder that is not there yet, or is empty.
        meshes: For bop: the folder of mesh files that the set was built from.
        quiet: Show no progress bar.
    """

    data: Annotated[Path, tyro.conf.Positional]
    format: ExportFormat
    out: Path
    meshes: Path | None = None
    quiet: bool = False

    def __call__(self) -> None:
        report = export(
            self.data, self.out, format=self.format, meshes=self.meshes, progress=not self.quiet
        )
        say(f"{report.objects:,} objects, {report.images:,} images in {report.path}")
        for remark in report.remarks:
            say(f"note: {remark}")
