"""The color of a surface at places of its faces, in linear light, without any light on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renderers.color import decoding_table
from renderers.rays.textures import texels
from renderers.scene import Mesh
from renderers.surface import textured_faces
from renderers.validation import describe, expect


def albedo_at(
    mesh: Mesh, faces: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The linear color of points of a surface: what a renderer multiplies by the light.

    With the weights w of a face's corners, summed over them: the colors of its vertices, decoded,
    Σ w_i c_i; or its own color; or the bilinear mean of the four decoded texels around Σ w_i uv_i,
    the texture repeated, multiplied by Σ w_i tint_i.

    Args:
        mesh: The surface.
        faces: Which face each point is on, shape (N,), integers.
        weights: Barycentric weights of its corners, shape (N, 3), float64, of sum 1.

    Returns:
        Linear light in [0, 1], shape (N, 3), float32.

    Raises:
        RendererError: The shapes do not fit together, or a face is not one of the mesh.

    Example:
        >>> triangle = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32),
        ...                 np.zeros((1, 3, 3), np.float32),
        ...                 vertex_colors=np.array([[255, 0, 0], [0, 255, 0], [0, 0, 0]], np.uint8))
        >>> albedo_at(triangle, np.array([0]), np.array([[0.25, 0.5, 0.25]])).tolist()
        [[0.25, 0.5, 0.0]]
    """
    count = len(mesh.faces)
    expect(weights.shape == (*faces.shape, 3), "weights", "three for each face", describe(weights))
    inside = not faces.size or bool(faces.min() >= 0 and faces.max() < count)
    expect(inside, "faces", f"indices in [0, {count})", "others")
    decode = decoding_table()
    if mesh.texture is None and mesh.vertex_colors is not None:
        corners = decode[mesh.vertex_colors[mesh.faces[faces]]]
        mean: NDArray[np.float64] = np.einsum("nk,nkc->nc", weights, corners)
        return mean.astype(np.float32)
    found = np.ones((len(faces), 3), np.float32)
    if mesh.face_colors is not None:
        found = decode[mesh.face_colors[faces]]
    textured = textured_faces(mesh)[faces]
    if mesh.texture is not None and mesh.corner_uv is not None and textured.any():
        own, share = faces[textured], weights[textured]
        corner_uv = np.where(np.isfinite(mesh.corner_uv[own]), mesh.corner_uv[own], 0.0)
        uv = np.einsum("nk,nkc->nc", share, corner_uv)
        light = texels(mesh.texture, decode, uv)
        if mesh.corner_tint is not None:
            light *= np.einsum("nk,nkc->nc", share, mesh.corner_tint[own])
        found[textured] = light
    return found
