"""Lights beside the spot: each sends shadow rays of its own, and their light adds up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from renderers.rays.compiled import kernel
from renderers.rays.cutouts import Tracer
from renderers.rays.kernels import HIDDEN, LIT, Grid, Hits, Rays, Samples, Singles, View
from renderers.rays.object_frame import view_of
from renderers.rays.shading import edges, hide, see_floor, see_object
from renderers.scene import Scene

REACH = np.ones(1, np.float32)


def views_of_lights(scene: Scene, center: NDArray[np.float64], radius: float) -> tuple[View, ...]:
    """The scene as its object sees it, once for each further light, which takes the spot's place.

    Args:
        scene: What to show.
        center: Of the bounding sphere, in coordinates of the object, shape (3,).
        radius: Of the bounding sphere.
    """
    return tuple(
        view_of(replace(scene, spot=light, lights=()), center, radius) for light in scene.lights
    )


def shaded(
    view: View, tracer: Tracer, normals: Singles, hits: Hits, grid: Grid, samples: Samples,
    shadow: Rays,
) -> None:  # fmt: skip
    """Say of every sample whether the view's light reaches it, and how strongly."""
    rays = see_object(view, normals, hits, grid, samples, shadow)
    rays = see_floor(view, grid, samples, shadow, rays)
    if rays:
        hide(samples, shadow, tracer.hidden(shadow.origins[:rays], shadow.directions[:rays], REACH))


def add_lights(
    views: Sequence[View], tracer: Tracer, normals: Singles, hits: Hits, grid: Grid,
    samples: Samples, shadow: Rays,
) -> Samples:  # fmt: skip
    """The samples with the light of further lights, and the state of each towards each of them.

    Args:
        views: Of :func:`views_of_lights`; none leaves the samples as they are.
        tracer: Of the mesh.
        normals: Of the mesh's corners.
        hits: What the rays met.
        grid: Where the samples are.
        samples: What they see.
        shadow: Room for shadow rays.
    """
    if not views:
        return samples
    count = samples.kind.size
    further = np.zeros((count, 3), np.float32)
    states = np.zeros((len(views), count), np.uint8)
    bare = samples._replace(
        spot=np.zeros(count, np.float32), depth=samples.depth[:0], normal=samples.normal[:0]
    )
    for view, state in zip(views, states, strict=True):
        own = bare._replace(state=state)
        shaded(view, tracer, normals, hits, grid, own, shadow)
        shine(view, own, further)
    return samples._replace(further=further, states=states)


@kernel
def shine(view: View, samples: Samples, further: Singles) -> None:
    """Add a light where it is not hidden."""
    color = view.spot_color
    for sample in range(samples.kind.size):
        if samples.state[sample] == LIT:
            strength = float(samples.spot[sample])
            further[sample, 0] += strength * color[0]
            further[sample, 1] += strength * color[1]
            further[sample, 2] += strength * color[2]


def edges_of_all(
    marks: NDArray[np.int32], samples: Samples, order: NDArray[np.int64], threshold: int
) -> NDArray[np.int64]:
    """Pixels at the edge of a thing, a color, or the shadow of any light, in the order given."""
    found = edges(marks, order, threshold)
    if not len(samples.states):
        return found
    marked = np.zeros(marks.size, np.bool_)
    marked[found] = True
    for state in samples.states:
        sort = (state == LIT).astype(np.int32) << 26 | (state == HIDDEN).astype(np.int32) << 27
        marked[edges(sort, order, 255)] = True
    return order[marked[order]]
