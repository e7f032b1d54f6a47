"""Plan, render, write: from a source of meshes to a data set in 3DIEBench's layout."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from datasets3d.contact_sheet import contact_sheet
from datasets3d.engine import Engine, run_tasks
from datasets3d.latents import COLUMNS, Law
from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.splits import split_of
from datasets3d.storage import (
    ChannelOrder,
    View,
    digest,
    jpeg_bytes,
    npy_bytes,
    remove_partial,
    write_array,
    write_object,
)
from equivariant.errors import ConventionError, DataFormatError
from equivariant.runs import read_json, write_atomically, write_json
from renderers import Renderer, RendererError, get

FORMAT_VERSION = 1
PLAN, MANIFEST, SHEET = "plan.json", "manifest.json", "contact_sheet.png"
OBJECTS_PER_TASK = 4


@dataclass(frozen=True)
class BuildConfig:
    """What is rendered, and how.

    Args:
        views: Views of every object, at least 1; 3DIEBench has 50.
        size_px: Side of the square images in pixels, at least 1; 3DIEBench has 256.
        seed: Of the whole data set, at least 0. A view depends on the seed, the object's name
            and its own index alone.
        law: What varies from view to view, and how.
        renderer: Name of the renderer; "embree" needs nothing but pip.
        samples_per_side: Anti-aliasing of embree: this many samples squared on each pixel at
            an edge; 1 for none.
        quality: Of the JPEG files, 1 to 100.
        channel_order: "rgb" writes true colors; "bgr" exchanges red and blue on disk, as the
            published images probably do.
        val_fraction: Share of objects held out where the source does not say, in [0, 1].
    """

    views: int = 50
    size_px: int = 128
    seed: int = 0
    law: Law = field(default_factory=Law)
    renderer: str = "embree"
    samples_per_side: int = 3
    quality: int = 95
    channel_order: ChannelOrder = "rgb"
    val_fraction: float = 0.2

    def __post_init__(self) -> None:
        wrong = {
            "views": self.views >= 1,
            "size_px": self.size_px >= 1,
            "seed": self.seed >= 0,
            "samples_per_side": self.samples_per_side >= 1,
            "quality": 1 <= self.quality <= 100,
            "channel_order": self.channel_order in ("rgb", "bgr"),
            "val_fraction": 0.0 <= self.val_fraction <= 1.0,
        }
        for name, fine in wrong.items():
            if not fine:
                raise ConventionError(
                    expected="a value in its range", got=repr(getattr(self, name)),
                    argument=f"config.{name}", advice="See the documentation of BuildConfig.",
                )  # fmt: skip


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
    """

    path: Path
    objects: int
    images: int
    rendered: int
    failed: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class BuildEstimate:
    """What a build would take.

    Args:
        objects: Objects to render.
        images: Images to render.
        seconds: Expected wall time with the workers asked for.
        bytes: Expected size of all files.
    """

    objects: int
    images: int
    seconds: float
    bytes: int


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
    manifest, and the rest is rendered.

    Args:
        source: Objects.
        out: Folder; made if missing. One that holds another build is refused.
        config: What and how.
        workers: Processes; None takes every core.
        engine: "local", or "ray" (extra ``ray``).
        shard: Which share of the objects this call renders, from 0: for job arrays that fill one
            folder together. The call that finds all objects done writes lists and manifest.
        num_shards: Number of shares.
        progress: Show a bar with rate and time left, on stderr.

    Raises:
        DataFormatError: The source is missing or empty, or no object could be rendered.
        ConventionError: The folder holds a build with other settings; says which differ.

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
    workers = workers or os.cpu_count() or 1
    if not 0 <= shard < num_shards:
        raise ConventionError(
            expected="0 <= shard < num_shards", got=f"{shard} of {num_shards}", argument="shard",
            advice="Number the jobs of an array from 0.",
        )  # fmt: skip
    entries = _plan(source, root, config)
    if num_shards == 1:
        remove_partial(root)
    own = [entry for index, entry in enumerate(entries) if index % num_shards == shard]
    todo = [entry for entry in own if not (root / _key(entry)).is_dir()]
    tasks = [
        _Task(source, root, config, tuple(todo[start : start + OBJECTS_PER_TASK]))
        for start in range(0, len(todo), OBJECTS_PER_TASK)
    ]
    digests: dict[str, str] = {}
    failed: dict[str, str] = {}
    with tqdm(
        total=len(own) * config.views, initial=(len(own) - len(todo)) * config.views,
        unit="img", smoothing=0.05, disable=not progress, desc="rendering",
    ) as bar:  # fmt: skip
        for results in run_tasks(_render_task, tasks, workers=workers, engine=engine):
            for key, checksum, reason in results:
                if reason is None:
                    digests[key] = checksum
                else:
                    failed[key] = reason
                bar.update(config.views)
    if num_shards == 1:
        _finish(source, root, config, entries, digests, failed)
    complete = sum((root / _key(entry)).is_dir() for entry in entries)
    return BuildReport(
        path=root,
        objects=complete,
        images=complete * config.views,
        rendered=len(digests) * config.views,
        failed=failed,
        seconds=time.monotonic() - started,
    )


def estimate(
    source: MeshSource, *, config: BuildConfig, workers: int | None = None, objects: int = 8
) -> BuildEstimate:
    """Render a few objects without writing them, and say what all would take.

    Args:
        source: Objects.
        config: What and how.
        workers: Processes; None takes every core.
        objects: How many are tried, evenly spread; objects that fail are left out.
    """
    entries = source.entries()
    tried = [entries[i] for i in np.unique(np.linspace(0, len(entries) - 1, objects).astype(int))]
    renderer = _renderer(config)
    _render_object(source, tried[0], config, renderer)  # compiles, fills caches
    started, size, done = time.monotonic(), 0, 0
    for entry in tried:
        try:
            views = _render_object(source, entry, config, renderer)
        except (DataFormatError, RendererError):
            continue
        done += 1
        size += sum(
            len(jpeg_bytes(v.image, quality=config.quality)) + len(npy_bytes(v.latent))
            for v in views
        )
    seconds = (time.monotonic() - started) / max(1, done)
    return BuildEstimate(
        objects=len(entries),
        images=len(entries) * config.views,
        seconds=seconds * len(entries) / (workers or os.cpu_count() or 1),
        bytes=size * len(entries) // max(1, done),
    )


@dataclass(frozen=True)
class _Task:
    source: MeshSource
    root: Path
    config: BuildConfig
    entries: tuple[MeshEntry, ...]


def _render_task(task: _Task) -> list[tuple[str, str, str | None]]:
    """Render some objects; returns (key, digest, reason of failure or None) of each."""
    results: list[tuple[str, str, str | None]] = []
    renderer = _renderer(task.config)
    for entry in task.entries:
        key = _key(entry)
        try:
            views = _render_object(task.source, entry, task.config, renderer)
        except (DataFormatError, RendererError) as error:
            results.append((key, "", str(error)))
            continue
        checksum = write_object(
            task.root / key,
            views,
            quality=task.config.quality,
            channel_order=task.config.channel_order,
        )
        results.append((key, checksum, None))
    return results


def _render_object(
    source: MeshSource, entry: MeshEntry, config: BuildConfig, renderer: Renderer
) -> list[View]:
    mesh = source.load(entry)
    views = []
    for view in range(config.views):
        latent = config.law.sample(config.seed, _key(entry), view=view)
        image = renderer.render_rgb(config.law.scene(mesh, latent), config.size_px)
        views.append(View(image, latent))
    return views


@lru_cache(maxsize=2)
def _cached_renderer(name: str, samples_per_side: int) -> Renderer:
    if name == "embree":
        return get(name, samples_per_side=samples_per_side)
    return get(name)


def _renderer(config: BuildConfig) -> Renderer:
    return _cached_renderer(config.renderer, config.samples_per_side)


def _key(entry: MeshEntry) -> str:
    return f"{entry.label}/{entry.object_id}"


def _plan(source: MeshSource, root: Path, config: BuildConfig) -> list[MeshEntry]:
    """All objects; writes the plan, or compares with the one that is there."""
    entries = source.entries()
    plan = {
        "format_version": FORMAT_VERSION,
        "config": asdict(config),
        "source": source.describe(),
        "objects": len(entries),
    }
    root.mkdir(parents=True, exist_ok=True)
    path = root / PLAN
    if path.is_file():
        before = _flat(read_json(path))
        now = _flat(plan)
        differ = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
        if differ:
            raise ConventionError(
                expected="the settings the build in this folder was started with",
                got="; ".join(f"{k}: {now.get(k)!r} instead of {before.get(k)!r}" for k in differ),
                argument=str(root),
                advice="Choose another folder, or remove this one to start over.",
            )
    elif any(root.iterdir()):
        raise ConventionError(
            expected="an empty folder, or one with an unfinished build",
            got="a folder with other files",
            argument=str(root),
            advice="Choose another folder.",
        )
    else:
        write_json(path, plan)
    return entries


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [_flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
        return {k: v for item in items for k, v in item.items()}
    return {prefix: list(value) if isinstance(value, tuple) else value}


def _finish(
    source: MeshSource,
    root: Path,
    config: BuildConfig,
    entries: Sequence[MeshEntry],
    digests: dict[str, str],
    failed: dict[str, str],
) -> None:
    """Lists, contact sheet, and last of all the manifest."""
    complete = [entry for entry in entries if _key(entry) not in failed]
    if not complete:
        raise DataFormatError(
            expected="at least one object that can be rendered",
            got=f"{len(failed)} that cannot; the first: {next(iter(failed.values()), 'none')}",
            argument=str(root),
            advice="Check the meshes; each reason names its file.",
        )
    labels = sorted({entry.label for entry in complete})
    splits = {
        _key(e): split_of(e, val_fraction=config.val_fraction, seed=config.seed) for e in complete
    }
    for split in ("train", "val"):
        keys = [key for key in splits if splits[key] == split]
        rows = np.array([f"/{key}/" for key in keys], dtype=np.str_)
        ranks = np.array([labels.index(key.split("/")[0]) for key in keys], dtype=np.int64)
        write_array(root / f"{split}_images.npy", rows)
        write_array(root / f"{split}_labels.npy", ranks)
    write_atomically(root / SHEET, contact_sheet(root, list(splits), views=config.views))
    write_json(
        root / MANIFEST,
        {
            "format_version": FORMAT_VERSION,
            "config": asdict(config),
            "source": source.describe(),
            "latent_columns": [asdict(column) for column in COLUMNS],
            "labels": labels,
            "splits": splits,
            "digests": {k: digests.get(k) or digest(root / k) for k in splits},
            "failed": failed,
        },
    )
