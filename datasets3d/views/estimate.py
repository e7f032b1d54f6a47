"""What a build would take, before it is started."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datasets3d.meshes.formats.mesh_warning import collected
from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.views.config import BuildConfig
from datasets3d.views.engines import check_workers
from datasets3d.views.engines.processes import seconds_to_start
from datasets3d.views.plan import differences, key_of, objects_of, refused, settings
from datasets3d.views.shards.layout import is_sharded
from datasets3d.views.shards.packing import packed_objects
from datasets3d.views.storage import view_files
from datasets3d.views.upkeep.growth import as_in_set, check_meshes, grows, known_notes
from datasets3d.views.work import left_to_render, reason_of, render_object, views_kept
from equivariant.errors import ConventionError, DataFormatError, StorageError
from renderers import RendererUnavailableError


@dataclass(frozen=True)
class BuildEstimate:
    """What a build would take.

    Args:
        objects: Objects to render, or to add views to.
        images: Images to render.
        seconds: Expected wall time with the workers asked for, their start-up included.
        bytes: Expected size of all files; what a file system adds per file is not counted.
        remarks: What may surprise in how the source's objects were found; and that the disk has
            less room than that.
    """

    objects: int
    images: int
    seconds: float
    bytes: int
    remarks: list[str] = field(default_factory=list)


def estimate(
    source: MeshSource,
    *,
    config: BuildConfig,
    workers: int | None = None,
    out: Path | str | None = None,
    add: bool = False,
    objects: int = 8,
    views: int = 8,
) -> BuildEstimate:
    """Render a few views of a few objects without writing them, and say what all would take.

    Args:
        source: Objects.
        config: What and how.
        workers: Processes; None takes every core.
        out: The data set's folder, where only what is left is to be told; None tells all.
        add: Whether the set that is there shall grow, as in :func:`build`.
        objects: How many are tried, evenly spread; objects that fail are left out.
        views: Views of each that are tried, at most ``config.views``.

    Raises:
        DataFormatError: The source is missing or empty, or none of the objects tried can be
            rendered.
        ConventionError: A number of workers, objects or views is below 1; or the folder holds a
            build with other settings, as in :func:`build`.
        RendererUnavailableError: A package or library that the renderer needs is missing.
    """
    if objects < 1 or views < 1:
        raise ConventionError(
            expected="at least 1 object and 1 view to try", got=f"{objects} and {views}",
            argument="objects", advice="Leave them out for the defaults.",
        )  # fmt: skip
    workers = check_workers(workers)
    root = None if out is None else Path(out)
    source = source if root is None else as_in_set(source, root, add=add)
    entries, left = _left(source, config, root, add=add)
    if not left:
        return BuildEstimate(objects=0, images=0, seconds=0.0, bytes=0, remarks=source.remarks())
    places = np.unique(np.linspace(0, len(entries) - 1, objects).astype(int))
    views = min(views, config.views)
    trials, reason = [], ""
    for place in [places[0], *places]:  # the first compiles and fills caches
        try:
            with collected():
                trials.append(_try(source, entries[place], config, views))
        except (RendererUnavailableError, StorageError):
            raise
        except Exception as error:  # as in a build, where it would be set aside
            reason = reason_of(error, entries[place])
    if not trials:
        raise DataFormatError(
            expected="at least one object that can be rendered",
            got=f"{len(places)} that cannot; the last: {reason}", argument="source",
            advice="Check the meshes and the settings.",
        )  # fmt: skip
    seconds_per_object, seconds_per_image, size = np.median(trials[1:] or trials, axis=0)
    images = sum(left)
    seconds = float(len(entries) * seconds_per_object + images * seconds_per_image) / workers
    if workers > 1:
        seconds += seconds_to_start(TryObject(source, config), entries[places[0]])
    return BuildEstimate(
        objects=len(entries), images=images, seconds=seconds, bytes=int(size * images),
        remarks=source.remarks() + _room(root, int(size * images)),
    )  # fmt: skip


def _room(root: Path | None, wanted: int) -> list[str]:
    """Says that the disk has less room than is wanted."""
    if root is None:
        return []
    place = next((p for p in (root, *root.absolute().parents) if p.is_dir()), Path())
    free = shutil.disk_usage(place).free
    return [f"there is less room, {free:,} bytes, than {wanted:,}"] if free < wanted else []


def _left(
    source: MeshSource, config: BuildConfig, root: Path | None, *, add: bool
) -> tuple[list[MeshEntry], list[int]]:
    """Objects to be rendered, and how many views of each."""
    entries = objects_of(source, config)
    if root is None or not root.is_dir():
        return entries, [config.views] * len(entries)
    if not (add and grows(source, root, config, entries)):
        differ = differences(root, settings(source, config, len(entries)))
        if differ:
            raise refused(root, differ)
    if is_sharded(root):
        return [], []
    packed = packed_objects(root)
    entries = [entry for entry in entries if key_of(entry) not in packed]
    known = known_notes(root)
    check_meshes(source, root, entries, known)
    wanted = list(left_to_render(root, config, entries, known))
    return [w.entry for w in wanted], [config.views - views_kept(root, w, config) for w in wanted]


@dataclass(frozen=True)
class TryObject:
    """A task that renders the first view of an object and writes nothing.

    Args:
        source: Where it comes from.
        config: What and how.
    """

    source: MeshSource
    config: BuildConfig

    def __call__(self, entry: MeshEntry) -> str:
        """Returns why it failed; empty where it did not."""
        try:
            with collected():
                render_object(self.source, entry, self.config, views=1)
        except StorageError:
            raise
        except Exception as error:  # as in a build, where it would be set aside
            return reason_of(error, entry)
        return ""


def _try(
    source: MeshSource, entry: MeshEntry, config: BuildConfig, views: int
) -> tuple[float, float, float]:
    """Seconds for loading one object, seconds and bytes for each view of it."""
    started = time.monotonic()
    render_object(source, entry, config, views=1)
    with_one = time.monotonic() - started
    rendered = render_object(source, entry, config, views=views)
    sizes = [
        sum(map(len, view_files(
            index, view, quality=config.quality, channel_order=config.channel_order
        ).values()))
        for index, view in enumerate(rendered)
    ]  # fmt: skip
    with_all = time.monotonic() - started - with_one
    per_image = max(0.0, with_all - with_one) / (views - 1) if views > 1 else 0.0
    return max(0.0, with_one - per_image), per_image, sum(sizes) / views
