"""The inner loops around Embree: rays, surface points, light, edges.

Everything happens in the object's frame, moved to the center of its bounding sphere: the camera,
the floor and the light are turned there instead of turning the mesh. A ray is
``origin + t * (forward + x * right + y * up)``, so t is the depth along the viewing axis.
A sample is one ray; a pixel has ``side * side`` of them on a regular grid.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderers.rays.compiled import kernel

NOTHING, FLOOR, OBJECT = 0, 1, 2
BEYOND_CONE, LIT, HIDDEN, TURNED_AWAY, UNDECIDED = 0, 1, 2, 3, 4

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Position = tuple[float, float, float]


class View(NamedTuple):
    """Camera, floor and light as seen from the object; colors are linear light.

    ``floor_height`` is -inf without a floor; ``cos_outer`` is 2 without a spot. ``energy``
    carries the factor of the inverse-square law. Tuples, not arrays: Numba counts references to
    an array at every call, which in a loop over samples costs more than the arithmetic.
    """

    origin: Position
    right: Position
    up: Position
    forward: Position
    zenith: Position
    radius: float
    offset: float
    floor_height: float
    floor_color: Position
    light: Position
    axis: Position
    cos_outer: float
    cos_inner: float
    energy: float
    spot_color: Position
    level: float
    sky: float


class Grid(NamedTuple):
    """Place of every sample in the image, both coordinates in [-1, 1], y upwards.

    ``order`` has the number of every sample once, such that neighbors in it are close together.
    ``step`` is the distance between samples.
    """

    x: Floats
    y: Floats
    order: NDArray[np.int64]
    step: float


class Hits(NamedTuple):
    """Answer of the ray caster, for the rays in the order of :func:`aim`."""

    sample: NDArray[np.int64]
    face: NDArray[np.int32]
    depth: Singles
    u: Singles
    v: Singles
    normal: Singles


class Samples(NamedTuple):
    """What each sample sees, before it is known which of them lie in shadow.

    ``kind`` is NOTHING, FLOOR or OBJECT; ``state`` is BEYOND_CONE, LIT, HIDDEN by something, or
    TURNED_AWAY from the light. The linear color is ``albedo * (ambient + spot * spot_color)``,
    with the second term only when LIT. ``albedo`` and ``ambient`` are written for the object
    only, since those of the floor are everywhere the same; ``depth`` and ``normal`` have no rows
    where nobody asks for them. ``further`` is the linear light of lights beside the spot, and
    ``states`` has a row of states for each of them; both are without rows where there are none.
    """

    kind: NDArray[np.uint8]
    state: NDArray[np.uint8]
    albedo: Singles
    ambient: Singles
    spot: Singles
    depth: Singles
    normal: Singles
    further: Singles
    states: NDArray[np.uint8]


class Rays(NamedTuple):
    """Rays, and the samples they belong to."""

    origins: Singles
    directions: Singles
    sample: NDArray[np.int64]


@kernel
def dot(a: Position, b: Position) -> float:
    """Inner product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
def along(a: Position, share: float, b: Position) -> Position:
    """The point a + share * b."""
    return a[0] + share * b[0], a[1] + share * b[1], a[2] + share * b[2]


@kernel
def between(a: Position, b: Position) -> Position:
    """The vector from a to b."""
    return b[0] - a[0], b[1] - a[1], b[2] - a[2]


@kernel
def unit_or(vector: Position, other: Position) -> Position:
    """The vector's direction, or the other vector where it has none."""
    length = math.sqrt(dot(vector, vector))
    if length > 1e-20 and length < math.inf:
        return vector[0] / length, vector[1] / length, vector[2] / length
    return other


@kernel
def facing(vector: Position, side: Position) -> Position:
    """The vector or its opposite, whichever lies on the given side."""
    if dot(vector, side) < 0.0:
        return -vector[0], -vector[1], -vector[2]
    return vector


@kernel
def put(vectors: Singles, index: int, vector: Position) -> None:
    """Write one row."""
    vectors[index, 0] = vector[0]
    vectors[index, 1] = vector[1]
    vectors[index, 2] = vector[2]


@kernel
def row(vectors: Singles, index: int) -> Position:
    """Read one row."""
    return float(vectors[index, 0]), float(vectors[index, 1]), float(vectors[index, 2])


@lru_cache(maxsize=8)
def centers(size: int) -> Grid:
    """The centers of all pixels, in row-major order, to be taken in tiles of 4 by 4."""
    x, y = spread(np.arange(size * size), 1, size)
    row, column = np.divmod(np.arange(size * size), size)
    order = np.lexsort((column, row, column // 4, row // 4))
    for values in (x, y, order):
        values.setflags(write=False)
    return Grid(x, y, order, 2.0 / size)


def refined(pixels: NDArray[np.int64], side: int, size: int) -> Grid:
    """The samples of some pixels, pixel by pixel.

    Of an odd grid above 1 the middle is left out: the first pass has taken it.
    """
    x, y = spread(pixels, side, size)
    return Grid(x, y, np.arange(x.size), 2.0 / (side * size))


@kernel
def spread(pixels: NDArray[np.int64], side: int, size: int) -> tuple[Floats, Floats]:
    """Place of the samples of some pixels; without the middle of an odd grid above 1."""
    skipped = side // 2 if side > 1 and side % 2 == 1 else -1
    per_pixel = side * side - (1 if skipped >= 0 else 0)
    x = np.empty(pixels.size * per_pixel)
    y = np.empty(pixels.size * per_pixel)
    step = 2.0 / (side * size)
    sample = 0
    for pixel in pixels:
        row = pixel // size
        column = pixel - row * size
        for sub_row in range(side):
            for sub_column in range(side):
                if sub_row == skipped and sub_column == skipped:
                    continue
                x[sample] = (column * side + sub_column + 0.5) * step - 1.0
                y[sample] = 1.0 - (row * side + sub_row + 0.5) * step
                sample += 1
    return x, y


@kernel
def direction(view: View, x: float, y: float) -> Position:
    """Direction of a sample, with component 1 along the viewing axis."""
    return along(along(view.forward, x, view.right), y, view.up)


@kernel
def span(view: View, axis: Position) -> tuple[float, float]:
    """Least and greatest coordinate along an axis of the image where the bounding sphere may be.

    Of a circle of radius r about (a, b) in the plane of the axis and the viewing direction, b
    ahead, the tangents through the origin have the slopes (a b ± r √(a² + b² - r²)) / (b² - r²).
    """
    length = math.sqrt(dot(axis, axis))
    aside, ahead = -dot(view.origin, axis) / length, -dot(view.origin, view.forward)
    apart = ahead * ahead - view.radius * view.radius
    if ahead <= 0.0 or apart <= 1e-6 * ahead * ahead:
        return -math.inf, math.inf
    reach = view.radius * math.sqrt(aside * aside + apart)
    scale = apart * length
    slack = 1e-6 * (abs(aside * ahead) + reach) / scale
    low, high = (aside * ahead - reach) / scale, (aside * ahead + reach) / scale
    return low - slack, high + slack


@kernel
def aim(view: View, grid: Grid, rays: Rays) -> int:
    """Write the rays that meet the bounding sphere; returns how many there are."""
    x, y, order = grid.x, grid.y, grid.order
    origins, directions, numbers = rays.origins, rays.directions, rays.sample
    outside = dot(view.origin, view.origin) - view.radius * view.radius
    left, right = span(view, view.right)
    bottom, top = span(view, view.up)
    count = 0
    for sample in order:
        if not (left <= x[sample] <= right and bottom <= y[sample] <= top):
            continue
        ray = direction(view, x[sample], y[sample])
        closing = -dot(view.origin, ray)
        ahead = closing > 0.0 and closing * closing >= dot(ray, ray) * outside
        if outside <= 0.0 or ahead:
            put(origins, count, view.origin)
            put(directions, count, ray)
            numbers[count] = sample
            count += 1
    return count


@kernel
def floor_depth(view: View, ray: Position) -> float:
    """Depth at which a ray meets the floor; infinite if it does not."""
    rise = dot(ray, view.zenith)
    if rise == 0.0:
        return math.inf
    depth = (view.floor_height - dot(view.origin, view.zenith)) / rise
    return depth if depth > 0.0 else math.inf


@kernel
def ambient_light(view: View, normal: Position) -> float:
    """Light from everywhere, more of it from above."""
    return view.level * (1.0 - view.sky + view.sky * dot(normal, view.zenith))


@kernel
def spot_strength(view: View, to_light: Position) -> tuple[float, float]:
    """Irradiance on a point facing the light, by cone and inverse square, and 1 / distance.

    ``to_light`` goes from the point to the light. Beyond the cone the irradiance is -1.
    """
    inverse = 1.0 / math.sqrt(max(dot(to_light, to_light), 1e-12))
    cosine = -dot(to_light, view.axis) * inverse
    x = (cosine - view.cos_outer) / (view.cos_inner - view.cos_outer)
    x = x if x < 1.0 else 1.0
    strength = view.energy * inverse * inverse * x * x * (3.0 - 2.0 * x)
    return strength if cosine > view.cos_outer else -1.0, inverse


@kernel
def may_be_shaded(view: View, point: Position, to_light: Position) -> bool:
    """Whether the way from a point p along w to the light meets the bounding sphere.

    The line does where (p · p - r²)(w · w) ≤ (p · w)²; its nearest place to the center is on the
    way where -(p · w) is from 0 to w · w. Otherwise an end of the way is nearest.
    """
    square = view.radius * view.radius
    outside = dot(point, point) - square
    length, closing = dot(to_light, to_light), -dot(point, to_light)
    between_ends = (closing > 0.0) & (closing < length) & (outside * length <= closing * closing)
    light_inside = (closing >= length) & (dot(view.light, view.light) <= square)
    return bool((outside <= 0.0) | between_ends | light_inside)
