"""The looks of a mesh as the loops read them: linear light, every gap filled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderers.color import decoding_table
from renderers.rays.kernels import Singles
from renderers.rays.textures import Pyramid, pyramid, slopes, tile_of_faces
from renderers.scene import Mesh
from renderers.surface import filled_normals, textured_faces


class Surface(NamedTuple):
    """The mesh's looks; colors are linear light except the texture, which ``decode`` decodes.

    ``source`` says where a face's color comes from: 0 its own, 1 its vertices, 2 the texture,
    which ``tint`` multiplies unless it is empty. ``tile`` and ``slope`` say where on the texture a
    face lies and how fast its coordinates change; both have one row where there is no texture.
    """

    faces: NDArray[np.int32]
    normals: Singles
    source: NDArray[np.uint8]
    face_colors: Singles
    vertex_colors: Singles
    pyramid: Pyramid
    uv: Singles
    tile: NDArray[np.int32]
    slope: Singles
    tint: Singles
    decode: Singles


def surface_of(mesh: Mesh, vertices: NDArray[np.float64]) -> Surface:
    """Prepare the looks of a mesh.

    Args:
        mesh: With normals and colors of any kind.
        vertices: Its vertices in the coordinates that rays are traced in, shape (V, 3).
    """
    count = len(mesh.faces)
    corners = vertices[mesh.faces]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normals = filled_normals(mesh.corner_normals, np.cross(b - a, c - a))
    textured = textured_faces(mesh)
    decode = decoding_table()
    own = 1 if mesh.texture is None and mesh.vertex_colors is not None else 0
    white = np.ones((count if own == 0 else 1, 3), np.float32)
    uv, slope = np.zeros((1, 3, 2), np.float32), np.zeros((1, 2, 3), np.float32)
    averages, tile = pyramid(np.zeros((1, 1, 3), np.uint8)), np.zeros(1, np.int32)
    if mesh.texture is not None and mesh.corner_uv is not None and textured.any():
        uv = np.where(np.isfinite(mesh.corner_uv), mesh.corner_uv, np.float32(0.0))
        averages = pyramid(mesh.texture, mesh.texture_tiles)
        slope = slopes(corners, uv, mesh.texture.shape[:2])
        tile = tile_of_faces(mesh.texture_tiles, uv, mesh.texture.shape[:2])
    return Surface(
        faces=np.ascontiguousarray(mesh.faces),
        normals=normals,
        source=np.where(textured, 2, own).astype(np.uint8),
        face_colors=white if mesh.face_colors is None else decode[mesh.face_colors],
        vertex_colors=white[:1] if mesh.vertex_colors is None else decode[mesh.vertex_colors],
        pyramid=averages,
        uv=np.ascontiguousarray(uv),
        tile=tile,
        slope=np.ascontiguousarray(slope),
        tint=np.ascontiguousarray(
            np.zeros((0, 3, 3), np.float32)
            if mesh.corner_tint is None or not textured.any()
            else mesh.corner_tint
        ),
        decode=decode,
    )
