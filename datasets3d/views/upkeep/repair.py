"""Rewrites what is damaged or missing in a data set, with the bytes that were there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.views.config import BuildConfig
from datasets3d.views.engines import Engine, Limits, check_workers, run_tasks
from datasets3d.views.index import list_files, picture_in
from datasets3d.views.latents import ViewLaw
from datasets3d.views.plan import flat_differences, key_of, refused, settings
from datasets3d.views.schema import PLAN, Manifest
from datasets3d.views.shards.layout import holds_shards
from datasets3d.views.storage import bytes_digest, digest_of, write_folder, writing
from datasets3d.views.upkeep.folder_lock import folder_lock
from datasets3d.views.upkeep.problem import Problem
from datasets3d.views.upkeep.recorded import recorded_config, recorded_source
from datasets3d.views.upkeep.repair_shards import (
    SCRATCH,
    mend_index,
    mend_shards,
    picture_in_shards,
)
from datasets3d.views.upkeep.verify import find_problems
from datasets3d.views.work import check_renderer, files_of_object, reason_of
from equivariant.errors import ConventionError, DataFormatError, StorageError
from equivariant.files import read_file
from equivariant.runs import json_bytes, write_atomically

CHANGED = "its mesh files are not those that it was rendered from"
OTHERWISE = "rendered anew it has other bytes than the manifest says"
ABSENT = "the source does not have it"


@dataclass(frozen=True)
class RepairReport:
    """What a repair found and did.

    Args:
        path: The data set's folder.
        found: What :func:`datasets3d.verify` said before, one sentence each.
        repaired: Names of objects and files that are as they were; in a dry run, of those that
            would be tried.
        left: What is still wrong, one sentence each.
        seconds: Wall time.
        foreign: Those of ``left`` that name what is not the set's.
    """

    path: Path
    found: list[str]
    repaired: list[str]
    left: list[str]
    seconds: float
    foreign: list[str] = field(default_factory=list)


def repair(
    root: Path | str,
    source: MeshSource | None = None,
    *,
    meshes: Path | str | None = None,
    law: ViewLaw | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    limits: Limits | None = None,
    dry_run: bool = False,
    progress: bool = True,
) -> RepairReport:
    """Rewrite what is damaged or missing in a finished data set, byte for byte as it was.

    Objects are rendered anew and compared with the manifest's checksums before anything is
    written; lists, fixed pairs, contact sheet and plan follow from the manifest. Files that are
    whole are not touched. What is foreign to the set is named and left alone. Of shards, the index
    is made anew from the tar files, and a damaged shard is written anew from the members that are
    whole and objects that are rendered.

    Args:
        root: Folder that ``build`` wrote.
        source: What it was built from. None makes it again from the manifest, where that says
            enough: procedural and articulated objects, folders with ``meshes``, variants of them.
        meshes: The folder of mesh files, where it was built from one.
        law: The law of the views, where it is not a plain ``ViewLaw``: its code is not recorded.
        workers: Processes; None takes every core.
        engine: "local" or "ray".
        limits: Time and memory that each object may take.
        dry_run: Say what would be done, and whether source and versions fit; write nothing.
        progress: Say on stderr that a build of the folder is waited for.

    Raises:
        DataFormatError: There is no readable manifest.
        ConventionError: The source is not recorded and not given, or source, law or versions are
            not those of the build.
        StorageError: A file cannot be written.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, build, verify
        >>> source = ProceduralMeshes(instances=1, classes=["chair"])
        >>> config, root = BuildConfig(views=2, size_px=16), Path(tempfile.mkdtemp())
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> (root / "chair" / "chair-000000" / "image_1.jpg").unlink()
        >>> report = repair(root, workers=1)
        >>> report.found, report.repaired, report.left
        (['chair/chair-000000 is damaged: without image_1.jpg'], ['chair/chair-000000'], [])
    """
    started = time.monotonic()
    root, workers = Path(root), check_workers(workers)
    manifest = Manifest.read(root)
    with folder_lock(root, shared=dry_run, progress=progress), writing(root):
        found = find_problems(root, manifest)
        work = _Repair(root, manifest, found, sharded=holds_shards(root))
        if not dry_run:
            work.mend_index()
        damaged = {p.name for p in work.found if p.kind == "object"}
        if damaged:
            made = source or recorded_source(
                manifest.source, meshes=None if meshes is None else Path(meshes)
            )
            work.prepare(made, law, damaged)
        if dry_run:
            work.check_meshes()
            repaired = sorted({p.name for p in found if p.kind != "foreign"} - set(work.reasons))
            remaining = [p for p in found if p.name not in repaired]
        else:
            work.render(workers=workers, engine=engine, limits=limits)
            work.mend_shards()
            work.write_lists()
            remaining = find_problems(root, manifest)
            repaired = sorted({p.name for p in found} - {p.name for p in remaining})
    return RepairReport(
        root, [p.text for p in found], repaired, [work.explained(p) for p in remaining],
        time.monotonic() - started, [p.text for p in remaining if p.kind == "foreign"],
    )  # fmt: skip


@dataclass
class _Repair:
    """One repair: what it needs and what it learns."""

    root: Path
    manifest: Manifest
    found: Sequence[Problem]
    sharded: bool = False
    new_index: bool = False
    reasons: dict[str, str] = field(default_factory=dict)
    entries: list[MeshEntry] = field(default_factory=list)
    task: RewriteObject | None = None

    def prepare(self, source: MeshSource, law: ViewLaw | None, damaged: set[str]) -> None:
        """Check that source, law and versions are those of the build; find the objects."""
        if self.manifest.law and law is None:
            raise ConventionError(
                expected=f"the law {self.manifest.law['class']}", got="none", argument="law",
                advice="The code of a law is not recorded: pass the one that it was built with.",
            )  # fmt: skip
        config = recorded_config(self.manifest.config, law=law)
        now, was = settings(source, config, 0), {**recorded_plan(self.manifest), "objects": 0}
        if not self.manifest.law:
            now.pop("law", None)  # sets of earlier versions do not record it
        differ = flat_differences(was, now)
        if differ:
            raise refused(self.root, differ)
        check_renderer(config, source)
        self.entries = [entry for entry in source.entries() if key_of(entry) in damaged]
        for key in damaged - {key_of(entry) for entry in self.entries}:
            self.reasons[key] = ABSENT
        self.task = RewriteObject(
            source, self.root / SCRATCH if self.sharded else self.root, config,
            self.manifest.digests, self.manifest.meshes,
        )  # fmt: skip

    def mend_index(self) -> None:
        """Make the index of shards anew where it is damaged; then members can be compared."""
        if not self.sharded:
            return
        shutil.rmtree(self.root / SCRATCH, ignore_errors=True)
        reasons, self.new_index = mend_index(self.root, self.found)
        self.reasons |= reasons
        now = find_problems(self.root, self.manifest)
        known = {problem.name for problem in now}
        self.found = [*now, *(p for p in self.found if p.kind == "file" and p.name not in known)]

    def mend_shards(self) -> None:
        """Write shards anew whose objects were damaged or that are damaged otherwise."""
        if not self.sharded:
            return
        try:
            left = mend_shards(self.root, self.manifest, self.found, new_index=self.new_index)
            self.reasons = {**left, **self.reasons}
        except DataFormatError:  # the index could not be made anew: each file of it is named
            return
        finally:
            shutil.rmtree(self.root / SCRATCH, ignore_errors=True)

    def check_meshes(self) -> None:
        """Name objects whose mesh files are not those that they were rendered from."""
        if self.task is None:
            return
        for entry in self.entries:
            if self.task.has_changed(entry):
                self.reasons[key_of(entry)] = CHANGED

    def render(self, *, workers: int, engine: Engine, limits: Limits | None) -> None:
        """Rewrite objects that are damaged or missing."""
        if self.task is None:
            return

        def lost(entry: MeshEntry, reason: str) -> tuple[str, str]:
            return key_of(entry), reason

        for key, reason in run_tasks(
            self.task, self.entries, workers=workers, engine=engine, limits=limits, lost=lost
        ):
            if reason:
                self.reasons[key] = reason

    def write_lists(self) -> None:
        """Rewrite lists, fixed pairs, contact sheet and plan where they come out as they were."""
        names = {problem.name for problem in self.found if problem.kind == "file"}
        if not names:
            return
        config = recorded_config(self.manifest.config)
        made = {PLAN: json_bytes(recorded_plan(self.manifest))}
        if names - {PLAN}:
            try:
                sharded = self.sharded
                picture = picture_in_shards(self.root) if sharded else picture_in(self.root, config)
                made |= list_files(picture, config, self.manifest.splits)
            except Exception as error:  # a picture of the contact sheet may be damaged for good
                self.reasons |= dict.fromkeys(names - {PLAN}, f"{type(error).__name__}: {error}")
        for name in sorted(names & set(made)):
            if bytes_digest(made[name]) == self.manifest.files.get(name, bytes_digest(made[name])):
                write_atomically(self.root / name, made[name])
            else:
                self.reasons[name] = "made anew it has other bytes than the manifest says"

    def explained(self, problem: Problem) -> str:
        """A problem that is left, with the reason where one is known."""
        reason = self.reasons.get(problem.name)
        return f"{problem.text}: {reason}" if reason else problem.text


@dataclass(frozen=True)
class RewriteObject:
    """The task of a repair: called with an object, it writes those of its files that are not as
    the manifest says.

    Args:
        source: Where the objects come from.
        root: The data set's folder.
        config: What and how.
        digests: Checksum of each object's files.
        meshes: Digest of each object's mesh files, where it is known.
    """

    source: MeshSource
    root: Path
    config: BuildConfig
    digests: dict[str, str]
    meshes: dict[str, str]

    def __call__(self, entry: MeshEntry) -> tuple[str, str]:
        """Returns the object's name, and why it could not be repaired; empty where it was."""
        key = key_of(entry)
        try:
            if self.has_changed(entry):
                return key, CHANGED
            files, _ = files_of_object(self.source, entry, self.config)
        except StorageError:  # no fault of the mesh
            raise
        except Exception as error:  # whatever a mesh provokes must not stop the others
            return key, reason_of(error, entry)
        if digest_of(files) != self.digests[key]:
            return key, OTHERWISE
        folder = self.root / key
        if not folder.is_dir():
            folder.unlink(missing_ok=True)  # a file, or a link that leads nowhere
            write_folder(folder, files)
        for name, content in files.items():
            path = folder / name
            if not path.is_file() or read_file(path) != content:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                write_atomically(path, content)
        return key, ""

    def has_changed(self, entry: MeshEntry) -> bool:
        """Whether an object's mesh files are not those noted, where any are."""
        key = key_of(entry)
        return key in self.meshes and self.source.fingerprint(entry) != self.meshes[key]


def recorded_plan(manifest: Manifest) -> dict[str, Any]:
    """The plan that a manifest was made by."""
    plan: dict[str, Any] = {
        "format_version": manifest.format_version,
        "config": manifest.config,
        "source": manifest.source,
        "objects": len(manifest.splits) + len(manifest.failed),
        "versions": manifest.versions,
    }
    return {**plan, "law": manifest.law} if manifest.law else plan
