"""What every renderer does to a mesh's looks before it can show them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers.color import decoding_table
from renderers.scene import Mesh


def filled_normals(
    corner_normals: NDArray[np.float32], face_normals: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Put the face's normal where a corner has none, and +Z where the face has none either.

    Args:
        corner_normals: Shape (F, 3, 3); zero, NaN and infinity count as none.
        face_normals: Shape (F, 3), of any length.

    Returns:
        Shape (F, 3, 3), float32.

    Example:
        >>> up = np.array([[0.0, 0.0, 2.0]])
        >>> filled_normals(np.zeros((1, 3, 3), np.float32), up)[0, 0].tolist()
        [0.0, 0.0, 1.0]
    """
    normals = np.ascontiguousarray(corner_normals)
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.square(normals).sum(2)
        broken = ~((square > 1e-20) & (square < np.inf))
    if not broken.any():
        return normals
    length = np.linalg.norm(face_normals, axis=1, keepdims=True)
    flat = np.where(length > 0.0, face_normals / np.where(length > 0.0, length, 1.0), (0, 0, 1.0))
    filled: NDArray[np.float32] = np.where(broken[..., None], flat[:, None, :], normals).astype(
        np.float32
    )
    return filled


def textured_faces(mesh: Mesh) -> NDArray[np.bool_]:
    """Which faces take the texture.

    Args:
        mesh: With or without a texture.

    Returns:
        Shape (F,), bool.
    """
    if mesh.texture is None:
        return np.zeros(len(mesh.faces), np.bool_)
    if mesh.face_textured is None:
        return np.ones(len(mesh.faces), np.bool_)
    return mesh.face_textured


def outward_normals(mesh: Mesh) -> NDArray[np.float32]:
    """Normals of the corners, on the side that the triangle's winding calls its outside.

    Args:
        mesh: Wound either way; gaps among its normals are filled.

    Returns:
        Shape (F, 3, 3), float32.

    Example:
        >>> down = np.tile(np.float32([0, 0, -1]), (1, 3, 1))
        >>> triangle = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32), down,
        ...                 face_colors=np.zeros((1, 3), np.uint8))
        >>> outward_normals(triangle)[0, 0].tolist()
        [-0.0, -0.0, 1.0]
    """
    corners = mesh.vertices[mesh.faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = filled_normals(mesh.corner_normals, flat)
    inward = (normals * flat[:, None, :]).sum(2, keepdims=True) < 0.0
    outward: NDArray[np.float32] = np.where(inward, -normals, normals).astype(np.float32)
    return outward


def corner_colors(mesh: Mesh) -> NDArray[np.float32]:
    """Linear color of every corner, or what its texture is multiplied by; white without any.

    Args:
        mesh: With vertex or face colors, or a tinted texture.

    Returns:
        Shape (F, 3, 3), float32, in [0, 1].
    """
    decode = decoding_table()
    if mesh.texture is None and mesh.vertex_colors is not None:
        return decode[mesh.vertex_colors[mesh.faces]]
    colors = np.ones((len(mesh.faces), 3, 3), np.float32)
    if mesh.face_colors is not None:
        colors[:] = decode[mesh.face_colors][:, None]
    textured = textured_faces(mesh)
    colors[textured] = 1.0 if mesh.corner_tint is None else mesh.corner_tint[textured]
    return colors
