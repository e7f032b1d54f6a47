"""Holes that a texture cuts into a surface, and rays that go on through them.

At barycentric weights w of a face with texture coordinates uv, the surface is there where

    s(Σ w_i uv_i) ≥ 127.5

with s bilinear between the texels of ``Mesh.texture_cutout``, the texture repeated. Faces that do
not take the texture have no holes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderers.rays.compiled import kernel
from renderers.rays.hierarchy import Found, Hierarchy
from renderers.rays.kernels import Singles
from renderers.scene import Mesh
from renderers.surface import textured_faces
from renderers.validation import describe, expect

STEP: Final = 1e-5  # of the bounding sphere's radius: how far beyond a hole a ray goes on
LAYERS: Final = 1024  # of holes that a ray goes through; one more counts as solid


class Holes(NamedTuple):
    """What says where a mesh has holes.

    ``cutout`` is s, shape (height, width), uint8; ``uv`` has the shape (F, 3, 2); ``taken`` says
    which faces take the texture, shape (F,).
    """

    cutout: NDArray[np.uint8]
    uv: Singles
    taken: NDArray[np.bool_]


def holes_of(mesh: Mesh) -> Holes | None:
    """Where a mesh has holes; None where it has none at all."""
    if mesh.texture_cutout is None or mesh.corner_uv is None or mesh.texture_cutout.min() >= 128:
        return None
    uv = np.where(np.isfinite(mesh.corner_uv), mesh.corner_uv, np.float32(0.0))
    cutout = np.ascontiguousarray(mesh.texture_cutout)
    return Holes(cutout, np.ascontiguousarray(uv), np.ascontiguousarray(textured_faces(mesh)))


def solid_at(
    mesh: Mesh, faces: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which places of a mesh's faces are there, and no holes.

    Args:
        mesh: The surface.
        faces: Which face each place is on, shape (N,), integers.
        weights: Barycentric weights of its corners, shape (N, 3), float64, of sum 1.

    Returns:
        Shape (N,), bool.

    Raises:
        RendererError: The shapes do not fit together, or a face is not one of the mesh.

    Example:
        >>> triangle = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32),
        ...                 np.zeros((1, 3, 3), np.float32),
        ...                 texture=np.zeros((1, 2, 3), np.uint8),
        ...                 corner_uv=np.array([[[0.25, 0], [0.75, 0], [0.5, 0]]], np.float32),
        ...                 texture_cutout=np.array([[0, 255]], np.uint8))
        >>> solid_at(triangle, np.array([0, 0]), np.eye(3)[:2]).tolist()
        [False, True]
    """
    count = len(mesh.faces)
    expect(weights.shape == (*faces.shape, 3), "weights", "three for each face", describe(weights))
    inside = not faces.size or bool(faces.min() >= 0 and faces.max() < count)
    expect(inside, "faces", f"indices in [0, {count})", "others")
    holes = holes_of(mesh)
    return np.ones(len(faces), np.bool_) if holes is None else ~opened(holes, faces, weights)


def opened(
    holes: Holes, faces: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which places are in holes.

    Args:
        holes: Of a mesh.
        faces: Of the same mesh, one for each place, shape (N,), int64.
        weights: As of :func:`solid_at`.

    Returns:
        Shape (N,), bool.
    """
    u, v = np.ascontiguousarray(weights[:, 1]), np.ascontiguousarray(weights[:, 2])
    return _open(holes, faces, u, v)


@kernel
def solidity(cutout: NDArray[np.uint8], u: float, v: float) -> float:
    """s at a texture coordinate: repeated, bilinear."""
    height, width = cutout.shape[0], cutout.shape[1]
    x = (u - math.floor(u)) * width - 0.5
    y = (1.0 - (v - math.floor(v))) * height - 0.5
    left, top = math.floor(x), math.floor(y)
    total = 0.0
    for down in range(2):
        for over in range(2):
            weight = (x - left if over else 1.0 - x + left) * (y - top if down else 1.0 - y + top)
            total += weight * cutout[(top + down) % height, (left + over) % width]
    return total


@kernel
def _open(holes: Holes, faces: Any, ray_u: Any, ray_v: Any) -> NDArray[np.bool_]:
    """Which hits are in a hole; face -1, which is none, is not."""
    cutout, uv, taken = holes.cutout, holes.uv, holes.taken
    found = np.zeros(faces.size, np.bool_)
    for ray in range(faces.size):
        face = faces[ray]
        if face < 0 or not taken[face]:
            continue
        u, v = float(ray_u[ray]), float(ray_v[ray])
        w = 1.0 - u - v
        s = w * uv[face, 0, 0] + u * uv[face, 1, 0] + v * uv[face, 2, 0]
        t = w * uv[face, 0, 1] + u * uv[face, 1, 1] + v * uv[face, 2, 1]
        found[ray] = solidity(cutout, s, t) < 127.5
    return found


@dataclass(frozen=True, eq=False)
class Tracer:
    """Embree's hierarchy over a mesh, with rays that go through its holes.

    Two faces that are nearer to each other than 1e-5 of the bounding sphere's radius count as one
    where a ray goes through a hole of the first.

    Args:
        hierarchy: Of all its triangles.
        holes: Where the mesh has holes.
        step: By how much a ray goes on beyond a hole, in units of length.
    """

    hierarchy: Hierarchy
    holes: Holes | None
    step: float

    @staticmethod
    def of(mesh: Mesh, vertices: NDArray[np.float64]) -> Tracer:
        """Build the hierarchy.

        Args:
            mesh: With or without holes.
            vertices: Its vertices about the center of their bounding sphere, shape (V, 3).
        """
        hierarchy = Hierarchy(vertices.astype(np.float32), mesh.faces)
        radius = float(np.sqrt((vertices**2).sum(1).max()))
        return Tracer(hierarchy, holes_of(mesh), STEP * radius)

    def first(
        self,
        origins: Singles,
        directions: Singles,
        reach: Singles | None = None,
        *,
        room: Found | None = None,
    ) -> dict[str, NDArray[Any]]:
        """What rays o + t d meet first.

        Args:
            origins: o, shape (N, 3), float32.
            directions: d, of any length, shape (N, 3), float32.
            reach: Largest t of all rays, shape (1,), float32; None for no limit.
            room: At least N rows in which to return what is found; None makes new ones.

        Returns:
            As of :meth:`~renderers.rays.hierarchy.Hierarchy.first`.
        """
        hit = self.hierarchy.first(origins, directions, reach, room=room)
        holes = self.holes
        if holes is None:
            return hit
        rays = np.arange(len(origins))
        part = hit
        for _ in range(LAYERS):
            going = _open(holes, part["primID"], part["u"], part["v"])
            rays = rays[going]
            if not rays.size:
                break
            ways = directions[rays]
            length = np.linalg.norm(ways, axis=1)
            start = hit["tfar"][rays] + (self.step / length).astype(np.float32)
            left = None if reach is None else np.maximum(reach - start, np.float32(0.0))
            part = self.hierarchy.first(origins[rays] + start[:, None] * ways, ways, left)
            for name in ("primID", "u", "v", "Ng"):
                hit[name][rays] = part[name]
            hit["tfar"][rays] = start + part["tfar"]
        return hit

    def hidden(self, origins: Singles, directions: Singles, reach: Singles) -> NDArray[np.int32]:
        """As :meth:`~renderers.rays.hierarchy.Hierarchy.hidden`, but that holes hide nothing; one
        reach holds for all rays."""
        if self.holes is None:
            return self.hierarchy.hidden(origins, directions, reach)
        met = self.first(origins, directions, reach)["primID"] >= 0
        return np.where(met, 0, -1).astype(np.int32)
