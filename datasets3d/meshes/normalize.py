"""From triangles as they come to the mesh that is rendered: upright, centered, of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.normals import CREASE_RAD, corner_normals, face_normals
from equivariant.errors import DataFormatError
from renderers.scene import Mesh

UpAxis = Literal["x", "y", "z"]
Scale = Literal["diagonal", "sphere"]
GREY = (178, 178, 178)
FLAT = 1e-12  # a face of less area than this share of the squared box diagonal is dropped


@dataclass(frozen=True, eq=False)
class Triangles:
    """Triangles as a file or a recipe gives them; the fields are those of ``renderers.Mesh``.

    Args:
        vertices: Positions, shape (V, 3), float64, any unit and place.
        faces: Vertex indices, shape (F, 3), int32.
        face_colors: sRGB, shape (F, 3), uint8.
        vertex_colors: sRGB, shape (V, 3), uint8.
        texture: sRGB, shape (height, width, 3), uint8, row 0 on top.
        corner_uv: Shape (F, 3, 2), float32, origin at the lower left.
        face_textured: Shape (F,), bool.
        corner_tint: Factor of the texture, linear, shape (F, 3, 3), float32.
        texture_tiles: Parts of the texture, shape (T, 4), int32.
        texture_cutout: Where the texture leaves holes, shape (height, width), uint8.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    face_colors: NDArray[np.uint8] | None = None
    vertex_colors: NDArray[np.uint8] | None = None
    texture: NDArray[np.uint8] | None = None
    corner_uv: NDArray[np.float32] | None = None
    face_textured: NDArray[np.bool_] | None = None
    corner_tint: NDArray[np.float32] | None = None
    texture_tiles: NDArray[np.int32] | None = None
    texture_cutout: NDArray[np.uint8] | None = None


def normalize(
    triangles: Triangles,
    *,
    name: str,
    up: UpAxis = "y",
    scale: Scale = "diagonal",
    crease_rad: float = CREASE_RAD,
) -> Mesh:
    """Set a mesh upright at the origin, give it unit size, and compute its corner normals.

    Faces without area and vertices without a face go first. Then, with c the center of the
    bounding box and U the rotation that takes ``up`` to +Z,

        v ↦ U (v - c) / s    s = box diagonal ("diagonal"), or twice the largest radius ("sphere")

    U is (x, y, z) ↦ (x, -z, y) for "y", (y, z, x) for "x", and the identity for "z".

    Args:
        triangles: What was read. Without any color it becomes grey.
        name: File or recipe that errors name.
        up: The axis that points up in the input.
        scale: "diagonal" makes the box diagonal 1, as ShapeNet does; "sphere" makes the largest
            distance from the origin 0.5.
        crease_rad: Largest angle between faces that are shaded as one, in [0, π].

    Raises:
        DataFormatError: There is no face, a vertex is not finite, a face names a vertex that is
            not there, or all faces together have no extent or no area.

    Example:
        >>> corner = np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]])
        >>> mesh = normalize(Triangles(corner, np.array([[0, 1, 2]], np.int32)), name="corner")
        >>> (mesh.vertices * 10).round(6).tolist()
        [[-3.0, 0.0, -4.0], [3.0, 0.0, -4.0], [-3.0, 0.0, 4.0]]
    """
    _check(triangles, name)
    kept, lost = _without_flat_faces(triangles), len(triangles.faces)
    if not len(kept.faces):
        raise _refuse(name, "faces with area", f"{lost} faces, all without area")
    vertices = _of_unit_size(_upright(kept.vertices, up), scale)
    textured = kept.texture is not None and kept.corner_uv is not None
    per_vertex = kept.vertex_colors is not None and not textured
    face_colors = kept.face_colors
    if face_colors is None and not textured and not per_vertex:
        face_colors = np.tile(np.array(GREY, np.uint8), (len(kept.faces), 1))
    return Mesh(
        vertices=vertices,
        faces=kept.faces,
        corner_normals=corner_normals(vertices, kept.faces, crease_rad=crease_rad),
        face_colors=None if per_vertex else face_colors,
        vertex_colors=kept.vertex_colors if per_vertex else None,
        texture=kept.texture if textured else None,
        corner_uv=kept.corner_uv if textured else None,
        face_textured=kept.face_textured if textured else None,
        corner_tint=kept.corner_tint if textured else None,
        texture_tiles=kept.texture_tiles if textured else None,
        texture_cutout=kept.texture_cutout if textured else None,
    )


def _of_unit_size(vertices: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    low, high = vertices.min(0), vertices.max(0)
    centered: NDArray[np.float64] = vertices - (low + high) / 2.0
    if scale == "diagonal":
        size = float(np.linalg.norm(high - low))
    else:
        size = 2.0 * float(np.sqrt(np.einsum("vi,vi->v", centered, centered).max()))
    centered /= size
    return centered


def _check(triangles: Triangles, name: str) -> None:
    vertices, faces = triangles.vertices, triangles.faces
    if not len(faces) or not len(vertices):
        raise _refuse(name, "a mesh with faces", f"{len(faces)} faces, {len(vertices)} vertices")
    if not np.isfinite(vertices).all():
        bad = int((~np.isfinite(vertices)).any(1).sum())
        raise _refuse(name, "finite vertices", f"{bad} of {len(vertices)} that are not finite")
    if int(faces.min()) < 0 or int(faces.max()) >= len(vertices):
        raise _refuse(
            name,
            f"vertex indices in [0, {len(vertices)})",
            f"indices from {int(faces.min())} to {int(faces.max())}",
        )
    used = vertices[faces.reshape(-1)]
    with np.errstate(over="ignore", invalid="ignore"):
        extent = float(np.linalg.norm(used.max(0) - used.min(0)))
        squared = extent * extent
    if not (0.0 < squared < np.inf):
        raise _refuse(name, "a mesh with a positive, finite extent", f"an extent of {extent}")


def _refuse(name: str, expected: str, got: str) -> DataFormatError:
    return DataFormatError(
        expected=expected, got=got, argument=name, advice="Repair the mesh or leave it out."
    )


def _without_flat_faces(triangles: Triangles) -> Triangles:
    """Drop faces without area, then vertices without a face."""
    used = triangles.vertices[triangles.faces.reshape(-1)]
    center, extent = used.mean(0), used.max(0) - used.min(0)
    near = (triangles.vertices - center) / float(np.linalg.norm(extent))
    keep = face_normals(near, triangles.faces)[1] > FLAT
    faces = triangles.faces[keep]
    present = np.zeros(len(near), np.bool_)
    present[faces.reshape(-1)] = True
    if keep.all() and present.all():
        return triangles
    number = np.cumsum(present) - 1
    t = triangles
    return Triangles(
        vertices=t.vertices[present],
        faces=number[faces].astype(np.int32),
        face_colors=None if t.face_colors is None else t.face_colors[keep],
        vertex_colors=None if t.vertex_colors is None else t.vertex_colors[present],
        texture=t.texture,
        corner_uv=None if t.corner_uv is None else t.corner_uv[keep],
        face_textured=None if t.face_textured is None else t.face_textured[keep],
        corner_tint=None if t.corner_tint is None else t.corner_tint[keep],
        texture_tiles=t.texture_tiles,
        texture_cutout=t.texture_cutout,
    )


def _upright(vertices: NDArray[np.float64], up: UpAxis) -> NDArray[np.float64]:
    if up == "z":
        return vertices
    if up == "x":
        return vertices[:, [1, 2, 0]]
    return np.stack((vertices[:, 0], -vertices[:, 2], vertices[:, 1]), axis=1)
