"""What a build would take, before it is started."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from datasets3d.meshes.formats.mesh_warning import collected
from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.views.config import BuildConfig
from datasets3d.views.engines import check_workers
from datasets3d.views.storage import view_files
from datasets3d.views.work import reason_of, render_object
from equivariant.errors import ConventionError, DataFormatError
from renderers import RendererUnavailableError


@dataclass(frozen=True)
class BuildEstimate:
    """What a build would take.

    Args:
        objects: Objects to render.
        images: Images to render.
        seconds: Expected wall time with the workers asked for.
        bytes: Expected size of all files; what a file system adds per file is not counted.
    """

    objects: int
    images: int
    seconds: float
    bytes: int


def estimate(
    source: MeshSource,
    *,
    config: BuildConfig,
    workers: int | None = None,
    objects: int = 8,
    views: int = 8,
) -> BuildEstimate:
    """Render a few views of a few objects without writing them, and say what all would take.

    Args:
        source: Objects.
        config: What and how.
        workers: Processes; None takes every core.
        objects: How many are tried, evenly spread; objects that fail are left out.
        views: Views of each that are tried, at most ``config.views``.

    Raises:
        DataFormatError: The source is missing or empty, or none of the objects tried can be
            rendered.
        ConventionError: A number of workers, objects or views is below 1.
        RendererUnavailableError: A package or library that the renderer needs is missing.
    """
    if objects < 1 or views < 1:
        raise ConventionError(
            expected="at least 1 object and 1 view to try", got=f"{objects} and {views}",
            argument="objects", advice="Leave them out for the defaults.",
        )  # fmt: skip
    entries, workers = source.entries(), check_workers(workers)
    places = np.unique(np.linspace(0, len(entries) - 1, objects).astype(int))
    views = min(views, config.views)
    trials, reason = [], ""
    for place in [places[0], *places]:  # the first compiles and fills caches
        try:
            with collected():
                trials.append(_try(source, entries[place], config, views))
        except RendererUnavailableError:
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
    images = len(entries) * config.views
    seconds = len(entries) * seconds_per_object + images * seconds_per_image
    return BuildEstimate(
        objects=len(entries),
        images=images,
        seconds=float(seconds) / workers,
        bytes=int(size * images),
    )


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
