"""What one process does: load objects, render their views, write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated import ArticulatedMeshes
from datasets3d.meshes.formats.mesh_warning import collected
from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.views.config import BuildConfig
from datasets3d.views.parts import files_of, part_mask, with_state
from datasets3d.views.plan import key_of
from datasets3d.views.storage import RenderedView, warnings_file, write_object
from equivariant.errors import ConventionError, EquivariantError
from renderers import Renderer, RendererError, RendererUnavailableError, get

_ABSOLUTE = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\][^\s'\"`(),;]*[/\\]([^\s'\"`(),;:/\\]+)")


@dataclass(frozen=True)
class Task:
    """Some objects of a build.

    Args:
        source: Where they come from.
        root: The data set's folder.
        config: What and how.
        entries: The objects; those made from one file stand in a row.
    """

    source: MeshSource
    root: Path
    config: BuildConfig
    entries: tuple[MeshEntry, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of an object.

    Args:
        key: ``<class>/<object id>``.
        digest: Checksum of its files; empty where it failed.
        reason: Why it failed; None where it did not.
    """

    key: str
    digest: str
    reason: str | None


def render_task(task: Task) -> list[Outcome]:
    """Render and write some objects; those that cannot be are named with their reasons."""
    return [_outcome(task, entry) for entry in task.entries]


def _outcome(task: Task, entry: MeshEntry) -> Outcome:
    key, config = key_of(entry), task.config
    try:
        with collected() as notes:
            views = render_object(task.source, entry, config)
    except RendererUnavailableError:
        raise
    except Exception as error:  # whatever a mesh provokes must not stop the others
        return Outcome(key, "", reason_of(error, entry))
    digest = write_object(
        task.root / key, views, quality=config.quality, channel_order=config.channel_order,
        extra=files_of(task.source, entry) | warnings_file(notes),
    )  # fmt: skip
    return Outcome(key, digest, None)


def check_renderer(config: BuildConfig, source: MeshSource) -> None:
    """Make the renderer of a build, to learn now whether it works here.

    Raises:
        RendererError: It is unknown, or a package or library it needs is missing.
        ConventionError: Masks of parts are to be made, and it names no faces.
    """
    renderer = _renderer(config.renderer, config.samples_per_side)
    if isinstance(source, ArticulatedMeshes) and not renderer.names_faces:
        raise ConventionError(
            expected="a renderer that names the faces it shows, for masks of parts",
            got=repr(config.renderer), argument="config.renderer",
            advice='Use "embree" for articulated objects.',
        )  # fmt: skip


def render_object(
    source: MeshSource, entry: MeshEntry, config: BuildConfig, *, views: int | None = None
) -> list[RenderedView]:
    """The views of one object.

    Args:
        source: Where it comes from.
        entry: Which object.
        config: What and how.
        views: The first so many; None takes ``config.views``.

    Raises:
        DataFormatError: It cannot be loaded.
        RendererError: It cannot be rendered.
    """
    renderer = _renderer(config.renderer, config.samples_per_side)
    mesh = source.load(entry)
    rendered = []
    for view in range(config.views if views is None else views):
        latent = config.law.sample(config.seed, key_of(entry), view=view)
        if isinstance(source, ArticulatedMeshes):
            rendered.append(_view_in_a_state(renderer, source, entry, config, view, latent))
            continue
        image = renderer.render_rgb(config.law.scene(mesh, latent), config.size_px)
        rendered.append(RenderedView(image, latent))
    return rendered


def _view_in_a_state(
    renderer: Renderer, source: ArticulatedMeshes, entry: MeshEntry, config: BuildConfig,
    view: int, latent: NDArray[np.float64],
) -> RenderedView:  # fmt: skip
    """A view of an articulated object; state k of its joints belongs to view k."""
    thing, state = source.object(entry), source.state(entry, view)
    rendering = renderer.render(config.law.scene(thing.posed(state), latent), config.size_px)
    return RenderedView(
        rendering.rgb,
        with_state(latent, state, source.joint_count),
        part_mask(rendering, thing.face_parts),
    )


def reason_of(error: Exception, entry: MeshEntry) -> str:
    """Why an object failed, with files named from the source's folder: equal on every machine."""
    text = str(error)
    if not isinstance(error, (EquivariantError, RendererError)):
        text = f"{type(error).__name__}: {text}"
    if entry.path:
        text = re.sub(rf"[^\s'\"`(),;=]*[/\\]{re.escape(entry.path)}", entry.path, text)
    return _ABSOLUTE.sub(r"\1", text)


@lru_cache(maxsize=2)
def _renderer(name: str, samples_per_side: int) -> Renderer:
    if name == "embree":
        return get(name, samples_per_side=samples_per_side)
    return get(name)
