"""What one process does: load objects, render their views, write them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated import ArticulatedMeshes
from datasets3d.meshes.formats.mesh_warning import collected
from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.scenes.rendered import view_of_scene
from datasets3d.scenes.scene_meshes import SceneMeshes
from datasets3d.views.config import BuildConfig
from datasets3d.views.latents import ViewLaw
from datasets3d.views.object_notes import Note, is_own, write_note
from datasets3d.views.parts import files_of, part_mask, with_state
from datasets3d.views.passes.arrays import MovedParts, pass_files
from datasets3d.views.passes.kinds import camera_file, check_passes, files_of_passes, pass_file
from datasets3d.views.plan import key_of
from datasets3d.views.storage import (
    RenderedView,
    digest_of,
    object_files,
    warnings_file,
    write_folder,
)
from datasets3d.views.view_checks import check_lights, check_view
from equivariant.errors import (
    ConventionError,
    DataFormatError,
    EquivariantError,
    StorageError,
    printable,
)
from equivariant.files import read_file
from renderers import (
    Mesh,
    Renderer,
    RendererError,
    RendererUnavailableError,
    Scene,
    get,
    renderer_class,
)

_TRIANGLE = Mesh(
    vertices=np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.5, 0.0]]),
    faces=np.array([[0, 1, 2]], np.int32),
    corner_normals=np.tile(np.array([0.0, 0.0, 1.0], np.float32), (1, 3, 1)),
    face_colors=np.full((1, 3), 200, np.uint8),
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of an object in memory: another one each time
_ABSOLUTE = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\][^\s'\"`(),;]*[/\\]([^\s'\"`(),;:/\\]+)")


@dataclass(frozen=True)
class Outcome:
    """What became of an object.

    Args:
        key: ``<class>/<object id>``.
        note: What is known of its files; None where it failed.
        reason: Why it failed; None where it did not.
        rendered: Views that were rendered now.
    """

    key: str
    note: Note | None
    reason: str | None
    rendered: int = 0


@dataclass(frozen=True)
class Wanted:
    """An object to be rendered.

    Args:
        entry: Which.
        note: Of its files that are there and lack views; None where nothing is to be kept.
    """

    entry: MeshEntry
    note: Note | None = None


@dataclass(frozen=True)
class RenderObject:
    """The task of a build: called with an object, it renders and writes it, in any process.

    Args:
        source: Where the objects come from.
        root: The data set's folder.
        config: What and how.
    """

    source: MeshSource
    root: Path
    config: BuildConfig

    def prepare(self) -> None:
        """Load the renderer and all that a picture needs: no object's limits count it."""
        law = ViewLaw()  # another law may refuse this mesh
        scene = law.scene(_TRIANGLE, law.sample(0, "a triangle", view=0))
        _renderer(self.config.renderer, self.config.samples_per_side).render(scene, 8)

    def __call__(self, wanted: Wanted) -> Outcome:
        """Render what an object lacks and write it, or say why it cannot be."""
        entry = wanted.entry
        key, folder = key_of(entry), self.root / key_of(entry)
        there = folder.is_dir()
        kept = _whole_files(folder, wanted.note)
        first = _first_view(kept, self.config)
        try:
            mesh = self.source.fingerprint(entry)
            made, cut = files_of_object(self.source, entry, self.config, first=first)
        except (RendererUnavailableError, StorageError):  # no fault of the mesh
            raise
        except Exception as error:  # whatever a mesh provokes must not stop the others
            return Outcome(key, None, reason_of(error, entry))
        _check_same(key, kept, made)
        files = kept | made
        if first and wanted.note is not None:
            cut += wanted.note.cut
        note = Note.of(files, mesh=mesh, cut=cut)
        write_note(self.root, key, note)
        foreign = [p.name for p in folder.iterdir() if not is_own(p.name)] if there else []
        write_folder(folder, files, replace=there, keep=foreign)
        return Outcome(key, note, None, self.config.views - first)


def files_of_object(
    source: MeshSource, entry: MeshEntry, config: BuildConfig, *, first: int = 0
) -> tuple[dict[str, bytes], int]:
    """The files of an object, by name, rendered.

    Args:
        source: Where it comes from.
        entry: Which object.
        config: What and how.
        first: Index of the first view.

    Returns:
        The files, and the number of views in which the object reaches the border.

    Raises:
        DataFormatError: It cannot be loaded, or a view does not show it.
        RendererError: It cannot be rendered.
    """
    with collected() as notes:
        views = render_object(source, entry, config, first=first)
    files = object_files(
        views, first=first, quality=config.quality, channel_order=config.channel_order,
        extra=files_of(source, entry) | warnings_file(notes),
    )  # fmt: skip
    return files, sum(view.cut for view in views)


def is_whole(folder: Path, note: Note | None, config: BuildConfig) -> bool:
    """Whether an object is there with all of its views and passes, as far as names and sizes tell.

    Args:
        folder: The object's.
        note: What is known of it, if anything is.
        config: Says which views and passes it should have.
    """
    view = config.views - 1
    last = [folder / f"latent_{view}.npy", folder / f"image_{view}.jpg"]
    further = [*(pass_file(name, view) for name in config.passes), camera_file(view)]
    last += [folder / name for name in (further if config.passes else ())]
    return all(path.is_file() for path in last) and (note is None or note.fits(folder))


def left_to_render(
    root: Path, config: BuildConfig, entries: Sequence[MeshEntry], known: dict[str, Note]
) -> Iterator[Wanted]:
    """Objects that are not there, or lack views, or whose files are not of the size noted."""
    for entry in entries:
        key = key_of(entry)
        if not is_whole(root / key, known.get(key), config):
            yield Wanted(entry, known.get(key))


def views_kept(root: Path, wanted: Wanted, config: BuildConfig) -> int:
    """How many views of an object are there and need not be rendered again."""
    return _first_view(_whole_files(root / key_of(wanted.entry), wanted.note), config)


def _first_view(files: Collection[str], config: BuildConfig) -> int:
    """The first view that is to be rendered: of an object that lacks passes, all are again."""
    views = sum(name.startswith("latent_") for name in files)
    return views if files_of_passes(config.passes, views) <= set(files) else 0


def _check_same(key: str, kept: Mapping[str, bytes], made: Mapping[str, bytes]) -> None:
    """Raise DataFormatError where a file that was rendered again has not the bytes of before."""
    others = sorted(name for name in kept.keys() & made.keys() if kept[name] != made[name])
    if others:
        raise DataFormatError(
            expected="the bytes of before, of what is rendered again for its passes",
            got=f"others of {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}",
            argument=key,
            advice="It was rendered on another kind of processor. Go on there; or remove this "
            "object's folder, and the same call renders it anew.",
        )  # fmt: skip


def check_first_object(
    source: MeshSource, root: Path, config: BuildConfig, entries: Sequence[MeshEntry]
) -> None:
    """Render the first view of an object that is there, and compare it, before passes are added.

    Args:
        source: Where the objects come from.
        root: The data set's folder.
        config: What and how.
        entries: All objects.

    Raises:
        DataFormatError: It has other bytes than before; nothing was changed.
    """
    entry = next((e for e in entries if (root / key_of(e) / "image_0.jpg").is_file()), None)
    if entry is None:
        return
    folder = root / key_of(entry)
    made, _ = files_of_object(source, entry, replace(config, views=1, passes=()))
    names = ("image_0.jpg", "latent_0.npy")
    kept = {name: read_file(folder / name) for name in names if (folder / name).is_file()}
    _check_same(key_of(entry), kept, {name: made[name] for name in names})


def _whole_files(folder: Path, note: Note | None) -> dict[str, bytes]:
    """The files of an object that is there, if they are what its note says; else none."""
    if note is None or not folder.is_dir():
        return {}
    own = (path for path in folder.iterdir() if is_own(path.name) and path.is_file())
    files = {path.name: read_file(path) for path in own}
    return files if digest_of(files) == note.digest else {}


def check_renderer(config: BuildConfig, source: MeshSource, *, here: bool = True) -> None:
    """Learn now whether the renderer of a build can do what is asked for.

    Args:
        config: What and how.
        source: Where the objects come from.
        here: Make it, to see that it works on this machine, too.

    Raises:
        RendererError: It is unknown, or a package or library it needs is missing.
        ConventionError: Masks of parts are to be made, and it names no faces; or it or the source
            cannot give a pass, or the renderer shows one light and the law has several.
    """
    renderer: Renderer | type[Renderer] = (
        _renderer(config.renderer, config.samples_per_side)
        if here
        else renderer_class(config.renderer)
    )
    if isinstance(source, (ArticulatedMeshes, SceneMeshes)) and not renderer.names_faces:
        raise ConventionError(
            expected="a renderer that names the faces it shows, for masks of parts",
            got=repr(config.renderer), argument="config.renderer",
            advice='Use "embree" for articulated objects.',
        )  # fmt: skip
    check_lights(config, renderer)
    check_passes(
        config.passes, config.renderer, faces=renderer.names_faces, alpha=renderer.gives_alpha,
        parts=isinstance(source, ArticulatedMeshes), scenes=isinstance(source, SceneMeshes),
    )  # fmt: skip


def render_object(
    source: MeshSource,
    entry: MeshEntry,
    config: BuildConfig,
    *,
    first: int = 0,
    views: int | None = None,
) -> list[RenderedView]:
    """The views of one object, each of them checked.

    Args:
        source: Where it comes from.
        entry: Which object.
        config: What and how.
        first: Index of the first view.
        views: Up to the view of this index; None takes ``config.views``.

    Raises:
        DataFormatError: It cannot be loaded, or a view does not show it.
        RendererError: It cannot be rendered.
    """
    renderer = _renderer(config.renderer, config.samples_per_side)
    mesh = source.load(entry)
    rendered = []
    for view in range(first, config.views if views is None else views):
        latent = config.law.sample(config.seed, key_of(entry), view=view)
        if isinstance(source, ArticulatedMeshes):
            rendered.append(_view_in_a_state(renderer, source, entry, config, view, latent))
            continue
        if isinstance(source, SceneMeshes):
            rendered.append(view_of_scene(
                renderer, source, entry, config, view, latent, lambda: _renderer(config.renderer, 1)
            ))  # fmt: skip
            continue
        scene = config.law.scene(mesh, latent)
        rendered.append(_view(renderer, scene, config, view, latent))
    return rendered


def _view(
    renderer: Renderer, scene: Scene, config: BuildConfig, view: int, latent: NDArray[np.float64]
) -> RenderedView:
    """A view of a rigid object; without passes nothing but its picture and mask is rendered."""
    if not config.passes:
        image, mask = renderer.render_rgb_and_mask(scene, config.size_px)
        cut = check_view(image, latent, mask, view=view, size_px=config.size_px)
        return RenderedView(image, latent, cut=cut)
    rendering = renderer.render(scene, config.size_px)
    cut = check_view(rendering.rgb, latent, rendering.mask, view=view, size_px=config.size_px)
    further = pass_files(view, config.passes, renderer, scene, rendering)
    return RenderedView(rendering.rgb, latent, cut=cut, further=further)


def _view_in_a_state(
    renderer: Renderer, source: ArticulatedMeshes, entry: MeshEntry, config: BuildConfig,
    view: int, latent: NDArray[np.float64],
) -> RenderedView:  # fmt: skip
    """A view of an articulated object; state k of its joints belongs to view k."""
    thing, state = source.object(entry), source.state(entry, view)
    scene = config.law.scene(thing.posed(state), latent)
    rendering = renderer.render(scene, config.size_px)
    latent = with_state(latent, state, source.joint_count)
    cut = check_view(rendering.rgb, latent, rendering.mask, view=view, size_px=config.size_px)
    parts = MovedParts(thing.face_parts, thing.mechanism.elements(state))
    names = config.passes
    further = pass_files(view, names, renderer, scene, rendering, parts) if names else {}
    mask = part_mask(rendering, thing.face_parts)
    return RenderedView(rendering.rgb, latent, mask, cut, further)


def reason_of(error: Exception, entry: MeshEntry) -> str:
    """Why an object failed, with files named from the source's folder: equal on every machine."""
    text = str(error)
    if not isinstance(error, (EquivariantError, RendererError)):
        text = f"{type(error).__name__}: {text}"
    said = printable(entry.path)
    for path in {entry.path, said} - {""}:
        found = rf"[^\s'\"`(),;=]*[/\\]{re.escape(path)}"
        text = re.sub(found, said.replace("\\", r"\\"), text)
    return _ADDRESS.sub("", _ABSOLUTE.sub(r"\1", text))


@lru_cache(maxsize=2)
def _renderer(name: str, samples_per_side: int) -> Renderer:
    if name == "embree":
        return get(name, samples_per_side=samples_per_side)
    return get(name)
