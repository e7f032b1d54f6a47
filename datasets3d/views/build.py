"""Plan, render, write: from a source of meshes to a data set in 3DIEBench's layout."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.views.config import BuildConfig
from datasets3d.views.engines import Engine, Limits, check_workers, run_tasks
from datasets3d.views.index import remarks_on, write_index
from datasets3d.views.object_notes import Note, read_notes, remove_notes
from datasets3d.views.plan import check_shard, key_of, note_plan, objects_of
from datasets3d.views.schema import MANIFEST, PLAN, Manifest
from datasets3d.views.shards.layout import is_sharded
from datasets3d.views.shards.packing import LAYOUT, Layout, Packing, check_layout, tidy
from datasets3d.views.shards.write import ShardSize
from datasets3d.views.storage import digest, remove_partial, warnings_of, writing
from datasets3d.views.upkeep.folder_lock import folder_lock
from datasets3d.views.upkeep.growth import (
    as_in_set,
    begin_to_grow,
    check_meshes,
    gains_passes,
    grows,
    known_notes,
)
from datasets3d.views.work import (
    Outcome,
    RenderObject,
    Wanted,
    check_first_object,
    check_renderer,
    is_whole,
    left_to_render,
)
from equivariant.runs import read_json
from renderers import RendererError

IMAGES_PER_CHUNK = 64


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Args:
        path: The data set's folder.
        objects: Objects that are complete.
        images: Images that are there.
        rendered: Images that this call rendered; the others were there before.
        failed: Reasons of the objects set aside, by ``<class>/<object id>``.
        seconds: Wall time of this call.
        warnings: What of each complete object is not shown as its file says, by the same names.
        ignored: Files and folders beside the meshes that were not read; none named of a shard.
        remarks: What whoever uses the set should know: an empty split, meshes in both splits,
            views that the frame cuts off, classes called like splits. Not of shards.
        asked: Objects of the source; of a shard, those of its share.
    """

    path: Path
    objects: int
    images: int
    rendered: int
    failed: dict[str, str]
    seconds: float
    warnings: dict[str, list[str]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    asked: int = 0

    @property
    def kept(self) -> int:
        """How many of the objects asked for are complete."""
        return self.asked - len(self.failed)


def build(
    source: MeshSource,
    out: Path | str,
    *,
    config: BuildConfig | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    shard: int = 0,
    num_shards: int = 1,
    add: bool = False,
    layout: Layout = "folders",
    shard_size: ShardSize | None = None,
    limits: Limits | None = None,
    progress: bool = True,
) -> BuildReport:
    """Render every object of a source and write a data set.

    A build that was killed goes on where it stopped when it is called again, and ends with
    byte for byte the files of one that was not; so do builds with other numbers of workers.
    An object that cannot be loaded or rendered is set aside, listed with its reason in the
    manifest, and the rest is rendered; calling again tries it again. So is one with a view that
    does not show it. Mesh files that were changed since their objects were rendered are refused.

    A second build of the folder waits until the first one ends, and goes on with what is left;
    shards run beside one another, and the last call without shards waits for them.

    Views of :class:`~datasets3d.ArticulatedMeshes` show the object in states drawn by the
    source's law: the latent goes on with the state of every joint, ``parts_k.png`` says which
    part each pixel shows, and ``mechanism.json`` names parts and joints.

    Args:
        source: Objects.
        out: Folder; made if missing. One that holds another build is refused.
        config: What and how.
        workers: Processes; None takes every core. 1 without limits renders in this process,
            where a crash of compiled code is not survived.
        engine: "local", or "ray" (extra ``ray``).
        shard: Which share of the objects this call renders, from 0: for job arrays that fill one
            folder together. Lists and manifest are written by a last call without shards.
        num_shards: Number of shares.
        add: Let a set that is there grow to more objects, views or passes: what is there stays, and
            the bytes are those of a set that was built at once. For passes the same views are
            rendered again, and compared with the pictures that are there. Without it such a call is
            refused.
        layout: "folders", 3DIEBench's; or "shards": tar files in the WebDataset convention with an
            index, byte for byte those of :func:`datasets3d.export` of the folders. Objects go into
            shards as they are finished, and their folders go. An object that failed, and behind
            which others are in a shard, is not tried again. Jobs of an array write folders; the
            last call packs them.
        shard_size: Of "shards": how large they become; None makes them about 1 GB.
        limits: Time and memory that each object may take; one that takes more is set aside.
        progress: Show a bar with rate and time left, on stderr.

    Raises:
        DataFormatError: The source is missing or empty, or no object could be rendered.
        ConventionError: The folder holds a build with other settings or in the other layout, and
            says which differ; shards are to grow; an argument is out of its range; the renderer
            makes no masks of parts; or mesh files have changed since they were rendered.
        MissingExtraError: Ray is asked for and not installed.
        RendererError: The renderer is unknown, or a package or library it needs is missing.
        StorageError: The folder cannot be made or written to, something else has its name, or
            the disk is full; the same call goes on.
        EquivariantError: No worker process can start, or the Ray cluster is gone.

    Example:
        >>> import tempfile
        >>> from datasets3d.meshes import ProceduralMeshes
        >>> source = ProceduralMeshes(instances=1, classes=["chair", "truck"])
        >>> config = BuildConfig(views=2, size_px=8)
        >>> report = build(source, tempfile.mkdtemp(), config=config, workers=1, progress=False)
        >>> report.objects, report.images, report.failed
        (2, 4, {})
    """
    started = time.monotonic()
    config, root = config or BuildConfig(), Path(out)
    workers = check_workers(workers)
    check_shard(shard, num_shards)
    check_layout(root, layout, add=add)
    # its workers see that for themselves, all at once, before the first object
    theirs = workers > 1 and num_shards == 1 and not add
    check_renderer(config, source, here=engine == "local" and not theirs)
    source = as_in_set(source, root, add=add)
    entries = objects_of(source, config)
    grown = add and grows(source, root, config, entries)
    if grown:
        with folder_lock(root, shared=False, progress=progress), writing(root):
            if engine == "local" and gains_passes(root, config):
                check_first_object(source, root, config, entries)
            begin_to_grow(source, root, config, entries)
    with folder_lock(root, shared=num_shards > 1, progress=progress), writing(root):
        planned = (root / PLAN).exists()
        note_plan(source, root, config, objects=len(entries))
        own = [entry for index, entry in enumerate(entries) if index % num_shards == shard]
        ignored = source.ignored() if num_shards == 1 else []
        call = _Call(source, root, config, entries, own, num_shards == 1, ignored, grown)
        if is_sharded(root):
            return _as_it_is(root, config, asked=len(own), started=started)
        if layout == "shards":
            plan = read_json(root / PLAN)
            call.packing = Packing.begin(root, plan, config, shard_size or ShardSize(), entries)
        try:
            call.render(workers=workers, engine=engine, limits=limits, progress=progress)
        except RendererError:
            if theirs and not planned and not call.images:
                (root / PLAN).unlink()  # it binds the folder to a renderer that is not here
                (root / LAYOUT).unlink(missing_ok=True)
            raise
        remarks = call.finish() if num_shards == 1 else []
    complete, warnings = call.complete()
    return BuildReport(
        path=root, objects=len(complete), images=len(complete) * config.views,
        rendered=call.images, failed=call.failed, seconds=time.monotonic() - started,
        warnings=warnings, ignored=ignored, remarks=remarks, asked=len(own),
    )  # fmt: skip


def _as_it_is(root: Path, config: BuildConfig, *, asked: int, started: float) -> BuildReport:
    """What a finished set of shards is: there is nothing to do."""
    tidy(root)
    manifest = Manifest.read(root)
    objects = len(manifest.splits)
    return BuildReport(
        path=root, objects=objects, images=objects * config.views, rendered=0,
        failed=dict(manifest.failed), seconds=time.monotonic() - started,
        warnings=manifest.warnings, remarks=remarks_on(manifest), asked=asked,
    )  # fmt: skip


@dataclass
class _Call:
    """One call of a build: what it finds, what it renders, what it sets aside.

    Args:
        source: Where the objects come from.
        root: The data set's folder.
        config: What and how.
        entries: All objects.
        own: Those of this call.
        whole: Whether these are all.
        ignored: What lies beside the meshes.
        checked: Whether mesh files were found to be those that objects were rendered from.
        packing: The shards that are being written, if any are.
    """

    source: MeshSource
    root: Path
    config: BuildConfig
    entries: Sequence[MeshEntry]
    own: Sequence[MeshEntry]
    whole: bool
    ignored: Sequence[str]
    checked: bool
    known: dict[str, Note] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    images: int = 0
    finished: bool = False
    packing: Packing | None = None

    def render(
        self, *, workers: int, engine: Engine, limits: Limits | None, progress: bool
    ) -> None:
        """Render what is not there yet."""
        self.finished = (self.root / MANIFEST).is_file()
        self.known = known_notes(self.root)
        own, packing = list(self.own), self.packing
        if packing is not None:
            self.known |= packing.held
            self.failed |= packing.failed
            own = packing.wanted_order(e for e in own if key_of(e) not in packing.settled)
            self.finished = False
        if not self.checked:
            check_meshes(self.source, self.root, self.own, self.known,
                         packed=packing.held if packing else ())  # fmt: skip
        if self.whole:
            remove_partial(self.root)
        wanted = list(left_to_render(self.root, self.config, own, self.known))
        self.known = self._there(wanted)
        self._pack()
        self.finished &= not wanted
        views = self.config.views
        with tqdm(
            total=len(self.own) * views, initial=(len(self.own) - len(wanted)) * views,
            unit="img", smoothing=0.05, disable=not progress, desc="rendering",
        ) as bar:  # fmt: skip
            for outcome in run_tasks(
                RenderObject(self.source, self.root, self.config), wanted, workers=workers,
                engine=engine, limits=limits, chunk=self._chunk(len(wanted), workers),
                lost=self._lost,
            ):  # fmt: skip
                self._note(outcome)
                self._pack()
                bar.update(views)

    def _there(self, wanted: Sequence[Wanted]) -> dict[str, Note]:
        """Notes of objects that are whole, where they go into shards; else as they are."""
        if self.packing is None:
            return self.known
        absent = {key_of(one.entry) for one in wanted}
        there = {key: note for key, note in self.known.items() if key not in absent}
        for key in map(key_of, self.own):  # a note may be lost
            if key not in there and key not in absent and key not in self.failed:
                there[key] = Note(digest(self.root / key))
        return there

    def _pack(self) -> None:
        """Write the shards whose objects are there; jobs of an array leave that to the last."""
        if self.packing is not None and self.whole:
            self.packing.pack(self.known, self.failed)

    def complete(self) -> tuple[list[str], dict[str, list[str]]]:
        """Objects that are there, and warnings of them."""
        held = self.packing.held if self.packing else {}
        keys = [k for k in map(key_of, self.entries) if k in held or (self.root / k).is_dir()]
        said = self.packing.warnings if self.packing else {}
        warnings = {key: said[key] if key in held and key in said else warnings_of(self.root / key)
                    for key in keys}  # fmt: skip
        return keys, {key: notes for key, notes in warnings.items() if notes}

    def finish(self) -> list[str]:
        """Write lists and manifest where something is new; remarks on the whole set."""
        cut = sum(note.cut for note in self.known.values())
        if self.finished:
            manifest = Manifest.read(self.root)
        else:
            remove_partial(self.root)  # again: a killed build's workers may have outlived it
            manifest = write_index(
                self.root, self.config, read_json(self.root / PLAN), entries=self.entries,
                notes=self.known, failed=dict(sorted(self.failed.items())),
                ignored=self.ignored,
                warnings=self.packing.warnings if self.packing else None,
                picture=self.packing.picture if self.packing else None,
            )  # fmt: skip
        further = self.packing.finish(manifest) if self.packing else []
        remove_notes(self.root)
        reach = [f"in {cut} views the object reaches the border of the picture"] if cut else []
        return self.source.remarks() + remarks_on(manifest) + reach + further

    def _chunk(self, objects: int, workers: int) -> int:
        """Objects in a row for one process: enough images, but some work for everybody."""
        images = IMAGES_PER_CHUNK // self.config.views
        return max(1, min(images, objects // (4 * workers)))

    def _note(self, outcome: Outcome) -> None:
        if outcome.note is None:
            self.known.pop(outcome.key, None)
            self.failed[outcome.key] = outcome.reason or ""
        else:
            self.known[outcome.key] = outcome.note
            self.images += outcome.rendered

    def _lost(self, wanted: Wanted, reason: str) -> Outcome:
        """What to do without an object whose process ended: unless it had been written before."""
        key = key_of(wanted.entry)
        note = read_notes(self.root).get(key)
        if note is not None and is_whole(self.root / key, note, self.config):
            return Outcome(key, note, None, self.config.views)
        return Outcome(key, None, reason)
