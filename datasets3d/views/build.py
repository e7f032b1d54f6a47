"""Plan, render, write: from a source of meshes to a data set in 3DIEBench's layout."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.views.config import BuildConfig
from datasets3d.views.engines import Engine, check_workers, run_in_processes, run_tasks
from datasets3d.views.index import write_index
from datasets3d.views.plan import key_of, note_plan, objects_of
from datasets3d.views.schema import MANIFEST, PLAN, Manifest
from datasets3d.views.storage import folder_lock, remove_partial, warnings_of
from datasets3d.views.work import Outcome, Task, check_renderer, render_task
from equivariant.errors import ConventionError
from equivariant.runs import read_json

IMAGES_PER_TASK = 64
CRASHED = "its process died while it was rendered: crashed, killed, or out of memory"


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
    """

    path: Path
    objects: int
    images: int
    rendered: int
    failed: dict[str, str]
    seconds: float
    warnings: dict[str, list[str]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def build(
    source: MeshSource,
    out: Path | str,
    *,
    config: BuildConfig | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    shard: int = 0,
    num_shards: int = 1,
    progress: bool = True,
) -> BuildReport:
    """Render every object of a source and write a data set.

    A build that was killed goes on where it stopped when it is called again, and ends with
    byte for byte the files of one that was not; so do builds with other numbers of workers.
    An object that cannot be loaded or rendered is set aside, listed with its reason in the
    manifest, and the rest is rendered; calling again tries it again.

    A second build of the folder waits until the first one ends, and goes on with what is left;
    shards run beside one another, and the last call without shards waits for them.

    Views of :class:`~datasets3d.ArticulatedMeshes` show the object in states drawn by the
    source's law: the latent goes on with the state of every joint, ``parts_k.png`` says which
    part each pixel shows, and ``mechanism.json`` names parts and joints.

    Args:
        source: Objects.
        out: Folder; made if missing. One that holds another build is refused.
        config: What and how.
        workers: Processes; None takes every core. 1 renders in this process, where a crash of
            compiled code is not survived.
        engine: "local", or "ray" (extra ``ray``).
        shard: Which share of the objects this call renders, from 0: for job arrays that fill one
            folder together. Lists and manifest are written by a last call without shards.
        num_shards: Number of shares.
        progress: Show a bar with rate and time left, on stderr.

    Raises:
        DataFormatError: The source is missing or empty, or no object could be rendered.
        ConventionError: The folder holds a build with other settings, and says which differ; an
            argument is out of its range; or the renderer makes no masks of parts.
        MissingExtraError: Ray is asked for and not installed.
        RendererError: The renderer is unknown, or a package or library it needs is missing.
        StorageError: The folder cannot be made, or something else has its name.

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
    if not 0 <= shard < num_shards:
        raise ConventionError(
            expected="0 <= shard < num_shards", got=f"{shard} of {num_shards}", argument="shard",
            advice="Number the jobs of an array from 0.",
        )  # fmt: skip
    if engine == "local":
        check_renderer(config, source)
    entries = objects_of(source, config)
    with folder_lock(root, shared=num_shards > 1, progress=progress):
        note_plan(source, root, config, objects=len(entries))
        ignored = source.ignored() if num_shards == 1 else []
        done = _fill(
            source, root, config, entries, ignored=ignored, workers=workers, engine=engine,
            shard=shard, num_shards=num_shards, progress=progress,
        )  # fmt: skip
    complete = [key for key in map(key_of, entries) if (root / key).is_dir()]
    return BuildReport(
        path=root,
        objects=len(complete),
        images=len(complete) * config.views,
        rendered=len(done.rendered) * config.views,
        failed=done.failed,
        seconds=time.monotonic() - started,
        warnings={key: notes for key in complete if (notes := warnings_of(root / key))},
        ignored=ignored,
    )


@dataclass
class _Done:
    """What one call did: digests of what it rendered, reasons of what it set aside, by key."""

    rendered: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def _fill(
    source: MeshSource,
    root: Path,
    config: BuildConfig,
    entries: list[MeshEntry],
    *,
    ignored: list[str],
    workers: int,
    engine: Engine,
    shard: int,
    num_shards: int,
    progress: bool,
) -> _Done:
    """Render what is not there yet, and write lists and manifest where this is the whole."""
    own = [entry for index, entry in enumerate(entries) if index % num_shards == shard]
    unfinished = [entry for entry in own if not (root / key_of(entry)).is_dir()]
    done = _Done()
    finished = (root / MANIFEST).is_file()
    if num_shards == 1:
        remove_partial(root)
    with tqdm(
        total=len(own) * config.views, initial=(len(own) - len(unfinished)) * config.views,
        unit="img", smoothing=0.05, disable=not progress, desc="rendering",
    ) as bar:  # fmt: skip
        for outcome in _render(source, root, config, unfinished, workers=workers, engine=engine):
            if outcome.reason is None:
                done.rendered[outcome.key] = outcome.digest
            else:
                done.failed[outcome.key] = outcome.reason
            bar.update(config.views)
    if num_shards == 1 and (unfinished or not finished):
        remove_partial(root)  # again: a killed build's workers may have outlived it for a moment
        known = Manifest.read(root).digests if finished else {}
        write_index(
            root, config, read_json(root / PLAN), entries=entries,
            digests={**known, **done.rendered}, failed=dict(sorted(done.failed.items())),
            ignored=ignored,
        )  # fmt: skip
    return done


def _render(
    source: MeshSource,
    root: Path,
    config: BuildConfig,
    unfinished: Sequence[MeshEntry],
    *,
    workers: int,
    engine: Engine,
) -> Iterator[Outcome]:
    """Outcomes of all objects. Those whose process died get one of their own, one by one."""
    step = max(1, IMAGES_PER_TASK // config.views)
    starts = range(0, len(unfinished), step)
    tasks = [
        Task(source, root, config, tuple(unfinished[start : start + step])) for start in starts
    ]
    suspects: list[Task] = []

    def suspect(task: Task) -> list[Outcome]:
        suspects.extend(Task(source, root, config, (entry,)) for entry in task.entries)
        return []

    def give_up(task: Task) -> list[Outcome]:
        return [Outcome(key_of(entry), "", CRASHED) for entry in task.entries]

    for outcomes in run_tasks(render_task, tasks, workers=workers, engine=engine, died=suspect):
        yield from outcomes
    for outcomes in run_in_processes(render_task, suspects, workers=1, ahead=0, died=give_up):
        yield from outcomes
