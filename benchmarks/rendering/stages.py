"""Where the time of an Embree picture goes, and what the ray casts alone would take.

The casts of a picture are recorded and cast again, nothing else: in packets as the renderer does,
in packets without Embree (what loading and reading them costs), and one ray at a time through
embreex's Python interface. The first less the second is the time inside Embree: the bound.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from renderers import Mesh, Scene, embree
from renderers.rays.hierarchy import Found, Hierarchy

STAGES = {
    "view_of": "setting up",
    "refined": "rays",
    "aim": "rays",
    "see_object": "object",
    "paint": "colors of the object",
    "see_floor": "floor",
    "hide": "light to sRGB",
    "develop": "light to sRGB",
    "average": "light to sRGB",
    "edges": "edges",
}
QUALITY = 95  # of JPEG, without chroma subsampling, as data sets are written


class Cast(NamedTuple):
    """Rays that were asked for at once; ``reach`` is None for first hits."""

    origins: NDArray[np.float32]
    directions: NDArray[np.float32]
    reach: NDArray[np.float32] | None


@numba.cfunc("void(voidptr, voidptr, voidptr, voidptr)")
def _nothing(lanes: Any, scene: Any, packet: Any, arguments: Any) -> None:
    """In the place of Embree."""


def cast(hierarchy: Hierarchy, casts: list[Cast]) -> float:
    """Processor seconds of some casts."""
    room = Found.of(max(len(one.origins) for one in casts))
    start = time.thread_time()
    for origins, directions, reach in casts:
        if reach is None:
            hierarchy.first(origins, directions, room=room)
        else:
            hierarchy.hidden(origins, directions, reach)
    return time.thread_time() - start


@contextmanager
def recorded(casts: list[Cast]) -> Iterator[None]:
    """Note all rays that hierarchies are asked for."""
    first, hidden = Hierarchy.first, Hierarchy.hidden

    def noted_first(self: Hierarchy, o: Any, d: Any, reach: Any = None, **room: Any) -> Any:
        casts.append(Cast(o.copy(), d.copy(), None))
        return first(self, o, d, reach, **room)

    def noted_hidden(self: Hierarchy, o: Any, d: Any, reach: Any) -> Any:
        casts.append(Cast(o.copy(), d.copy(), reach.copy()))
        return hidden(self, o, d, reach)

    with replaced(Hierarchy, {"first": noted_first, "hidden": noted_hidden}):
        yield


@contextmanager
def replaced(place: Any, changes: dict[str, Any]) -> Iterator[None]:
    """Attributes that are others for a while."""
    kept = {name: getattr(place, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(place, name, value)
        yield
    finally:
        for name, value in kept.items():
            setattr(place, name, value)


@contextmanager
def timed(spent: dict[str, float]) -> Iterator[None]:
    """Add the processor time of every stage."""

    def clocked(call: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return call(*given, **named)
            finally:
                spent[stage] += time.thread_time() - start

        return run

    kernels = {name: clocked(getattr(embree, name), stage) for name, stage in STAGES.items()}
    casts = {
        "first": clocked(Hierarchy.first, "primary rays"),
        "hidden": clocked(Hierarchy.hidden, "shadow rays"),
    }
    with replaced(embree, kernels), replaced(Hierarchy, casts):
        yield


class Bounds:
    """The casts of some pictures, to be cast again and again.

    Args:
        renderer: Whose pictures.
        scenes: Of one mesh.
        size_px: Side of the pictures.
    """

    def __init__(self, renderer: embree.EmbreeRenderer, scenes: list[Scene], size_px: int) -> None:
        self.casts: list[list[Cast]] = []
        for scene in scenes:
            casts: list[Cast] = []
            with recorded(casts):
                renderer.render_rgb(scene, size_px)
            self.casts.append(casts)
        vertices, faces = _centered(scenes[0].mesh)
        self._packets = Hierarchy(vertices, faces)
        self._single = Hierarchy(vertices, faces, lanes=1)
        self._empty = Hierarchy(vertices, faces)
        if self._empty.lanes > 1:
            call = (int(_nothing.address), 0)
            self._empty.intersect = self._empty.occluded = call

    def rays(self, *, shadow: bool) -> float:
        """Mean number of rays of a picture."""
        counts = [
            sum(len(one.origins) for one in casts if (one.reach is not None) == shadow)
            for casts in self.casts
        ]
        return statistics.mean(counts)

    def seconds(self, number: int) -> dict[str, float]:
        """Processor seconds of one picture's casts, in all three ways."""
        casts = self.casts[number]
        packets, loading = cast(self._packets, casts), cast(self._empty, casts)
        return {
            "casts": packets,
            "inside Embree": max(packets - loading, 0.0),
            "casts, single rays": cast(self._single, casts),
        }


def _centered(mesh: Mesh) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    middle = 0.5 * (mesh.vertices.min(0) + mesh.vertices.max(0))
    return (mesh.vertices - middle).astype(np.float32), mesh.faces


def files_seconds(picture: NDArray[np.uint8], path: Path) -> tuple[float, float]:
    """Processor seconds of encoding a picture, and of writing a file that was not there."""
    start = time.thread_time()
    encoded = simplejpeg.encode_jpeg(picture, quality=QUALITY, colorsubsampling="444")
    between = time.thread_time()
    path.write_bytes(encoded)
    end = time.thread_time()
    path.unlink()
    return between - start, end - between


def stage_rows(
    scenes: list[Scene], size_px: int, side: int, *, rounds: int, folder: Path
) -> dict[str, Any]:
    """Medians over pictures and rounds, in milliseconds; everything in turn within a round."""
    renderer = embree.EmbreeRenderer(side)
    bounds = Bounds(renderer, scenes, size_px)
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for number, scene in enumerate(scenes):
            start = time.thread_time()
            picture = renderer.render_rgb(scene, size_px)
            found["picture"].append(time.thread_time() - start)
            encoding, writing = files_seconds(picture, folder / f"{len(found['picture'])}.jpg")
            found["JPEG"].append(encoding)
            found["file"].append(writing)
            found["files' share"].append((encoding + writing) / found["picture"][-1])
            for name, seconds in bounds.seconds(number).items():
                found[name].append(seconds)
            spent: dict[str, float] = defaultdict(float)
            with timed(spent):
                renderer.render_rgb(scene, size_px)
            for name, seconds in spent.items():
                found[f"stage: {name}"].append(seconds)
    files = statistics.median(found.pop("files' share"))
    middle = {name: 1e3 * statistics.median(values) for name, values in found.items()}
    share = [inside / whole for inside, whole in zip(found["casts"], found["picture"], strict=True)]
    strict = [a / b for a, b in zip(found["inside Embree"], found["picture"], strict=True)]
    return {
        "size_px": size_px,
        "samples_per_side": side,
        "primary_rays": bounds.rays(shadow=False),
        "shadow_rays": bounds.rays(shadow=True),
        "picture_ms": middle.pop("picture"),
        "casts_ms": middle.pop("casts"),
        "inside_embree_ms": middle.pop("inside Embree"),
        "single_ray_casts_ms": middle.pop("casts, single rays"),
        "casts_share": statistics.median(share),
        "inside_embree_share": statistics.median(strict),
        "jpeg_ms": middle.pop("JPEG"),
        "file_ms": middle.pop("file"),
        "jpeg_and_file_share": files,
        "stages_ms": {name.removeprefix("stage: "): value for name, value in middle.items()},
    }


def commit_seconds(mesh: Mesh, rounds: int) -> float:
    """Median processor seconds of building the hierarchy."""
    vertices, faces = _centered(mesh)
    found = []
    for _ in range(rounds):
        start = time.process_time()
        Hierarchy(vertices, faces)
        found.append(time.process_time() - start)
    return statistics.median(found)
