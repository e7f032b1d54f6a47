"""``equivariant suite``: four sets of the same objects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from datasets3d.suites.suite import build_suite, estimate_suite, suite_laws
from datasets3d.views.passes.kinds import PassName
from equivariant.commands.build import Build
from equivariant.commands.terminal import duration, extent, say, size


@dataclass(frozen=True)
class Suite:
    """Build four sets of the same objects: training law, unseen rotations, motions, sequences.

    OUT/box is 3DIEBench's law. OUT/shell has the rotations that box never shows, for evaluation
    out of distribution. OUT/translation adds the object's place, ±0.5 along each axis, as in
    3DIEBench-T. In OUT/sequences the object moves through sequences of views, with the element of
    each step recorded in the latents. All hold out the same objects and have fixed pairs,
    val_pairs.npy. Started again, an interrupted suite goes on.

    Args:
        out: Folder of the suite.
        meshes: Folder or archive of mesh files, as `equivariant build` takes it; without it,
            procedural objects are made.
        up: Axis that points up in the mesh files.
        instances: Procedural objects per class, when there is no mesh folder.
        views: Views of every object in each set.
        length: Views of a sequence.
        angle_deg: Half the side of box in degrees, which shell leaves out.
        size: Side of the square images in pixels.
        seed: Of all sets.
        renderer: embree needs nothing else; pyrender and blender are extras.
        val_fraction: Share of objects held out where the folder does not say, 0 to 1.
        passes: What is written of every view beside its picture, as in `equivariant build`.
        workers: Processes; 0 takes every core.
        cache: Folder that keeps converted meshes, which all four sets then share.
        dry_run: Render a few objects, say what is left to do, its time and size; write nothing.
    """

    out: Annotated[Path, tyro.conf.Positional]
    meshes: Path | None = None
    up: Literal["x", "y", "z"] = "y"
    instances: int = 100
    views: int = 50
    length: int = 10
    angle_deg: float = 90.0
    size: int = 128
    seed: int = 0
    renderer: str = "embree"
    val_fraction: float = 0.2
    passes: tuple[PassName, ...] = ()
    workers: int = 0
    cache: Path | None = None
    dry_run: bool = False

    def __call__(self) -> None:
        one = Build(
            self.out, meshes=self.meshes, up=self.up, instances=self.instances, views=self.views,
            size=self.size, seed=self.seed, renderer=self.renderer, cache=self.cache,
            val_fraction=self.val_fraction, passes=self.passes,
        )  # fmt: skip
        source, config, workers = one.source(), one.config(), self.workers or None
        laws = suite_laws(length=self.length, angle_rad=math.radians(self.angle_deg))
        if self.dry_run:
            plans = estimate_suite(source, self.out, config=config, laws=laws, workers=workers)
            for name, plan in plans.items():
                say(f"{name}: {plan.images:,} images, {duration(plan.seconds)}, {size(plan.bytes)}")
            say("nothing was written")
            return
        reports = build_suite(
            source, self.out, config=config, laws=laws, workers=workers, limits=one.limits()
        )
        for name, report in reports.items():
            say(f"{name}: {extent(report.objects, report.images)} in {report.path}")
            for key, reason in sorted(report.failed.items()):
                say(f"set aside in {name}: {key}: {reason}")
            for remark in report.remarks:
                say(f"note on {name}: {remark}")
