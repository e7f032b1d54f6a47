"""From rays to a picture: what each sample sees, its light, the pixel's mean, and the edges."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from renderers.color import ENCODING_STEPS
from renderers.compiled import kernel
from renderers.kernels import (
    BEYOND_CONE,
    FLOOR,
    HIDDEN,
    LIT,
    NOTHING,
    OBJECT,
    Hits,
    Samples,
    Singles,
    Surface,
    View,
    direction,
    dot,
    may_be_shaded,
    object_color,
    object_normals,
    spot_strength,
)


@kernel
def no_samples(count: int) -> Samples:
    """Samples that see nothing yet."""
    return Samples(
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint8),
        np.zeros((count, 3), np.float32),
        np.zeros(count, np.float32),
        np.zeros(count, np.float32),
        np.full(count, np.inf, np.float32),
        np.zeros((count, 3), np.float32),
    )


@kernel
def floor_depth(view: View, towards: tuple[float, float, float]) -> float:
    """Depth at which a ray meets the floor; infinite if it does not."""
    rise = towards[0] * view.zenith[0] + towards[1] * view.zenith[1] + towards[2] * view.zenith[2]
    if rise == 0.0:
        return math.inf
    depth = (view.floor_height - dot(view.origin, view.zenith)) / rise
    return depth if depth > 0.0 else math.inf


@kernel
def see_floor(
    view: View,
    samples: Samples,
    sample: int,
    towards: tuple[float, float, float],
    depth: float,
    shadow_ray: Singles,
) -> bool:
    """Record a floor sample; says whether it needs the shadow ray that it wrote."""
    o, z = view.origin, view.zenith
    side = 1.0 if dot(o, z) >= view.floor_height else -1.0
    px, py, pz = o[0] + depth * towards[0], o[1] + depth * towards[1], o[2] + depth * towards[2]
    samples.kind[sample] = FLOOR
    samples.depth[sample] = depth
    for axis in range(3):
        samples.albedo[sample, axis] = view.floor_color[axis]
        samples.normal[sample, axis] = side * z[axis]
    samples.ambient[sample] = view.level * (1.0 - view.sky + view.sky * side)
    strength = spot_strength(view, px, py, pz)
    if strength < 0.0:
        return False
    lx, ly, lz = view.light[0] - px, view.light[1] - py, view.light[2] - pz
    facing = side * (lx * z[0] + ly * z[1] + lz * z[2])
    if facing <= 0.0:
        samples.state[sample] = HIDDEN
        return False
    samples.state[sample] = LIT
    samples.spot[sample] = strength * facing / math.sqrt(lx * lx + ly * ly + lz * lz)
    shadow_ray[0], shadow_ray[1], shadow_ray[2] = px, py, pz
    shadow_ray[3], shadow_ray[4], shadow_ray[5] = lx, ly, lz
    return may_be_shaded(view, px, py, pz)


@kernel
def see_object(
    view: View,
    surface: Surface,
    hits: Hits,
    ray: int,
    samples: Samples,
    towards: tuple[float, float, float],
    shadow_ray: Singles,
) -> bool:
    """Record an object sample; says whether it needs the shadow ray that it wrote."""
    sample, depth = hits.sample[ray], float(hits.depth[ray])
    o, z = view.origin, view.zenith
    (gx, gy, gz), (nx, ny, nz) = object_normals(view, surface, hits, ray, towards)
    red, green, blue = object_color(surface, hits.face[ray], float(hits.u[ray]), float(hits.v[ray]))
    px = o[0] + depth * towards[0] + view.offset * gx
    py = o[1] + depth * towards[1] + view.offset * gy
    pz = o[2] + depth * towards[2] + view.offset * gz
    samples.kind[sample] = OBJECT
    samples.depth[sample] = depth
    albedo, normal = samples.albedo[sample], samples.normal[sample]
    albedo[0], albedo[1], albedo[2] = red, green, blue
    normal[0], normal[1], normal[2] = nx, ny, nz
    upward = nx * z[0] + ny * z[1] + nz * z[2]
    samples.ambient[sample] = view.level * (1.0 - view.sky + view.sky * upward)
    strength = spot_strength(view, px, py, pz)
    if strength < 0.0:
        return False
    lx, ly, lz = view.light[0] - px, view.light[1] - py, view.light[2] - pz
    height = px * z[0] + py * z[1] + pz * z[2] - view.floor_height
    light_height = dot(view.light, z) - view.floor_height
    behind_floor = (height < 0.0) != (light_height < 0.0)
    if behind_floor or lx * gx + ly * gy + lz * gz <= 0.0:
        samples.state[sample] = HIDDEN
        return False
    samples.state[sample] = LIT
    cosine = (lx * nx + ly * ny + lz * nz) / math.sqrt(lx * lx + ly * ly + lz * lz)
    samples.spot[sample] = strength * max(cosine, 0.0)
    shadow_ray[0], shadow_ray[1], shadow_ray[2] = px, py, pz
    shadow_ray[3], shadow_ray[4], shadow_ray[5] = lx, ly, lz
    return True


@kernel
def see(
    view: View,
    surface: Surface,
    hits: Hits,
    pixels: NDArray[np.int64],
    side: int,
    size: int,
) -> tuple[Samples, Singles, Singles, NDArray[np.int64]]:
    """What every sample sees, and origins, directions and sample numbers of the shadow rays.

    A shadow ray's direction reaches from its origin to the light.
    """
    per_pixel = side * side
    count = pixels.size * per_pixel
    samples = no_samples(count)
    origins = np.empty((count, 3), np.float32)
    directions = np.empty((count, 3), np.float32)
    numbers = np.empty(count, np.int64)
    shadow_ray = np.empty(6, np.float32)
    ray, shadow_rays = 0, 0
    for sample in range(count):
        pixel, sub = pixels[sample // per_pixel], sample % per_pixel
        towards = direction(view, pixel, sub, side, size)
        floor = floor_depth(view, towards)
        asked = False
        mine = ray < hits.sample.size and hits.sample[ray] == sample
        if mine and hits.face[ray] >= 0 and hits.depth[ray] <= floor:
            asked = see_object(view, surface, hits, ray, samples, towards, shadow_ray)
        elif floor < math.inf:
            asked = see_floor(view, samples, sample, towards, floor, shadow_ray)
        if mine:
            ray += 1
        if asked:
            for axis in range(3):
                origins[shadow_rays, axis] = shadow_ray[axis]
                directions[shadow_rays, axis] = shadow_ray[axis + 3]
            numbers[shadow_rays] = sample
            shadow_rays += 1
    return samples, origins[:shadow_rays], directions[:shadow_rays], numbers[:shadow_rays]


@kernel
def hide(samples: Samples, numbers: NDArray[np.int64], occluded: NDArray[np.int32]) -> None:
    """Take the light from the samples whose shadow ray met the object (answer 0, not -1)."""
    for ray in range(numbers.size):
        if occluded[ray] == 0:
            samples.state[numbers[ray]] = HIDDEN


@kernel
def develop(
    samples: Samples,
    pixels: NDArray[np.int64],
    spot_color: Singles,
    encode: NDArray[np.uint8],
    image: NDArray[np.uint8],
) -> None:
    """Write each pixel's mean over its samples, taken in linear light, as sRGB."""
    per_pixel = samples.kind.size // pixels.size
    for index in range(pixels.size):
        for channel in range(3):
            total = 0.0
            for sample in range(index * per_pixel, (index + 1) * per_pixel):
                light = float(samples.ambient[sample])
                if samples.state[sample] == LIT:
                    light += samples.spot[sample] * spot_color[channel]
                total += samples.albedo[sample, channel] * light
            mean = min(max(total / per_pixel, 0.0), 1.0)
            image[pixels[index], channel] = encode[int(mean * ENCODING_STEPS + 0.5)]


@kernel
def differ(
    samples: Samples, image: NDArray[np.uint8], here: int, there: int, threshold: int
) -> bool:
    """Whether two pixels see different things, differently lit, or of different color."""
    if samples.kind[here] != samples.kind[there] or samples.state[here] != samples.state[there]:
        return True
    for channel in range(3):
        if abs(np.int64(image[here, channel]) - np.int64(image[there, channel])) > threshold:
            return True
    return False


@kernel
def edges(
    samples: Samples, image: NDArray[np.uint8], size: int, threshold: int
) -> NDArray[np.int64]:
    """Pixels that differ from one of their four neighbors, in row-major order."""
    marked = np.zeros(size * size, np.bool_)
    for row in range(size):
        for column in range(size):
            here = row * size + column
            if column + 1 < size and differ(samples, image, here, here + 1, threshold):
                marked[here] = True
                marked[here + 1] = True
            if row + 1 < size and differ(samples, image, here, here + size, threshold):
                marked[here] = True
                marked[here + size] = True
    return np.flatnonzero(marked)


__all__ = [
    "BEYOND_CONE",
    "NOTHING",
    "develop",
    "edges",
    "hide",
    "see",
]
