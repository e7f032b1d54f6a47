"""From rays to a picture: what each sample sees, its light, the pixel's mean, and the edges."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from renderers.color import ENCODING_STEPS
from renderers.rays.compiled import kernel
from renderers.rays.kernels import (
    FLOOR,
    HIDDEN,
    LIT,
    NOTHING,
    OBJECT,
    TURNED_AWAY,
    UNDECIDED,
    Grid,
    Hits,
    Position,
    Rays,
    Samples,
    Singles,
    View,
    along,
    ambient_light,
    between,
    direction,
    dot,
    facing,
    floor_depth,
    may_be_shaded,
    put,
    row,
    spot_strength,
    unit_or,
)
from renderers.rays.looks import Surface
from renderers.rays.textures import averaged, footprint


@kernel
def paint(
    surface: Surface,
    view: View,
    hits: Hits,
    grid: Grid,
    samples: Samples,
) -> None:
    """Write the mesh's linear color for every sample that sees the object."""
    faces, vertex_colors, face_colors = surface.faces, surface.vertex_colors, surface.face_colors
    source, uv, pyramid, decode = surface.source, surface.uv, surface.pyramid, surface.decode
    tint, tile, slope, flats = surface.tint, surface.tile, surface.slope, hits.normal
    ray_face, ray_u, ray_v, ray_sample = hits.face, hits.u, hits.v, hits.sample
    ray_depth = hits.depth
    kind, albedo, x, y = samples.kind, samples.albedo, grid.x, grid.y
    for ray in range(ray_sample.size):
        face, sample = ray_face[ray], ray_sample[ray]
        if kind[sample] != OBJECT:
            continue
        u, v = float(ray_u[ray]), float(ray_v[ray])
        w = 1.0 - u - v
        if source[face] == 2:
            s = w * uv[face, 0, 0] + u * uv[face, 1, 0] + v * uv[face, 2, 0]
            t = w * uv[face, 0, 1] + u * uv[face, 1, 1] + v * uv[face, 2, 1]
            flat = (float(flats[ray, 0]), float(flats[ray, 1]), float(flats[ray, 2]))
            way = direction(view, x[sample], y[sample])
            seen = footprint(view, way, float(ray_depth[ray]), flat, slope[face], grid.step)
            put(albedo, sample, averaged(pyramid, decode, tile[face], s, t, seen))
            if tint.shape[0] > 0:
                for channel in range(3):
                    albedo[sample, channel] *= (
                        w * tint[face, 0, channel]
                        + u * tint[face, 1, channel]
                        + v * tint[face, 2, channel]
                    )
            continue
        for channel in range(3):
            if source[face] == 1:
                albedo[sample, channel] = (
                    w * vertex_colors[faces[face, 0], channel]
                    + u * vertex_colors[faces[face, 1], channel]
                    + v * vertex_colors[faces[face, 2], channel]
                )
            else:
                albedo[sample, channel] = face_colors[face, channel]


@kernel
def see_object(
    view: View,
    normals: Singles,
    hits: Hits,
    grid: Grid,
    samples: Samples,
    shadow: Rays,
) -> int:
    """Record the samples that see the object, and their shadow rays; returns how many of these."""
    ray_face, ray_depth, ray_u, ray_v, ray_flat = (
        hits.face,
        hits.depth,
        hits.u,
        hits.v,
        hits.normal,
    )
    kind, state, spot, ambient = samples.kind, samples.state, samples.spot, samples.ambient
    x, y, depths, sides = grid.x, grid.y, samples.depth, samples.normal
    light_above = dot(view.light, view.zenith) >= view.floor_height
    count = 0
    for index in range(hits.sample.size):
        face, depth, sample = ray_face[index], float(ray_depth[index]), hits.sample[index]
        ray = direction(view, x[sample], y[sample])
        if face < 0 or depth > floor_depth(view, ray):
            continue
        u, v = ray_u[index], ray_v[index]
        w = 1.0 - u - v
        smooth = (
            w * normals[face, 0, 0] + u * normals[face, 1, 0] + v * normals[face, 2, 0],
            w * normals[face, 0, 1] + u * normals[face, 1, 1] + v * normals[face, 2, 1],
            w * normals[face, 0, 2] + u * normals[face, 1, 2] + v * normals[face, 2, 2],
        )
        flat = (float(ray_flat[index, 0]), float(ray_flat[index, 1]), float(ray_flat[index, 2]))
        flat = facing(unit_or(flat, view.zenith), (-ray[0], -ray[1], -ray[2]))
        normal = facing(unit_or(smooth, flat), flat)
        point = along(along(view.origin, depth, ray), view.offset, flat)
        kind[sample] = OBJECT
        if depths.size > 0:
            depths[sample] = depth
            put(sides, sample, normal)
        ambient[sample] = ambient_light(view, normal)
        to_light = between(point, view.light)
        strength, inverse = spot_strength(view, to_light)
        if strength < 0.0:
            continue
        above = dot(point, view.zenith) >= view.floor_height
        if above != light_above or dot(to_light, flat) <= 0.0:
            state[sample] = TURNED_AWAY if above == light_above else HIDDEN
            continue
        state[sample] = LIT
        cosine = dot(to_light, normal) * inverse
        spot[sample] = strength * max(cosine, 0.0)
        put(shadow.origins, count, point)
        put(shadow.directions, count, to_light)
        shadow.sample[count] = sample
        count += 1
    return count


@kernel
def floor_side(view: View) -> Position:
    """Normal of the floor on the side that the camera sees."""
    above = dot(view.origin, view.zenith) >= view.floor_height
    return facing(view.zenith, view.zenith if above else along(view.zenith, -2.0, view.zenith))


@kernel
def light_floor(view: View, grid: Grid, samples: Samples) -> None:
    """Say of every sample that does not see the object whether it sees the floor, and its light.

    Where the way to the light meets the bounding sphere the state is UNDECIDED. No branches: the
    compiler makes this loop take several samples at once.
    """
    kind, state, spot, x, y = samples.kind, samples.state, samples.spot, grid.x, grid.y
    normal = floor_side(view)
    height = view.floor_height - dot(view.origin, view.zenith)
    for sample in range(kind.size):
        ray = direction(view, x[sample], y[sample])
        depth = height / dot(ray, view.zenith)
        point = along(view.origin, depth, ray)
        to_light = between(point, view.light)
        strength, inverse = spot_strength(view, to_light)
        cosine = dot(to_light, normal) * inverse
        free = kind[sample] != OBJECT
        seen = free & (depth > 0.0) & (depth < math.inf)
        within = seen & (strength >= 0.0)
        lit = within & (cosine > 0.0)
        doubt = lit & may_be_shaded(view, point, to_light)
        away = within & (cosine <= 0.0)
        there = UNDECIDED * doubt + LIT * (lit & (not doubt)) + TURNED_AWAY * away
        kind[sample] = np.uint8(FLOOR) if seen else kind[sample]
        state[sample] = np.uint8(there) if seen else state[sample]
        spot[sample] = np.float32(strength * cosine) if lit else spot[sample]


@kernel
def see_floor(view: View, grid: Grid, samples: Samples, shadow: Rays, count: int) -> int:
    """Record the samples that see the floor, and add their shadow rays after the first ``count``.

    Runs after :func:`see_object`, whose samples it leaves alone. Returns the new count.
    """
    light_floor(view, grid, samples)
    state, x, y = samples.state, grid.x, grid.y
    if samples.depth.size > 0:
        measure_floor(view, grid, samples)
    for sample in grid.order:
        if state[sample] == UNDECIDED:
            ray = direction(view, x[sample], y[sample])
            point = along(view.origin, floor_depth(view, ray), ray)
            put(shadow.origins, count, point)
            put(shadow.directions, count, between(point, view.light))
            shadow.sample[count] = sample
            state[sample] = LIT
            count += 1
    return count


@kernel
def measure_floor(view: View, grid: Grid, samples: Samples) -> None:
    """Write depth and normal of the samples that do not see the object."""
    normal = floor_side(view)
    for sample in range(samples.kind.size):
        if samples.kind[sample] != OBJECT:
            ray = direction(view, grid.x[sample], grid.y[sample])
            depth = floor_depth(view, ray)
            samples.depth[sample] = depth
            put(samples.normal, sample, normal if depth < math.inf else (0.0, 0.0, 0.0))


@kernel
def hide(samples: Samples, shadow: Rays, occluded: NDArray[np.int32]) -> None:
    """Take the light from the samples whose shadow ray met the object (answer 0, not -1)."""
    for ray in range(occluded.size):
        if occluded[ray] == 0:
            samples.state[shadow.sample[ray]] = HIDDEN


@kernel
def radiance(
    albedo: Position, ambient: float, strength: float, spot_color: Position, further: Position
) -> Position:
    """Linear light of a surface, as single precision keeps it."""
    return (
        float(np.float32(albedo[0] * (ambient + strength * spot_color[0] + further[0]))),
        float(np.float32(albedo[1] * (ambient + strength * spot_color[1] + further[1]))),
        float(np.float32(albedo[2] * (ambient + strength * spot_color[2] + further[2]))),
    )


@kernel
def of_others(further: Singles, sample: int) -> Position:
    """Light of the lights beside the spot; none where there are none."""
    return row(further, sample) if further.shape[0] > 0 else (0.0, 0.0, 0.0)


@kernel
def floor_looks(view: View) -> tuple[Position, float]:
    """Linear color and ambient light of the floor, as single precision keeps them."""
    color = view.floor_color
    rounded = float(np.float32(color[0])), float(np.float32(color[1])), float(np.float32(color[2]))
    return rounded, float(np.float32(ambient_light(view, floor_side(view))))


@kernel
def glow(view: View, samples: Samples, numbers: NDArray[np.int64]) -> Singles:
    """Linear light of some samples."""
    kind, state, spot, further = samples.kind, samples.state, samples.spot, samples.further
    albedo, ambient = samples.albedo, samples.ambient
    floor, floor_ambient = floor_looks(view)
    light = np.zeros((numbers.size, 3), np.float32)
    for index in range(numbers.size):
        sample = numbers[index]
        strength = float(spot[sample]) if state[sample] == LIT else 0.0
        if kind[sample] == FLOOR:
            more = of_others(further, sample)
            put(light, index, radiance(floor, floor_ambient, strength, view.spot_color, more))
        elif kind[sample] == OBJECT:
            color, level, more = row(albedo, sample), ambient[sample], of_others(further, sample)
            put(light, index, radiance(color, float(level), strength, view.spot_color, more))
    return light


@kernel
def develop(
    view: View,
    samples: Samples,
    encode: NDArray[np.uint8],
    image: NDArray[np.uint8],
    marks: NDArray[np.int32],
) -> None:
    """Write the color of every sample, which is that of its pixel, as sRGB.

    ``marks`` receives the color in 24 bits and, above them, kind, lit and hidden: what
    :func:`edges` compares.
    """
    kind, state, spot, further = samples.kind, samples.state, samples.spot, samples.further
    albedo, ambient, alone = samples.albedo, samples.ambient, samples.further.shape[0] == 0
    floor, floor_ambient = floor_looks(view)
    plain = encoded(radiance(floor, floor_ambient, 0.0, view.spot_color, (0.0, 0.0, 0.0)), encode)
    for pixel in range(kind.size):
        lit = state[pixel] == LIT
        if alone and kind[pixel] == FLOOR and not lit:
            color = plain
        elif kind[pixel] == NOTHING:
            color = encode[0], encode[0], encode[0]
        else:
            own, level = floor, floor_ambient
            if kind[pixel] == OBJECT:
                own, level = row(albedo, pixel), float(ambient[pixel])
            strength = float(spot[pixel]) if lit else 0.0
            more = of_others(further, pixel)
            color = encoded(radiance(own, level, strength, view.spot_color, more), encode)
        image[pixel, 0], image[pixel, 1], image[pixel, 2] = color
        shown = np.int64(color[0]) | (np.int64(color[1]) << 8) | (np.int64(color[2]) << 16)
        hidden = state[pixel] == HIDDEN
        sort = np.int64(kind[pixel]) | (np.int64(lit) << 2) | (np.int64(hidden) << 3)
        marks[pixel] = np.int32(shown | (sort << 24))


@kernel
def encoded(light: Position, encode: NDArray[np.uint8]) -> tuple[np.uint8, np.uint8, np.uint8]:
    """Linear light as sRGB."""
    return (
        encode[int(min(light[0] * ENCODING_STEPS, ENCODING_STEPS) + 0.5)],
        encode[int(min(light[1] * ENCODING_STEPS, ENCODING_STEPS) + 0.5)],
        encode[int(min(light[2] * ENCODING_STEPS, ENCODING_STEPS) + 0.5)],
    )


@kernel
def average(
    view: View,
    samples: Samples,
    first: Samples,
    pixels: NDArray[np.int64],
    encode: NDArray[np.uint8],
    image: NDArray[np.uint8],
) -> None:
    """Write each pixel's mean over its samples, taken in linear light, as sRGB.

    Where the grid lacks its middle, the mean takes in the first pass, which has one sample
    per pixel of the image.
    """
    light, middle = glow(view, samples, np.arange(samples.kind.size)), glow(view, first, pixels)
    per_pixel = light.shape[0] // pixels.size
    lacking = math.sqrt(per_pixel) % 1.0 != 0.0
    share = 1.0 / (per_pixel + (1 if lacking else 0))
    for index in range(pixels.size):
        red = green = blue = 0.0
        if lacking:
            red, green, blue = row(middle, index)
        for sample in range(index * per_pixel, (index + 1) * per_pixel):
            red, green, blue = (
                red + light[sample, 0],
                green + light[sample, 1],
                blue + light[sample, 2],
            )
        color = encoded((red * share, green * share, blue * share), encode)
        image[pixels[index], 0], image[pixels[index], 1], image[pixels[index], 2] = color


@kernel
def edges(marks: NDArray[np.int32], order: NDArray[np.int64], threshold: int) -> NDArray[np.int64]:
    """Pixels at the edge of a thing, of a shadow, or of a color, in the order given.

    The rims of cone and of self-shadow fade to nothing by themselves: there only color counts.
    """
    size = round(math.sqrt(marks.size))
    right, below = unlike(marks, 1, threshold), unlike(marks, size, threshold)
    right[size - 1 :: size] = 0  # the neighbor is on the next row
    marked = right | below
    marked[1:] |= right[:-1]
    marked[size:] |= below[:-size]
    found = np.empty(marked.sum(), np.int64)
    count = 0
    for pixel in order:
        if marked[pixel]:
            found[count] = pixel
            count += 1
    return found


@kernel
def unlike(marks: NDArray[np.int32], apart: int, threshold: int) -> NDArray[np.uint8]:
    """1 for pixels that differ from the one so many places on; without branches, as above."""
    found = np.zeros(marks.size, np.uint8)
    byte, limit = np.int32(255), np.int32(threshold)
    for pixel in range(marks.size - apart):
        one, other = marks[pixel], marks[pixel + apart]
        red = abs(np.int32((one & byte) - (other & byte)))
        green = abs(np.int32(((one >> 8) & byte) - ((other >> 8) & byte)))
        blue = abs(np.int32(((one >> 16) & byte) - ((other >> 16) & byte)))
        kinds = ((one ^ other) >> 24) & 3
        light = ((one | other) >> 26) & 3  # 3: one of them is lit, one of them hidden
        far = (red > limit) | (green > limit) | (blue > limit)
        found[pixel] = far | (kinds != 0) | (light == 3)
    return found
