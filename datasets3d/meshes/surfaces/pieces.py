"""Colors of a surface made of pieces: one source of color for all of them together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.normalize import GREY, Triangles
from datasets3d.meshes.surfaces.atlas import PERIODS, Patch, Wrap, atlas, continued
from datasets3d.meshes.surfaces.pictures import to_linear, to_srgb

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

# a picture, coordinates in it of each piece that takes it, and its tiles if it has some
Layout = tuple[NDArray[np.uint8] | None, list[NDArray[np.float32] | None], NDArray[np.int32] | None]


@dataclass(frozen=True, eq=False)
class SurfacePiece:
    """One part of a file: one geometry with one material.

    Args:
        vertices: Shape (V, 3), float64, in the coordinates of the whole.
        faces: Shape (F, 3), int32.
        face_colors: sRGB, shape (F, 3), uint8, or None.
        vertex_colors: sRGB, shape (V, 3), uint8, or None.
        image: sRGB texture, shape (height, width, 3), uint8, or None; a fourth channel leaves
            holes where it is below 127.5, as ``Mesh.texture_cutout`` does.
        image_key: Equal for pieces that share the image; empty without one.
        uv: Per vertex, shape (V, 2), float32, origin at the lower left; needed with an image.
        wrap: How the image goes on to the sides, and up and down.
        tint: Factor of the image per vertex, linear, shape (V, 3), in [0, 1], or None.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    face_colors: NDArray[np.uint8] | None = None
    vertex_colors: NDArray[np.uint8] | None = None
    image: NDArray[np.uint8] | None = None
    image_key: str = ""
    uv: NDArray[np.float32] | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    tint: NDArray[np.float64] | None = None


def join(pieces: list[SurfacePiece], notes: list[str]) -> Triangles:
    """Put pieces together and settle on one source of color.

    One texture that repeats is taken as it is. Several, and ones that are clamped or mirrored, are
    laid out in one picture (:mod:`atlas`); colors of vertices beside textures multiply a white
    texel of it, so that all are shown. Without textures the colors are per vertex when any piece
    has them so, else per face. Pieces without color become grey.

    Args:
        pieces: At least one.
        notes: Receives what cannot be shown so: a texture among several that goes on for more
            than 2¹⁰ periods gives each face one color, the mean of seven samples.

    Returns:
        Triangles with exactly one source of color (and face colors besides a texture that does
        not cover everything).

    Example:
        >>> corner = np.eye(3)
        >>> face = np.array([[0, 1, 2]], np.int32)
        >>> join([SurfacePiece(corner, face), SurfacePiece(corner, face)], []).face_colors.shape
        (2, 3)
    """
    if any(piece.image is not None for piece in pieces):
        return _textured([_coarse_where_it_must(piece, notes, pieces) for piece in pieces])
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
        colors = _mean(sample(piece.image[..., :3], points, piece.wrap))
        if piece.tint is None:
            return colors
        return to_srgb(to_linear(colors) * piece.tint[piece.faces].mean(1))
    if piece.vertex_colors is not None:
        return _mean(piece.vertex_colors[piece.faces])
    if piece.face_colors is not None:
        return piece.face_colors
    return np.tile(np.array(GREY, np.uint8), (len(piece.faces), 1))


def sample(
    image: NDArray[np.uint8],
    uv: NDArray[np.floating],
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat"),
) -> NDArray[np.uint8]:
    """Nearest texels of an image.

    Args:
        image: Shape (height, width, 3), row 0 on top.
        uv: Shape (..., 2), origin at the lower left.
        wrap: How the image goes on outside [0, 1] to the sides, and up and down.

    Returns:
        Shape (..., 3), uint8.

    Example:
        >>> image = np.array([[[1, 1, 1]], [[2, 2, 2]]], np.uint8)
        >>> sample(image, np.array([[0.5, 0.9], [0.5, 0.1], [0.5, 1.1]]))[:, 0].tolist()
        [1, 2, 2]
    """
    height, width = image.shape[:2]
    column = np.floor(uv[..., 0] * width).astype(np.int64)
    row = np.floor((1.0 - uv[..., 1]) * height).astype(np.int64)
    texels: NDArray[np.uint8] = image[
        continued(row, height, wrap[1]), continued(column, width, wrap[0])
    ]
    return texels


def _coarse_where_it_must(
    piece: SurfacePiece, notes: list[str], pieces: list[SurfacePiece]
) -> SurfacePiece:
    """The piece, or with a color per face where its texture cannot be laid out beside others."""
    if piece.image is None or piece.uv is None or _is_alone(pieces):
        return piece
    if Patch(piece.image, piece.uv[piece.faces].astype(np.float64), piece.wrap).periods() < PERIODS:
        return piece
    note = "a texture that repeats a thousand times beside others is one color per face"
    if note not in notes:
        notes.append(note)
    return replace(
        piece, face_colors=face_colors(piece), image=None, image_key="", uv=None, tint=None
    )


def _is_alone(pieces: list[SurfacePiece]) -> bool:
    """Whether one texture that repeats is all there is, but for colors of faces."""
    looks = {(piece.image_key, piece.wrap) for piece in pieces if piece.image is not None}
    bare = all(piece.image is not None or piece.vertex_colors is None for piece in pieces)
    return bare and len(looks) == 1 and looks.pop()[1] == ("repeat", "repeat")


def _textured(pieces: list[SurfacePiece]) -> Triangles:
    vertices, faces = _stacked(pieces)
    image, places, tiles = _as_it_is(pieces) if _is_alone(pieces) else _laid_out(pieces)
    colors, uv, textured, tints = [], [], [], []
    for piece, place in zip(pieces, places, strict=True):
        count, tint = len(piece.faces), _tint(piece)
        grey = np.tile(np.array(GREY, np.uint8), (count, 1))
        colors.append(face_colors(piece) if place is None else grey)
        uv.append(np.zeros((count, 3, 2), np.float32) if place is None else place)
        textured.append(np.full(count, place is not None))
        tints.append(np.ones((count, 3, 3)) if tint is None else tint)
    cutout = None
    if image is not None and image.shape[2] == 4:
        image, cutout = np.ascontiguousarray(image[..., :3]), np.ascontiguousarray(image[..., 3])
    taken, tint_of_all = np.concatenate(textured), np.concatenate(tints).astype(np.float32)
    return Triangles(
        vertices,
        faces,
        face_colors=None if taken.all() else np.concatenate(colors),
        texture=image,
        corner_uv=np.concatenate(uv).astype(np.float32),
        face_textured=None if taken.all() else taken,
        corner_tint=tint_of_all if (tint_of_all != 1.0).any() else None,
        texture_tiles=tiles,
        texture_cutout=cutout,
    )


def _tint(piece: SurfacePiece) -> NDArray[np.float64] | None:
    """What the texture of a piece is multiplied by at each corner; None for 1."""
    if piece.image is not None:
        return None if piece.tint is None else piece.tint[piece.faces]
    if piece.vertex_colors is None:
        return None
    return to_linear(piece.vertex_colors[piece.faces])


def _as_it_is(pieces: list[SurfacePiece]) -> Layout:
    image = next(piece.image for piece in pieces if piece.image is not None)
    return (
        image,
        [
            None if piece.image is None or piece.uv is None else piece.uv[piece.faces]
            for piece in pieces
        ],
        None,
    )


def _laid_out(pieces: list[SurfacePiece]) -> Layout:
    """An atlas of all textures, and a white texel for what has colors of vertices alone."""
    members: dict[tuple[str, tuple[Wrap, Wrap]], list[int]] = {}
    for number, piece in enumerate(pieces):
        if piece.image is not None or piece.vertex_colors is not None:
            members.setdefault((piece.image_key, piece.wrap), []).append(number)
    patches = []
    for numbers in members.values():
        some = [pieces[number] for number in numbers]
        corners = [
            np.full((len(p.faces), 3, 2), 0.5) if p.uv is None or p.image is None
            else p.uv[p.faces].astype(np.float64)
            for p in some
        ]  # fmt: skip
        white = np.full((1, 1, 3), 255, np.uint8)
        image = white if some[0].image is None else some[0].image
        patches.append(Patch(image, np.concatenate(corners), some[0].wrap))
    if not patches:
        return None, [None] * len(pieces), None
    picture, found, tiles = atlas(patches)
    uv: list[NDArray[np.float32] | None] = [None] * len(pieces)
    for numbers, corners_of_all in zip(members.values(), found, strict=True):
        ends = np.cumsum([len(pieces[number].faces) for number in numbers])
        for number, own in zip(numbers, np.split(corners_of_all, ends[:-1]), strict=True):
            uv[number] = own
    return picture, uv, tiles


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


def _mean(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean over the middle axis of (F, samples, 3)."""
    mean: NDArray[np.uint8] = np.rint(colors.mean(1)).astype(np.uint8)
    return mean
