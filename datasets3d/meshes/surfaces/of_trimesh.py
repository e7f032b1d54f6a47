"""Surfaces as trimesh gives them, of OBJ, PLY and STL files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from datasets3d.meshes.formats.cutouts import CUT
from datasets3d.meshes.formats.wavefront import CLAMPED, PLACED, PLAIN
from datasets3d.meshes.surfaces.atlas import Wrap
from datasets3d.meshes.surfaces.pictures import texels
from datasets3d.meshes.surfaces.pieces import SurfacePiece

FAR: Final = 2.0**20  # texture coordinates beyond it are no places on a picture
Images = dict[int, tuple[NDArray[np.uint8], str]]


def pieces_of(scene: Any, notes: list[str]) -> list[SurfacePiece]:
    """One piece per geometry of a scene without transforms, in the order of its nodes.

    Args:
        scene: A ``trimesh.Scene``.
        notes: Receives what is not shown.

    Raises:
        IndexError: A face names a vertex that is not there.
        ValueError: A texture is too large.
    """
    pieces = []
    images: Images = {}
    for node in scene.graph.nodes_geometry:
        mesh = scene.geometry[scene.graph[node][1]]
        if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
            continue
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise IndexError("a face names a vertex that is not there")
        bare = SurfacePiece(vertices, faces.astype(np.int32))
        pieces.append(_colored(mesh.visual, bare, images, notes))
    return pieces


def _colored(visual: Any, bare: SurfacePiece, images: Images, notes: list[str]) -> SurfacePiece:
    if not isinstance(visual, trimesh.visual.ColorVisuals):
        return _of_material(visual, bare, images, notes)
    if visual.kind not in ("face", "vertex"):
        return bare
    stored = visual.face_colors if visual.kind == "face" else visual.vertex_colors
    colors = np.asarray(stored)[:, :3].astype(np.uint8)
    if visual.kind == "face":
        return replace(bare, face_colors=colors)
    return replace(bare, vertex_colors=colors)


def _of_material(visual: Any, bare: SurfacePiece, images: Images, notes: list[str]) -> SurfacePiece:
    material = getattr(visual, "material", None)
    source, stated = getattr(material, "image", None), getattr(material, "kwargs", None) or {}
    # trimesh puts a drawn image where texture coordinates come without one; it has no file format
    if isinstance(source, Image.Image) and source.format is not None:
        if id(source) not in images:
            # of the opacity 0 alone: what is seen partly is solid
            images[id(source)] = texels(source, cutoff=1.0 if CUT in stated else None)
        wrap: Wrap = "clamp" if CLAMPED in stated else "repeat"
        place = np.array(stated.get(PLACED, PLAIN), np.float64)
        return _of_texture(visual, bare, images[id(source)], wrap, notes, place=place)
    value = getattr(material, "diffuse", None) if "kd" in stated else None
    if value is None:
        return bare
    color = np.asarray(value, np.float64).reshape(-1)[:3]
    return replace(bare, face_colors=np.tile(np.rint(color).astype(np.uint8), (len(bare.faces), 1)))


def _of_texture(
    visual: Any,
    bare: SurfacePiece,
    image: tuple[NDArray[np.uint8], str],
    wrap: Wrap,
    notes: list[str],
    *,
    place: NDArray[np.float64],
) -> SurfacePiece:
    """A piece with a texture; ``place`` holds two scales and two shifts of its coordinates."""
    uv = getattr(visual, "uv", None)
    if uv is None or np.shape(uv) != (len(bare.vertices), 2):
        notes.append("a texture without coordinates: its mean color is shown")
        mean = np.rint(image[0][..., :3].reshape(-1, 3).mean(0)).astype(np.uint8)
        return replace(bare, face_colors=np.tile(mean, (len(bare.faces), 1)))
    places = np.asarray(uv, np.float64) * place[:2] + place[2:]
    fine = np.isfinite(places) & (np.abs(places) <= FAR)
    if not fine.all():
        notes.append("texture coordinates that are no places on a picture count as 0")
    return replace(
        bare, image=image[0], image_key=image[1], wrap=(wrap, wrap),
        uv=np.where(fine, places, 0.0).astype(np.float32),
    )  # fmt: skip
