"""What of a surface one camera sees: points from depth, and which points are not hidden."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from equivariant.errors import ConventionError, DataFormatError
from renderers import get
from renderers.scene import Camera, Mesh, Rendering, Scene, camera_axes

STEEP = 0.1  # a plane seen more edge-on than this within one pixel says nothing


def scan_mesh(
    mesh: Mesh,
    face_parts: NDArray[np.int64],
    cameras: Sequence[Camera],
    *,
    points: int,
    generator: np.random.Generator,
    size_px: int = 160,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What depth cameras see of a mesh, and the part of every point: what is hidden is absent.

    Args:
        mesh: For example ``thing.posed(state)``, ``body.mesh(elements)`` or ``room.mesh(places)``.
        face_parts: Part of every face, shape (F,).
        cameras: At least one.
        points: Points drawn from all pixels that see the mesh, with a return where there are
            fewer of these; at least 1.
        generator: Source of the choice.
        size_px: Side of the depth pictures, at least 1.

    Returns:
        Points (points, 3), float64, in the coordinates of the mesh, and parts (points,), int64.

    Raises:
        ConventionError: There is no camera, no point is wanted, or no camera sees the mesh.

    Example:
        >>> from datasets3d import ArticulatedMeshes
        >>> source = ArticulatedMeshes(instances=1, classes=["door"])
        >>> entry = source.entries()[0]
        >>> thing, state = source.object(entry), source.state(entry, 0)
        >>> x, part = scan_mesh(thing.posed(state), thing.face_parts, [Camera()], points=50,
        ...     generator=np.random.default_rng(0))
        >>> x.shape, part.shape
        ((50, 3), (50,))
    """
    if not cameras or points < 1:
        raise ConventionError(
            expected="at least 1 camera and 1 point", got=f"{len(cameras)} and {points}",
            argument="cameras", advice="Several cameras see more of the surface.",
        )  # fmt: skip
    renderer, found, owners = get("embree", samples_per_side=1), [], []
    for camera in cameras:
        image = renderer.render(Scene(mesh, camera=camera, floor=None, spot=None), size_px)
        x, face = depth_points(image, camera)
        found.append(x)
        owners.append(face_parts[face])
    x, part = np.concatenate(found), np.concatenate(owners)
    if not len(x):
        raise ConventionError(
            expected="cameras that see the mesh", got="none that does", argument="cameras",
            advice="Aim them at the mesh, or take more pixels.",
        )  # fmt: skip
    chosen = generator.choice(len(x), points, replace=len(x) < points)
    return x[chosen], part[chosen]


def depth_points(
    rendering: Rendering, camera: Camera
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The points that the centers of the pixels see, and their faces.

        x = position + depth (forward + tan(field / 2) (u right + v up)),   u and v in (-1, 1)

    Args:
        rendering: Of the mesh, by a renderer that names faces.
        camera: Where it was rendered from.

    Returns:
        Points of the world (N, 3), float64, and indices of faces (N,), int64, one per pixel that
        sees the mesh, rows of the image from the top.

    Raises:
        DataFormatError: The renderer does not name faces.

    Example:
        >>> from renderers import get
        >>> from renderers.scene import Mesh, Scene
        >>> corners = np.array([[-5.0, -5, 0], [5, -5, 0], [0, 9, 0]])
        >>> flat = Mesh(corners, np.array([[0, 1, 2]], np.int32),
        ...     np.tile(np.float32([0, 0, 1]), (1, 3, 1)), np.zeros((1, 3), np.uint8))
        >>> camera = Camera(position=(0.0, 0.0, 3.0), up=(0.0, 1.0, 0.0))
        >>> image = get("embree").render(Scene(flat, camera=camera, floor=None), 8)
        >>> points, faces = depth_points(image, camera)
        >>> points.shape, float(abs(points[:, 2]).max()) < 1e-5
        ((64, 3), True)
    """
    if rendering.faces is None:
        raise DataFormatError(
            expected="a rendering that names the faces it shows", got="none named",
            argument="rendering", advice='Use the renderer "embree".',
        )  # fmt: skip
    rows, columns = np.nonzero(rendering.faces >= 0)
    size = len(rendering.faces)
    slope = math.tan(camera.field_of_view_rad / 2.0)
    right, up, forward = camera_axes(camera)
    u = slope * ((2.0 * columns + 1.0) / size - 1.0)
    v = slope * (1.0 - (2.0 * rows + 1.0) / size)
    ray = forward + u[:, None] * right + v[:, None] * up
    depth = rendering.depth[rows, columns].astype(np.float64)
    points = np.array(camera.position) + depth[:, None] * ray
    return points, rendering.faces[rows, columns].astype(np.int64)


def seen_points(
    points: NDArray[np.float64],
    rendering: Rendering,
    camera: Camera,
    *,
    tolerance: float = 0.01,
) -> NDArray[np.bool_]:
    """Which points of a surface are not hidden from a camera, by the depth of their pixels.

    A point is seen when it lies inside of the picture and no more than ``tolerance`` behind the
    plane that its pixel shows: with c the ray of the pixel's center, d and n its depth and normal,
    and r the point's ray, both of depth 1,

        depth of the point <= d (n · c) / (n · r) + tolerance

    Points just behind thin things are therefore seen too, and errors are possible in pixels at
    the border of a surface.

    Args:
        points: Shape (N, 3), in the coordinates of the world.
        rendering: Of the surface.
        camera: Where it was rendered from.
        tolerance: In the unit of the points, positive.

    Returns:
        Shape (N,), bool.
    """
    right, up, forward = camera_axes(camera)
    away = points - np.array(camera.position)
    depth = away @ forward
    ahead = depth > 1e-9
    ray = away / np.where(ahead, depth, 1.0)[:, None]
    slope, size = math.tan(camera.field_of_view_rad / 2.0), len(rendering.depth)
    column = np.floor((ray @ right / slope + 1.0) * size / 2.0).astype(np.int64)
    row = np.floor((1.0 - ray @ up / slope) * size / 2.0).astype(np.int64)
    found: NDArray[np.bool_] = ahead & (column >= 0) & (column < size) & (row >= 0) & (row < size)
    at = row[found], column[found]
    u = slope * ((2.0 * column[found] + 1.0) / size - 1.0)
    v = slope * (1.0 - (2.0 * row[found] + 1.0) / size)
    center = forward + u[:, None] * right + v[:, None] * up
    normal, shown = rendering.normals[at].astype(np.float64), rendering.depth[at].astype(float)
    here = np.einsum("ni,ni->n", normal, center)
    there = np.einsum("ni,ni->n", normal, ray[found])
    steep = np.abs(there) > STEEP * np.abs(here)
    share = np.where(steep, here / np.where(steep, there, 1.0), 1.0)
    found[found] = depth[found] <= shown * np.clip(share, 0.9, 1.1) + tolerance
    return found
