"""Meshes whose parts were moved, each by an element of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from renderers.scene import Mesh


def moved_mesh(mesh: Mesh, face_parts: NDArray[np.int64], elements: NDArray[np.float64]) -> Mesh:
    """Move every part of a mesh: vertices and normals, x ↦ R_p x + t_p and n ↦ R_p n.

    Args:
        mesh: No vertex belongs to faces of two parts.
        face_parts: Part of every face, shape (F,).
        elements: Elements of SE3, one per part, shape (parts, 4, 4).

    Example:
        >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
        >>> one = Mesh(corners, np.array([[0, 1, 2]], np.int32),
        ...     np.tile(np.array([0, 0, 1], np.float32), (1, 3, 1)), np.zeros((1, 3), np.uint8))
        >>> up = np.eye(4)[None] + np.array([[0.0, 0, 0, 0], [0] * 4, [0, 0, 0, 2], [0] * 4])
        >>> moved_mesh(one, np.array([0]), up).vertices[:, 2].tolist()
        [2.0, 2.0, 2.0]
    """
    own = elements[vertex_parts(mesh, face_parts)]
    turns = elements[face_parts][:, :3, :3]
    normals = np.einsum("fij,fkj->fki", turns, mesh.corner_normals)
    return replace(
        mesh,
        vertices=np.einsum("vij,vj->vi", own[:, :3, :3], mesh.vertices) + own[:, :3, 3],
        corner_normals=normals.astype(np.float32),
    )


def vertex_parts(mesh: Mesh, face_parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Part of every vertex, shape (V,): that of the faces that it belongs to.

    Args:
        mesh: No vertex belongs to faces of two parts.
        face_parts: Part of every face, shape (F,).
    """
    parts = np.zeros(len(mesh.vertices), np.int64)
    parts[mesh.faces.reshape(-1)] = np.repeat(face_parts, 3)
    return parts
