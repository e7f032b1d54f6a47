"""A mesh taken apart again into pieces that can be joined with those of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.surfaces.pieces import SurfacePiece
from renderers.rays.textures import tile_of_faces
from renderers.scene import Mesh
from renderers.surface import textured_faces

Piece = tuple[SurfacePiece, NDArray[np.float32]]


def mesh_pieces(mesh: Mesh, key: str) -> list[Piece]:
    """A mesh as pieces of one source of color each, and the normals of their corners.

    Faces without texture are one piece; those of each tile of the texture are another.

    Args:
        mesh: Any.
        key: Unlike the keys of meshes with other textures.

    Returns:
        Pieces, and normals of shape (faces of the piece, 3, 3).

    Example:
        >>> corners, up = np.eye(3), np.tile(np.float32([0, 0, 1]), (1, 3, 1))
        >>> one = Mesh(corners, np.array([[0, 1, 2]], np.int32), up,
        ...            face_colors=np.array([[9, 9, 9]], np.uint8))
        >>> [(len(piece.faces), normals.shape) for piece, normals in mesh_pieces(one, "a")]
        [(1, (1, 3, 3))]
    """
    textured = textured_faces(mesh)
    found = [] if textured.all() else [_plain(mesh, ~textured)]
    return found + list(_of_tiles(mesh, textured, key))


def _corners(mesh: Mesh, own: NDArray[np.bool_]) -> SurfacePiece:
    corners = mesh.vertices[mesh.faces[own]].reshape(-1, 3)
    return SurfacePiece(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))


def _plain(mesh: Mesh, own: NDArray[np.bool_]) -> Piece:
    piece = _corners(mesh, own)
    if mesh.texture is None and mesh.vertex_colors is not None:
        colors = mesh.vertex_colors[mesh.faces[own]].reshape(-1, 3)
        piece = replace(piece, vertex_colors=colors)
    elif mesh.face_colors is not None:
        piece = replace(piece, face_colors=mesh.face_colors[own])
    return piece, mesh.corner_normals[own]


def _of_tiles(mesh: Mesh, textured: NDArray[np.bool_], key: str) -> Iterator[Piece]:
    """A piece per tile that some face takes, with the tile as its image."""
    if mesh.texture is None or mesh.corner_uv is None:
        return
    image = mesh.texture
    if mesh.texture_cutout is not None:
        image = np.dstack([image, mesh.texture_cutout])
    height, width = image.shape[:2]
    uv = np.nan_to_num(mesh.corner_uv, nan=0.0, posinf=0.0, neginf=0.0)
    tile_of = tile_of_faces(mesh.texture_tiles, uv, (height, width))
    for number in np.unique(tile_of[textured]).tolist():
        own = textured & (tile_of == number)
        piece, places = _corners(mesh, own), uv[own].reshape(-1, 2)
        tint = mesh.corner_tint
        if tint is not None:
            piece = replace(piece, tint=tint[own].reshape(-1, 3).astype(np.float64))
        if mesh.texture_tiles is None:
            piece = replace(piece, image=image, image_key=key, uv=places)
        else:
            left, top, wide, high = mesh.texture_tiles[number].tolist()
            across = (places[:, 0].astype(np.float64) * width - left) / wide
            down = ((1.0 - places[:, 1].astype(np.float64)) * height - top) / high
            piece = replace(
                piece,
                image=image[top : top + high, left : left + wide], image_key=f"{key}/{number}",
                uv=np.stack([across, 1.0 - down], 1).astype(np.float32), wrap=("clamp", "clamp"),
            )  # fmt: skip
        yield piece, mesh.corner_normals[own]
