"""Textures seen through pixels: averages of ever larger squares, and the one that fits.

A pixel sees a parallelogram of the texture, about an ellipse with axes a ≥ b in texels. It is
averaged by n = min(⌈a / max(b, 1)⌉, TAPS) taps along the longer axis, each from the level

    λ = log2(max(a / n, b, 1))

of a pyramid, level k of which holds means over squares of about 2^k texels; between two levels and
between texels it is linear. Magnified textures (a ≤ 1) are read bilinearly from the texture itself.

Source: L. Williams, "Pyramidal parametrics", SIGGRAPH 1983; the extension
GL_EXT_texture_filter_anisotropic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderers.color import ENCODING_STEPS, decoding_table, encoding_table
from renderers.rays.compiled import kernel
from renderers.rays.kernels import Position, Singles, View, along, dot, put

TAPS = 16


class Pyramid(NamedTuple):
    """A texture and its averages, sRGB.

    ``tiles`` has a row (left, top, width, height, last level) per part of the texture that is a
    picture of its own; ``repeats`` says that it is one, which repeats. Level k ≥ 1 of tile i has
    the texels ``coarse[levels[i, k, 0]:]``, ``levels[i, k, 1]`` wide and ``levels[i, k, 2]`` high.
    """

    texture: NDArray[np.uint8]
    coarse: NDArray[np.uint8]
    levels: NDArray[np.int64]
    tiles: NDArray[np.int64]
    repeats: bool


def pyramid(texture: NDArray[np.uint8], tiles: NDArray[np.int32] | None = None) -> Pyramid:
    """Average a texture, in linear light, to every scale.

    A level's sides are half those of the level before, rounded down; each of its texels is the
    mean of the square that it covers, with parts of texels where sides are odd. So all levels
    have the mean of the tile, and take a third of its memory.

    Args:
        texture: sRGB, shape (height, width, 3), uint8.
        tiles: Left, top, width and height of its parts in texels, shape (T, 4), int32; None for
            one that repeats.

    Example:
        >>> found = pyramid(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
        >>> found.coarse.tolist(), found.levels[0, 1].tolist()
        ([[188, 188, 188]], [0, 1, 1])
    """
    height, width = texture.shape[:2]
    parts = [[0, 0, width, height]] if tiles is None else tiles.tolist()
    depths = [int(max(wide, high)).bit_length() for _, _, wide, high in parts]
    levels = np.zeros((len(parts), max(depths), 3), np.int64)
    decode, encode = decoding_table(), encoding_table()
    coarse = [np.zeros((0, 3), np.uint8)]
    count = 0
    for tile, (left, top, wide, high) in enumerate(parts):
        light = decode[texture[top : top + high, left : left + wide]]
        for level in range(1, depths[tile]):
            light = halved(light)
            levels[tile, level] = count, light.shape[1], light.shape[0]
            coarse.append(_encoded(light, encode))
            count += len(coarse[-1])
    rows = np.array([[*part, depth - 1] for part, depth in zip(parts, depths, strict=True)])
    texels = np.concatenate(coarse)
    return Pyramid(np.ascontiguousarray(texture), texels, levels, rows, tiles is None)


def _encoded(light: Singles, encode: NDArray[np.uint8]) -> NDArray[np.uint8]:
    steps = np.minimum(light, np.float32(1.0)) * np.float32(ENCODING_STEPS) + np.float32(0.5)
    texels: NDArray[np.uint8] = encode[steps.astype(np.int32)].reshape(-1, 3)
    return texels


class Footprint(NamedTuple):
    """The ellipse of the texture that a sample sees: its longer axis in texels to the right and
    downwards, and the lengths of both."""

    x: float
    y: float
    long: float
    short: float


@kernel
def halved(light: Singles) -> Singles:
    """Means over squares of two texels a side, of two to three where a side is odd."""
    height, width = light.shape[0], light.shape[1]
    rows, columns = max(height // 2, 1), max(width // 2, 1)
    means = np.zeros((rows, columns, 3), np.float32)
    for row in range(rows):
        top, bottom = row * height / rows, (row + 1) * height / rows
        for column in range(columns):
            left, right = column * width / columns, (column + 1) * width / columns
            red = green = blue = 0.0
            for y in range(int(top), min(math.ceil(bottom), height)):
                tall = min(y + 1.0, bottom) - max(float(y), top)
                for x in range(int(left), min(math.ceil(right), width)):
                    share = tall * (min(x + 1.0, right) - max(float(x), left))
                    red += share * light[y, x, 0]
                    green += share * light[y, x, 1]
                    blue += share * light[y, x, 2]
            area = (bottom - top) * (right - left)
            put(means[row], column, (red / area, green / area, blue / area))
    return means


def tile_of_faces(
    tiles: NDArray[np.int32] | None, uv: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.int32]:
    """Number of the tile in which a face's middle lies; 0 for faces outside of all.

    Args:
        tiles: Left, top, width and height, shape (T, 4); None for one that repeats.
        uv: Coordinates per corner, shape (F, 3, 2).
        size: Height and width of the texture.
    """
    found = np.zeros(len(uv), np.int32)
    if tiles is None or len(tiles) == 1:
        return found
    height, width = size
    middle = uv.astype(np.float64).mean(1)
    x, y = middle[:, 0] * width, (1.0 - middle[:, 1]) * height
    for number, (left, top, wide, high) in enumerate(tiles.tolist()):
        inside = (x >= left) & (x < left + wide) & (y >= top) & (y < top + high)
        found[inside] = number
    return found


def slopes(
    corners: NDArray[np.float64], uv: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.float32]:
    """How fast texture coordinates change over a triangle, in texels per unit of length.

    With edges e, f from its first corner, n = e × f, and differences of coordinates d, g along
    them, the gradient is

        (d (f × n) + g (n × e)) / (n · n)

    Args:
        corners: Shape (F, 3, 3).
        uv: Shape (F, 3, 2).
        size: Height and width of the texture.

    Returns:
        Gradients of column and row, shape (F, 2, 3), float32; zero where a triangle has no area
        and along a side of the texture that has one texel.
    """
    e, f = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    n = np.cross(e, f)
    square = (n * n).sum(1)
    safe = np.where(square > 0.0, square, 1.0)[:, None]
    height, width = size
    scale = np.array([width if width > 1 else 0, -height if height > 1 else 0], np.float64)
    places = uv.astype(np.float64) * scale
    d, g = places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]
    along_u, along_v = np.cross(f, n) / safe, np.cross(n, e) / safe
    gradient = d[:, :, None] * along_u[:, None] + g[:, :, None] * along_v[:, None]
    found: NDArray[np.float32] = np.where(square[:, None, None] > 0.0, gradient, 0.0).astype(
        np.float32
    )
    return found


@kernel
def texel(texture: NDArray[np.uint8], decode: Singles, u: float, v: float) -> Position:
    """Linear color at a texture coordinate: repeated, bilinear in linear light."""
    height, width = texture.shape[0], texture.shape[1]
    x = (u - math.floor(u)) * width - 0.5
    y = (1.0 - (v - math.floor(v))) * height - 0.5
    left, top = math.floor(x), math.floor(y)
    red = green = blue = 0.0
    for down in range(2):
        for over in range(2):
            weight = (x - left if over else 1.0 - x + left) * (y - top if down else 1.0 - y + top)
            row, column = (top + down) % height, (left + over) % width
            red += weight * decode[texture[row, column, 0]]
            green += weight * decode[texture[row, column, 1]]
            blue += weight * decode[texture[row, column, 2]]
    return red, green, blue


@kernel
def texels(
    texture: NDArray[np.uint8], decode: Singles, uv: NDArray[np.float64]
) -> NDArray[np.float64]:
    """:func:`texel` at coordinates of shape (N, 2)."""
    found = np.empty((len(uv), 3))
    for k in range(len(uv)):
        found[k, 0], found[k, 1], found[k, 2] = texel(texture, decode, uv[k, 0], uv[k, 1])
    return found


@kernel
def mean_texel(
    pyramid: Pyramid, decode: Singles, tile: int, level: int, u: float, v: float
) -> Position:
    """Linear color at a texture coordinate, bilinear in one of the levels."""
    if level == 0:
        return texel(pyramid.texture, decode, u, v)
    tiles, coarse, repeats = pyramid.tiles, pyramid.coarse, pyramid.repeats
    start, width, height = (
        pyramid.levels[tile, level, 0],
        pyramid.levels[tile, level, 1],
        pyramid.levels[tile, level, 2],
    )
    x = (u - math.floor(u)) * pyramid.texture.shape[1] - tiles[tile, 0]
    y = (1.0 - (v - math.floor(v))) * pyramid.texture.shape[0] - tiles[tile, 1]
    x = x * width / tiles[tile, 2] - 0.5
    y = y * height / tiles[tile, 3] - 0.5
    left, top = math.floor(x), math.floor(y)
    red = green = blue = 0.0
    for down in range(2):
        for over in range(2):
            weight = (x - left if over else 1.0 - x + left) * (y - top if down else 1.0 - y + top)
            row, column = top + down, left + over
            if repeats:
                row, column = row % height, column % width
            else:
                row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
            place = start + row * width + column
            red += weight * decode[coarse[place, 0]]
            green += weight * decode[coarse[place, 1]]
            blue += weight * decode[coarse[place, 2]]
    return red, green, blue


@kernel
def averaged(
    pyramid: Pyramid, decode: Singles, tile: int, u: float, v: float, seen: Footprint
) -> Position:
    """Mean linear color over what a sample sees of the texture about a coordinate."""
    if not seen.long > 1.0:
        return texel(pyramid.texture, decode, u, v)
    last = pyramid.tiles[tile, 4]
    if seen.long == math.inf:
        return mean_texel(pyramid, decode, tile, last, u, v)
    taps = int(min(math.ceil(seen.long / max(seen.short, 1.0)), float(TAPS)))
    fine = math.log2(max(seen.long / taps, seen.short, 1.0))
    fine = min(max(fine, 0.0), float(last))
    level = int(fine)
    share = fine - level
    over = seen.x / pyramid.texture.shape[1]
    up = -seen.y / pyramid.texture.shape[0]
    red = green = blue = 0.0
    for tap in range(taps):
        place = (tap + 0.5) / taps - 0.5
        s, t = u + place * over, v + place * up
        color = mean_texel(pyramid, decode, tile, level, s, t)
        if share > 0.0:
            coarser = mean_texel(pyramid, decode, tile, level + 1, s, t)
            color = (
                color[0] + share * (coarser[0] - color[0]),
                color[1] + share * (coarser[1] - color[1]),
                color[2] + share * (coarser[2] - color[2]),
            )
        red, green, blue = red + color[0], green + color[1], blue + color[2]
    return red / taps, green / taps, blue / taps


@kernel
def footprint(
    view: View, ray: Position, depth: float, flat: Position, slope: Singles, step: float
) -> Footprint:
    """What a sample sees of a texture.

    A ray o + t d meets the plane of a triangle with normal n; moved by a step to the side, which
    changes d by r, it meets it at a place that is t (r - d (n · r) / (n · d)) farther.

    Args:
        view: The camera.
        ray: Direction d of the sample.
        depth: Its t.
        flat: Normal of the triangle, of any length.
        slope: Gradients of column and row, shape (2, 3); see :func:`slopes`.
        step: Distance between samples, where the image goes from -1 to 1.
    """
    closing = dot(flat, ray)
    if closing == 0.0:
        return Footprint(0.0, 0.0, math.inf, math.inf)
    across = along(view.right, -dot(flat, view.right) / closing, ray)
    upward = along(view.up, -dot(flat, view.up) / closing, ray)
    column = (float(slope[0, 0]), float(slope[0, 1]), float(slope[0, 2]))
    row = (float(slope[1, 0]), float(slope[1, 1]), float(slope[1, 2]))
    reach = depth * step
    a, b = reach * dot(column, across), reach * dot(column, upward)
    c, d = reach * dot(row, across), reach * dot(row, upward)
    # semi-axes: roots of the eigenvalues of J Jᵀ with J = ((a, b), (c, d))
    wide, high, mixed = a * a + b * b, c * c + d * d, a * c + b * d
    middle, spread = 0.5 * (wide + high), math.hypot(0.5 * (wide - high), mixed)
    long, short = math.sqrt(middle + spread), math.sqrt(max(middle - spread, 0.0))
    if not long < math.inf:
        return Footprint(0.0, 0.0, math.inf, math.inf)
    angle = 0.5 * math.atan2(2.0 * mixed, wide - high)
    return Footprint(long * math.cos(angle), long * math.sin(angle), long, short)
