"""Which points of a surface are not hidden from a place: Embree traces, nothing is shaded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers.rays.cutouts import Tracer
from renderers.scene import Mesh
from renderers.validation import describe, expect

NEAR = 1e-4  # of the bounding sphere's radius: what is nearer to a point than this hides it not


class Sight:
    """Traces segments from a place to points of a mesh; the hierarchy is built once.

    Holes that a texture cuts (``Mesh.texture_cutout``) hide nothing.

    Args:
        mesh: What is seen, and what hides.

    Example:
        >>> square = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        >>> both = np.concatenate([square, square - [0, 0, 1]])
        >>> faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
        >>> mesh = Mesh(both, faces, np.zeros((4, 3, 3), np.float32),
        ...             face_colors=np.zeros((4, 3), np.uint8))
        >>> points = np.array([[0.5, 0.2, 0.0], [0.5, 0.2, -1.0]])
        >>> Sight(mesh).unhidden(points, np.array([0, 2]), np.array([0.0, 0.0, 3.0])).tolist()
        [True, False]
    """

    def __init__(self, mesh: Mesh) -> None:
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        self._center = low + 0.5 * (high - low)
        centered = mesh.vertices - self._center
        self._near = NEAR * float(np.sqrt((centered**2).sum(1).max()))
        self._count = len(mesh.faces)
        self._tracer = Tracer.of(mesh, centered)

    def unhidden(
        self, points: NDArray[np.float64], faces: NDArray[np.int64], eye: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether nothing of the mesh lies between a place and points of its surface.

        A segment's first hit hides its point unless it is on the point's own face, or nearer to
        the point than 1e-4 of the radius of the mesh's bounding sphere. Faces are seen from both
        sides.

        Args:
            points: On the mesh, in its coordinates, shape (N, 3), float64.
            faces: Which face each is on, shape (N,), integers.
            eye: The place, shape (3,).

        Returns:
            Shape (N,), bool.

        Raises:
            RendererError: The shapes do not fit together, or a face is not one of the mesh.
        """
        expect(points.shape == (*faces.shape, 3), "points", "one per face", describe(points))
        inside = not faces.size or bool(faces.min() >= 0 and faces.max() < self._count)
        expect(inside, "faces", f"indices in [0, {self._count})", "others")
        if not len(points):
            return np.zeros(0, np.bool_)
        ways = points - eye
        length = np.linalg.norm(ways, axis=1)
        origins = np.broadcast_to((eye - self._center).astype(np.float32), ways.shape)
        hit = self._tracer.first(np.ascontiguousarray(origins), ways.astype(np.float32))
        beyond = (1.0 - hit["tfar"].astype(np.float64)) * length <= self._near
        found: NDArray[np.bool_] = (hit["primID"] == faces) | (hit["primID"] < 0) | beyond
        return found
