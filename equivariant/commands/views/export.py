"""equivariant export"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from datasets3d.exports.export import ExportFormat, export
from datasets3d.views.shards.write import GIGABYTE, ShardSize
from equivariant.commands.terminal import extent, say
from equivariant.errors import ConventionError


def shard_size(images: int, gigabytes: float) -> ShardSize:
    """How large shards become, from the options of a command.

    Args:
        images: Of each; 0 takes as many as make about the bytes.
        gigabytes: About so many for each.

    Raises:
        ConventionError: A number is negative, or no number.
    """
    if not (images >= 0 and 0.0 < gigabytes < math.inf):
        raise ConventionError(
            expected="images of 0 or more, and a positive number of GB",
            got=f"{images} and {gigabytes}", argument="--shard-images, --shard-gb",
            advice="Leave them out for shards of about 1 GB.",
        )  # fmt: skip
    return ShardSize(images or None, max(1, round(gigabytes * GIGABYTE)))


@dataclass(frozen=True)
class Export:
    """Write a data set for other readers: WebDataset, NeRF and instant-ngp, BOP, COCO.

    shards needs no pass and keeps every byte: tar files in the WebDataset convention, train and
    val apart, of about 1 GB each (--shard-images, --shard-gb), with an index for random access.
    Millions of small files become hundreds of large ones; ThreeDIEBench and verify read both:

        equivariant export DATA --format shards --out SHARDS
        equivariant verify SHARDS
        equivariant export SHARDS --format folders --out COPY

    A call that was stopped goes on. index.parquet, for other tools, needs the extra "shards".

    folders writes such a set as folders again, with the bytes of before.

    For the others the set must have been built with the passes that the layout needs:

        equivariant build DATA --passes rgba depth mask
        equivariant export DATA --format nerf --out SCENES

    nerf needs rgba: a scene per object, transforms.json and pictures without floor. The camera of
    a set stands still and the object turns, so the camera moves about the object; the light does,
    too. Build with --fixed-light to keep its place relative to the camera.

    bop needs depth and mask: a scene per object with poses in millimetres, 16-bit depth, masks,
    and the models. Of a set built from mesh files, name their folder with --meshes.

    coco needs mask: instances_train.json and instances_val.json with run-length masks. Pictures
    stay in DATA, which is the folder of images that readers ask for.

    But for shards, the folder is written whole or not at all.

    Args:
        data: Folder that `equivariant build` wrote; for folders, one of shards.
        format: shards, folders, nerf, bop or coco.
        out: A folder that is not there yet, or is empty; for shards, also one half done.
        meshes: For bop: the folder of mesh files that the set was built from.
        shard_images: For shards: images of each; 0 takes as many as make --shard-gb.
        shard_gb: For shards: about so many GB for each.
        quiet: Show no progress bar.
    """

    data: Annotated[Path, tyro.conf.Positional]
    format: ExportFormat
    out: Path
    meshes: Path | None = None
    shard_images: int = 0
    shard_gb: float = 1.0
    quiet: bool = False

    def __call__(self) -> None:
        report = export(
            self.data, self.out, format=self.format, meshes=self.meshes,
            shard_size=shard_size(self.shard_images, self.shard_gb), progress=not self.quiet,
        )  # fmt: skip
        say(f"{extent(report.objects, report.images)} in {report.path}")
        for remark in report.remarks:
            say(f"note: {remark}")
