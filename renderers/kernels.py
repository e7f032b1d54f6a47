"""The inner loops around Embree: rays, surface points, light, edges.

Everything happens in the object's frame, moved to the center of its bounding sphere: the camera,
the floor and the light are turned there instead of turning the mesh. A ray is
``origin + t * (forward + x * right + y * up)``, so t is the depth along the viewing axis.
A sample is one ray; pixel p (in row-major order) has ``side * side`` of them on a regular grid.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderers.compiled import kernel

NOTHING, FLOOR, OBJECT = 0, 1, 2
BEYOND_CONE, LIT, HIDDEN = 0, 1, 2

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Point = tuple[float, float, float]


class View(NamedTuple):
    """Camera, floor and light as seen from the object; colors are linear light.

    ``floor_height`` is -inf without a floor; ``cos_outer`` is 2 without a spot. ``energy``
    carries the factor of the inverse-square law.
    """

    origin: Floats
    right: Floats
    up: Floats
    forward: Floats
    zenith: Floats
    radius: float
    offset: float
    floor_height: float
    floor_color: Singles
    light: Floats
    axis: Floats
    cos_outer: float
    cos_inner: float
    energy: float
    spot_color: Singles
    level: float
    sky: float


class Surface(NamedTuple):
    """The mesh's looks; colors are linear light except the texture, which ``decode`` decodes.

    ``source`` says where a face's color comes from: 0 its own, 1 its vertices, 2 the texture.
    """

    faces: NDArray[np.int32]
    normals: Singles
    source: NDArray[np.uint8]
    face_colors: Singles
    vertex_colors: Singles
    texture: NDArray[np.uint8]
    uv: Singles
    decode: Singles


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

    ``kind`` is NOTHING, FLOOR or OBJECT and ``state`` BEYOND_CONE, LIT or HIDDEN. The linear
    color is ``albedo * (ambient + spot * spot_color)``, without the second term when HIDDEN.
    """

    kind: NDArray[np.uint8]
    state: NDArray[np.uint8]
    albedo: Singles
    ambient: Singles
    spot: Singles
    depth: Singles
    normal: Singles


@kernel
def dot(a: Floats, b: Floats) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
def direction(view: View, pixel: int, sub: int, side: int, size: int) -> Point:
    """Direction of a sample, with component 1 along the viewing axis."""
    row, column = divmod(pixel, size)
    sub_row, sub_column = divmod(sub, side)
    x = 2.0 * (column + (sub_column + 0.5) / side) / size - 1.0
    y = 1.0 - 2.0 * (row + (sub_row + 0.5) / side) / size
    return (
        view.forward[0] + x * view.right[0] + y * view.up[0],
        view.forward[1] + x * view.right[1] + y * view.up[1],
        view.forward[2] + x * view.right[2] + y * view.up[2],
    )


@kernel
def aim(
    view: View, pixels: NDArray[np.int64], side: int, size: int
) -> tuple[Singles, Singles, NDArray[np.int64]]:
    """Origins, directions and sample numbers of the rays that meet the bounding sphere."""
    per_pixel = side * side
    count = pixels.size * per_pixel
    origins = np.empty((count, 3), np.float32)
    directions = np.empty((count, 3), np.float32)
    numbers = np.empty(count, np.int64)
    o = view.origin
    outside = dot(o, o) - view.radius * view.radius
    rays = 0
    for index in range(pixels.size):
        for sub in range(per_pixel):
            dx, dy, dz = direction(view, pixels[index], sub, side, size)
            along = o[0] * dx + o[1] * dy + o[2] * dz
            square = dx * dx + dy * dy + dz * dz
            if outside <= 0.0 or (along < 0.0 and along * along >= square * outside):
                for axis in range(3):
                    origins[rays, axis] = o[axis]
                directions[rays, 0] = dx
                directions[rays, 1] = dy
                directions[rays, 2] = dz
                numbers[rays] = index * per_pixel + sub
                rays += 1
    return origins[:rays], directions[:rays], numbers[:rays]


@kernel
def texel(surface: Surface, u: float, v: float) -> Point:
    """Linear color at a texture coordinate: repeated, bilinear in linear light."""
    height, width = surface.texture.shape[0], surface.texture.shape[1]
    x = (u - math.floor(u)) * width - 0.5
    y = (1.0 - (v - math.floor(v))) * height - 0.5
    left, top = math.floor(x), math.floor(y)
    fx, fy = x - left, y - top
    red = green = blue = 0.0
    for down in range(2):
        for over in range(2):
            weight = (fx if over else 1.0 - fx) * (fy if down else 1.0 - fy)
            texture_row = (int(top) + down) % height
            texture_column = (int(left) + over) % width
            red += weight * surface.decode[surface.texture[texture_row, texture_column, 0]]
            green += weight * surface.decode[surface.texture[texture_row, texture_column, 1]]
            blue += weight * surface.decode[surface.texture[texture_row, texture_column, 2]]
    return red, green, blue


@kernel
def object_color(surface: Surface, face: int, u: float, v: float) -> Point:
    """Linear color of the mesh at the barycentric coordinates (1 - u - v, u, v) of a face."""
    source = surface.source[face]
    w = 1.0 - u - v
    if source == 2:
        uv = surface.uv[face]
        return texel(
            surface,
            w * uv[0, 0] + u * uv[1, 0] + v * uv[2, 0],
            w * uv[0, 1] + u * uv[1, 1] + v * uv[2, 1],
        )
    if source == 1:
        a = surface.vertex_colors[surface.faces[face, 0]]
        b = surface.vertex_colors[surface.faces[face, 1]]
        c = surface.vertex_colors[surface.faces[face, 2]]
        return (
            w * a[0] + u * b[0] + v * c[0],
            w * a[1] + u * b[1] + v * c[1],
            w * a[2] + u * b[2] + v * c[2],
        )
    own = surface.face_colors[face]
    return float(own[0]), float(own[1]), float(own[2])


@kernel
def unit_or(a: float, b: float, c: float, other: Point) -> Point:
    """The vector's direction, or the other vector where it has none."""
    length = math.sqrt(a * a + b * b + c * c)
    if length > 1e-20 and length < math.inf:
        return a / length, b / length, c / length
    return other


@kernel
def object_normals(
    view: View, surface: Surface, hits: Hits, ray: int, towards: Point
) -> tuple[Point, Point]:
    """Normal of the face, turned against the ray, and the shading normal on the same side."""
    face, u, v = hits.face[ray], hits.u[ray], hits.v[ray]
    w = 1.0 - u - v
    zenith = (view.zenith[0], view.zenith[1], view.zenith[2])
    flat = hits.normal[ray]
    gx, gy, gz = unit_or(float(flat[0]), float(flat[1]), float(flat[2]), zenith)
    if gx * towards[0] + gy * towards[1] + gz * towards[2] > 0.0:
        gx, gy, gz = -gx, -gy, -gz
    corner = surface.normals[face]
    nx, ny, nz = unit_or(
        w * corner[0, 0] + u * corner[1, 0] + v * corner[2, 0],
        w * corner[0, 1] + u * corner[1, 1] + v * corner[2, 1],
        w * corner[0, 2] + u * corner[1, 2] + v * corner[2, 2],
        (gx, gy, gz),
    )
    if nx * gx + ny * gy + nz * gz < 0.0:
        nx, ny, nz = -nx, -ny, -nz
    return (gx, gy, gz), (nx, ny, nz)


@kernel
def spot_strength(view: View, px: float, py: float, pz: float) -> float:
    """Irradiance at a point facing the light: cone and inverse square; negative beyond the cone."""
    lx, ly, lz = px - view.light[0], py - view.light[1], pz - view.light[2]
    square = max(lx * lx + ly * ly + lz * lz, 1e-12)
    cosine = (lx * view.axis[0] + ly * view.axis[1] + lz * view.axis[2]) / math.sqrt(square)
    if cosine <= view.cos_outer:
        return -1.0
    strength = view.energy / square
    if cosine < view.cos_inner:
        x = (cosine - view.cos_outer) / (view.cos_inner - view.cos_outer)
        strength *= x * x * (3.0 - 2.0 * x)
    return strength


@kernel
def may_be_shaded(view: View, px: float, py: float, pz: float) -> bool:
    """Whether the way from a point to the light meets the bounding sphere."""
    lx, ly, lz = view.light[0] - px, view.light[1] - py, view.light[2] - pz
    square = lx * lx + ly * ly + lz * lz
    share = min(max(-(px * lx + py * ly + pz * lz) / max(square, 1e-30), 0.0), 1.0)
    x, y, z = px + share * lx, py + share * ly, pz + share * lz
    return x * x + y * y + z * z <= view.radius * view.radius
