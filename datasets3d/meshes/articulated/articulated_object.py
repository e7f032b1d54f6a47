"""One object of rigid parts: its surface at rest, the part of every face, and its joints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated.mechanism import Mechanism
from datasets3d.meshes.articulated.moved_mesh import moved_mesh, vertex_parts
from datasets3d.meshes.normals import face_normals
from equivariant.errors import ShapeError
from renderers.scene import Mesh

MARGIN = 1e-9


@dataclass(frozen=True, eq=False)
class ArticulatedObject:
    """A mesh made of closed, convex solids that belong to rigid parts.

    Args:
        mesh: The object at rest; box diagonal 1, +z up.
        face_parts: Part of every face, shape (F,), int64.
        face_solids: Number of the solid of every face, shape (F,), int64; no vertex is shared
            between solids.
        mechanism: Parts and joints, in the coordinates of the mesh.

    Raises:
        ShapeError: There is not one part and one solid per face.
    """

    mesh: Mesh
    face_parts: NDArray[np.int64]
    face_solids: NDArray[np.int64]
    mechanism: Mechanism

    def __post_init__(self) -> None:
        count = len(self.mesh.faces)
        if len(self.face_parts) != count or len(self.face_solids) != count:
            raise ShapeError(
                expected=f"one part and one solid for each of {count} faces",
                got=f"{len(self.face_parts)} and {len(self.face_solids)}",
                argument="face_parts",
                advice="Take the object from ArticulatedMeshes.object(entry).",
            )

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of the parts, in the order of their numbers; the first is the base."""
        return self.mechanism.part_names

    @cached_property
    def vertex_parts(self) -> NDArray[np.int64]:
        """Part of every vertex, shape (V,), int64."""
        return vertex_parts(self.mesh, self.face_parts)

    def transform(
        self, state_a: NDArray[np.float64], state_b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The element of the piecewise action that takes one state to another.

        Args:
            state_a: Radians of hinges, lengths of slides, shape (..., joints).
            state_b: The same.

        Returns:
            An element of ``Product(SE3(), ..., SE3())``, one factor per part, shape
            (..., 4 parts, 4 parts), float64.

        Raises:
            ShapeError: A state has not one number per joint.
        """
        return self.mechanism.transform(state_a, state_b)

    def posed(self, state: NDArray[np.float64]) -> Mesh:
        """The mesh in a state, in the coordinates of rest; neither centred nor scaled again.

        Args:
            state: Shape (joints,).

        Raises:
            ShapeError: The state has not one number per joint.
        """
        return moved_mesh(self.mesh, self.face_parts, self.mechanism.elements(state))

    def hidden(self, points: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which points of the surface at rest are inside of another solid of their part.

        Args:
            points: Shape (N, 3).
            faces: The face that each lies on, shape (N,).

        Returns:
            Shape (N,), bool.
        """
        found = np.zeros(len(points), np.bool_)
        normals, offsets = self._planes
        for solid in np.unique(self.face_solids):
            planes = self.face_solids == solid
            part = self.face_parts[planes][0]
            other = (self.face_parts[faces] == part) & (self.face_solids[faces] != solid) & ~found
            above = points[other] @ normals[planes].T - offsets[planes]
            found[other] = (above < -MARGIN).all(1)
        return found

    @cached_property
    def _planes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The plane of every face, n · x = d: normals (F, 3) and offsets (F,)."""
        normals, _ = face_normals(self.mesh.vertices, self.mesh.faces)
        first = self.mesh.vertices[self.mesh.faces[:, 0]]
        return normals, np.einsum("fi,fi->f", normals, first)
