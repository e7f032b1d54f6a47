"""equivariant verify"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from datasets3d import repair
from datasets3d.views.schema import Manifest
from datasets3d.views.upkeep.verify import find_problems
from equivariant.commands.build import limits
from equivariant.commands.terminal import counted, duration, say
from equivariant.errors import DataFormatError


@dataclass(frozen=True)
class Verify:
    """Compare a data set with its checksums, every byte; rewrite what is damaged with --repair.

    Without options, says what is missing, damaged or foreign, and ends with status 1 where
    anything is. With --repair, damaged and missing objects are rendered anew, from what the set
    says it was built from, and written only where their bytes are those of before; lists, contact
    sheet and plan are made again. Files that are whole are not touched, foreign ones left alone.
    Damaged shards are written anew from what is whole in them and objects that are rendered.

    `equivariant verify DATA --repair --dry-run` says what would be rewritten, and whether meshes
    and versions of packages are those of the build.

    Args:
        data: Folder that `equivariant build` wrote, or `equivariant export --format shards`.
        repair: Rewrite what is damaged or missing.
        meshes: The folder of mesh files, or archive, if it was built from one: its place is not
            recorded.
        dry_run: With --repair: say what would be done, write nothing.
        workers: Processes for rendering; 0 takes every core.
        engine: local processes, or a ray cluster (extra "ray").
        object_seconds: Give up objects that take longer; 0 for no limit.
        object_gib: Give up objects that need more memory than so many GiB; 0 for no limit.
    """

    data: Annotated[Path, tyro.conf.Positional]
    repair: bool = False
    meshes: Path | None = None
    dry_run: bool = False
    workers: int = 0
    engine: Literal["local", "ray"] = "local"
    object_seconds: float = 3600.0
    object_gib: float = 0.0

    def __call__(self) -> None:
        if not self.repair:
            problems = find_problems(self.data, Manifest.read(self.data))
            foreign = [p.text for p in problems if p.kind == "foreign"]
            self._found([p.text for p in problems], foreign=len(foreign))
            return
        report = repair(
            self.data, meshes=self.meshes, workers=self.workers or None, engine=self.engine,
            limits=limits(self.object_seconds, self.object_gib), dry_run=self.dry_run,
        )  # fmt: skip
        for name in report.repaired:
            say(f"{'would rewrite' if self.dry_run else 'repaired'}: {name}")
        if self.dry_run:
            for sentence in report.left:
                say(f"would leave: {sentence}")
            say(f"{counted(len(report.found), 'problem')}; nothing was written")
            return
        say(f"{len(report.repaired):,} repaired in {duration(report.seconds)}")
        self._found(report.left, foreign=len(report.foreign))

    def _found(self, problems: list[str], *, foreign: int) -> None:
        for problem in problems:
            say(problem)
        damaged = len(problems) - foreign
        if problems:
            raise DataFormatError(
                expected="a data set as it was built",
                got=f"{damaged:,} missing or damaged, {foreign:,} foreign",
                argument=str(self.data), advice=self._advice(damaged, foreign),
            )  # fmt: skip
        say("every file is as it was built")

    def _advice(self, damaged: int, foreign: int) -> str:
        """What to do about what was found."""
        if not damaged:
            return "The set is whole; move what is foreign elsewhere."
        if self.repair:
            return "Each is named above."
        return "`equivariant verify DATA --repair` rewrites what is damaged or missing."
