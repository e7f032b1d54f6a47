"""Colors of a surface made of pieces: one source of color for all of them together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.normalize import GREY, Triangles

SAMPLES = np.array(  # barycentric: the middle, three near the corners, three near the edges
    [
        [1 / 3, 1 / 3, 1 / 3],
        [0.7, 0.15, 0.15],
        [0.15, 0.7, 0.15],
        [0.15, 0.15, 0.7],
        [0.45, 0.45, 0.1],
        [0.45, 0.1, 0.45],
        [0.1, 0.45, 0.45],
    ]
)


@dataclass(frozen=True, eq=False)
class SurfacePiece:
    """One part of a file: one geometry with one material.

    Args:
        vertices: Shape (V, 3), float64, in the coordinates of the whole.
        faces: Shape (F, 3), int32.
        face_colors: sRGB, shape (F, 3), uint8, or None.
        vertex_colors: sRGB, shape (V, 3), uint8, or None.
        image: sRGB texture, shape (height, width, 3), uint8, or None.
        image_key: Equal for pieces that share the image; empty without one.
        uv: Per vertex, shape (V, 2), float32, origin at the lower left; needed with an image.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    face_colors: NDArray[np.uint8] | None = None
    vertex_colors: NDArray[np.uint8] | None = None
    image: NDArray[np.uint8] | None = None
    image_key: str = ""
    uv: NDArray[np.float32] | None = None


def join(pieces: list[SurfacePiece]) -> Triangles:
    """Put pieces together and settle on one source of color.

    With textures, the one that covers the largest area is kept and faces of all other pieces get
    one color each: the mean of seven samples of their texture, or of their three corners. Without
    textures the colors are per vertex when any piece has them so, else per face. Pieces without
    color become grey.

    Args:
        pieces: At least one.

    Returns:
        Triangles with exactly one source of color (and face colors besides a texture that does
        not cover everything).

    Example:
        >>> corner = np.eye(3)
        >>> face = np.array([[0, 1, 2]], np.int32)
        >>> join([SurfacePiece(corner, face), SurfacePiece(corner, face)]).face_colors.shape
        (2, 3)
    """
    areas: dict[str, float] = {}
    for piece in pieces:
        if piece.image_key:
            areas[piece.image_key] = areas.get(piece.image_key, 0.0) + _area(piece)
    if areas:
        return _textured(pieces, kept=max(areas, key=lambda key: (areas[key], key)))
    if any(piece.vertex_colors is not None for piece in pieces):
        pieces = [_per_vertex(piece) for piece in pieces]
        vertices, faces = _stacked(pieces)
        colors = [p.vertex_colors for p in pieces if p.vertex_colors is not None]
        return Triangles(vertices, faces, vertex_colors=np.concatenate(colors))
    vertices, faces = _stacked(pieces)
    return Triangles(
        vertices, faces, face_colors=np.concatenate([face_colors(piece) for piece in pieces])
    )


def face_colors(piece: SurfacePiece) -> NDArray[np.uint8]:
    """One color per face, whatever the piece is colored by.

    Args:
        piece: Its image, where it has one, wins over its vertex colors, those over its face
            colors.

    Returns:
        sRGB, shape (F, 3), uint8.

    Example:
        >>> face_colors(SurfacePiece(np.eye(3), np.array([[0, 1, 2]], np.int32))).tolist()
        [[178, 178, 178]]
    """
    if piece.image is not None and piece.uv is not None:
        points = np.einsum("sk,fki->fsi", SAMPLES, piece.uv[piece.faces].astype(np.float64))
        return _mean(sample(piece.image, points))
    if piece.vertex_colors is not None:
        return _mean(piece.vertex_colors[piece.faces])
    if piece.face_colors is not None:
        return piece.face_colors
    return np.tile(np.array(GREY, np.uint8), (len(piece.faces), 1))


def sample(image: NDArray[np.uint8], uv: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Nearest texels of an image that repeats outside [0, 1].

    Args:
        image: Shape (height, width, 3), row 0 on top.
        uv: Shape (..., 2), origin at the lower left.

    Returns:
        Shape (..., 3), uint8.

    Example:
        >>> image = np.array([[[1, 1, 1]], [[2, 2, 2]]], np.uint8)
        >>> sample(image, np.array([[0.5, 0.9], [0.5, 0.1], [0.5, 1.1]]))[:, 0].tolist()
        [1, 2, 2]
    """
    height, width = image.shape[:2]
    turned = np.stack((uv[..., 0], 1.0 - uv[..., 1]), axis=-1)
    place = np.floor((turned - np.floor(turned)) * np.array([width, height])).astype(np.int64)
    column = np.clip(place[..., 0], 0, width - 1)
    texels: NDArray[np.uint8] = image[np.clip(place[..., 1], 0, height - 1), column]
    return texels


def _textured(pieces: list[SurfacePiece], *, kept: str) -> Triangles:
    vertices, faces = _stacked(pieces)
    uv: list[NDArray[np.float32]] = []
    taken: list[NDArray[np.bool_]] = []
    colors: list[NDArray[np.uint8]] = []
    image = next(piece.image for piece in pieces if piece.image_key == kept)
    for piece in pieces:
        count = len(piece.faces)
        mine = piece.image_key == kept and piece.uv is not None
        taken.append(np.full(count, mine, np.bool_))
        if mine and piece.uv is not None:
            uv.append(piece.uv[piece.faces])
            colors.append(np.tile(np.array(GREY, np.uint8), (count, 1)))
        else:
            uv.append(np.zeros((count, 3, 2), np.float32))
            colors.append(face_colors(piece))
    textured = np.concatenate(taken)
    return Triangles(
        vertices,
        faces,
        face_colors=None if textured.all() else np.concatenate(colors),
        texture=image,
        corner_uv=np.concatenate(uv).astype(np.float32),
        face_textured=None if textured.all() else textured,
    )


def _per_vertex(piece: SurfacePiece) -> SurfacePiece:
    """The piece with colors per vertex; vertices are repeated where its faces differ in color."""
    if piece.vertex_colors is not None:
        return piece
    colors = np.repeat(face_colors(piece), 3, axis=0)
    faces = np.arange(3 * len(piece.faces), dtype=np.int32).reshape(-1, 3)
    return SurfacePiece(piece.vertices[piece.faces.reshape(-1)], faces, vertex_colors=colors)


def _stacked(pieces: list[SurfacePiece]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    starts = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    moved = [piece.faces + np.int32(start) for piece, start in zip(pieces, starts, strict=False)]
    return np.concatenate([piece.vertices for piece in pieces]), np.concatenate(moved)


def _area(piece: SurfacePiece) -> float:
    a, b, c = (piece.vertices[piece.faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())


def _mean(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean over the middle axis of (F, samples, 3)."""
    mean: NDArray[np.uint8] = np.rint(colors.mean(1)).astype(np.uint8)
    return mean
