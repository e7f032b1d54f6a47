"""From rays to a picture: what each sample sees, its light, the pixel's mean, and the edges."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from renderers.color import ENCODING_STEPS
from renderers.rays.compiled import kernel
from renderers.rays.kernels import (
    BEYOND_CONE,
    FLOOR,
    HIDDEN,
    LIT,
    NOTHING,
    OBJECT,
    TURNED_AWAY,
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
    beyond_cone,
    direction,
    dot,
    facing,
    floor_cone,
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
def see_floor(
    view: View,
    grid: Grid,
    samples: Samples,
    shadow: Rays,
    count: int,
) -> int:
    """Record the samples that see the floor, and add their shadow rays after the first ``count``.

    Runs after :func:`see_object`, whose samples it leaves alone. Returns the new count.
    """
    kind, state, spot = samples.kind, samples.state, samples.spot
    x, y, depths, sides = grid.x, grid.y, samples.depth, samples.normal
    normal, cone, passes = floor_side(view), floor_cone(view), depths.size > 0
    if not passes:
        for sample in range(kind.size):
            if beyond_cone(view, cone, x[sample], y[sample]):
                kind[sample] = max(kind[sample], np.uint8(FLOOR))
    for sample in grid.order:
        if kind[sample] != NOTHING:
            continue
        ray = direction(view, x[sample], y[sample])
        depth = floor_depth(view, ray)
        if passes:
            depths[sample] = depth
            put(sides, sample, normal if depth < math.inf else (0.0, 0.0, 0.0))
        if depth == math.inf:
            continue
        point = along(view.origin, depth, ray)
        kind[sample] = FLOOR
        to_light = between(point, view.light)
        strength, inverse = spot_strength(view, to_light)
        if strength < 0.0:
            continue
        cosine = dot(to_light, normal) * inverse
        if cosine <= 0.0:
            state[sample] = TURNED_AWAY
            continue
        state[sample] = LIT
        spot[sample] = strength * cosine
        if may_be_shaded(view, point, to_light):
            put(shadow.origins, count, point)
            put(shadow.directions, count, to_light)
            shadow.sample[count] = sample
            count += 1
    return count


@kernel
def hide(samples: Samples, shadow: Rays, occluded: NDArray[np.int32]) -> None:
    """Take the light from the samples whose shadow ray met the object (answer 0, not -1)."""
    for ray in range(occluded.size):
        if occluded[ray] == 0:
            samples.state[shadow.sample[ray]] = HIDDEN


@kernel
def radiance(albedo: Position, ambient: float, strength: float, spot_color: Position) -> Position:
    """Linear light of a surface, as single precision keeps it."""
    return (
        float(np.float32(albedo[0] * (ambient + strength * spot_color[0]))),
        float(np.float32(albedo[1] * (ambient + strength * spot_color[1]))),
        float(np.float32(albedo[2] * (ambient + strength * spot_color[2]))),
    )


@kernel
def floor_looks(view: View) -> tuple[Position, float]:
    """Linear color and ambient light of the floor, as single precision keeps them."""
    color = view.floor_color
    rounded = float(np.float32(color[0])), float(np.float32(color[1])), float(np.float32(color[2]))
    return rounded, float(np.float32(ambient_light(view, floor_side(view))))


@kernel
def glow(view: View, samples: Samples, numbers: NDArray[np.int64]) -> Singles:
    """Linear light of some samples."""
    kind, state, spot = samples.kind, samples.state, samples.spot
    albedo, ambient = samples.albedo, samples.ambient
    floor, floor_ambient = floor_looks(view)
    light = np.zeros((numbers.size, 3), np.float32)
    for index in range(numbers.size):
        sample = numbers[index]
        strength = float(spot[sample]) if state[sample] == LIT else 0.0
        if kind[sample] == FLOOR:
            put(light, index, radiance(floor, floor_ambient, strength, view.spot_color))
        elif kind[sample] == OBJECT:
            color, level = row(albedo, sample), float(ambient[sample])
            put(light, index, radiance(color, level, strength, view.spot_color))
    return light


@kernel
def develop(
    view: View, samples: Samples, encode: NDArray[np.uint8], image: NDArray[np.uint8]
) -> None:
    """Write the color of every sample, which is that of its pixel, as sRGB."""
    kind, state, spot = samples.kind, samples.state, samples.spot
    albedo, ambient = samples.albedo, samples.ambient
    floor, floor_ambient = floor_looks(view)
    plain = encoded(radiance(floor, floor_ambient, 0.0, view.spot_color), encode)
    for pixel in range(kind.size):
        lit = state[pixel] == LIT
        if kind[pixel] == FLOOR and not lit:
            color = plain
        elif kind[pixel] == NOTHING:
            color = encode[0], encode[0], encode[0]
        else:
            own, level = floor, floor_ambient
            if kind[pixel] == OBJECT:
                own, level = row(albedo, pixel), float(ambient[pixel])
            strength = float(spot[pixel]) if lit else 0.0
            color = encoded(radiance(own, level, strength, view.spot_color), encode)
        image[pixel, 0], image[pixel, 1], image[pixel, 2] = color


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
def edges(
    samples: Samples, image: NDArray[np.uint8], order: NDArray[np.int64], threshold: int
) -> NDArray[np.int64]:
    """Pixels at the edge of a thing, of a shadow, or of a color, in the order given.

    The rims of cone and of self-shadow fade to nothing by themselves: there only color counts.
    """
    kind, state = samples.kind, samples.state
    size = round(math.sqrt(kind.size))
    marked = np.zeros(size * size, np.bool_)
    for y in range(size):
        for x in range(size):
            here = y * size + x
            plain = kind[here] == FLOOR and state[here] == BEYOND_CONE
            for step in (1, size):
                if (x if step == 1 else y) == size - 1:
                    continue
                there = here + step
                if plain and kind[there] == FLOOR and state[there] == BEYOND_CONE:
                    continue
                lit = state[here] == LIT or state[there] == LIT
                hidden = state[here] == HIDDEN or state[there] == HIDDEN
                red = np.int64(image[here, 0]) - np.int64(image[there, 0])
                green = np.int64(image[here, 1]) - np.int64(image[there, 1])
                blue = np.int64(image[here, 2]) - np.int64(image[there, 2])
                far = max(abs(red), abs(green), abs(blue)) > threshold
                if far or kind[here] != kind[there] or (lit and hidden):
                    marked[here] = True
                    marked[there] = True
    found = np.empty(marked.sum(), np.int64)
    count = 0
    for pixel in order:
        if marked[pixel]:
            found[count] = pixel
            count += 1
    return found
