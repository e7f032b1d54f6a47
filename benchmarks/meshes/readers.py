"""What readers of meshes make of a file, in one form: triangles, and a color at any place."""

from __future__ import annotations

import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from datasets3d.meshes.decode import decode
from datasets3d.meshes.surfaces.atlas import Wrap
from datasets3d.meshes.surfaces.pictures import to_linear, to_srgb
from datasets3d.meshes.surfaces.pieces import sample

At = Callable[[int, NDArray[np.float64]], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Seen:
    """A surface as a reader gives it.

    Args:
        corners: Shape (F, 3, 3).
        color: sRGB of a face at barycentric coordinates.
        notes: What the reader said is not shown.
    """

    corners: NDArray[np.float64]
    color: At
    notes: tuple[str, ...] = ()

    def area(self) -> float:
        """Of all triangles together."""
        a, b, c = (self.corners[:, k] for k in range(3))
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2.0)

    def color_at(self, x: float, y: float) -> tuple[int, ...] | None:
        """The color of the first triangle that holds (x, y), seen along z."""
        flat = np.concatenate([self.corners[:, :, :2], np.ones((len(self.corners), 3, 1))], 2)
        for face, corners in enumerate(flat):
            if abs(np.linalg.det(corners)) < 1e-12:
                continue
            inside = np.linalg.solve(corners.T, [x, y, 1.0])
            if (inside >= -1e-9).all():
                return tuple(int(c) for c in self.color(face, inside)[:3])
        return None


def ours(path: Path) -> Seen:
    """As this package reads it."""
    notes: list[str] = []
    mesh = decode(path, name=path.name, notes=notes)

    def color(face: int, inside: NDArray[np.float64]) -> NDArray[np.uint8]:
        textured = mesh.face_textured is None or mesh.face_textured[face]
        if mesh.texture is not None and mesh.corner_uv is not None and textured:
            shown = _texel(mesh.texture, inside @ mesh.corner_uv[face])
            tint = 1.0 if mesh.corner_tint is None else inside @ mesh.corner_tint[face]
            return to_srgb(to_linear(shown) * tint)
        if mesh.vertex_colors is not None:
            return to_srgb(inside @ to_linear(mesh.vertex_colors[mesh.faces[face]]))
        assert mesh.face_colors is not None
        found: NDArray[np.uint8] = mesh.face_colors[face]
        return found

    return Seen(mesh.vertices[mesh.faces], color, tuple(notes))


def by_trimesh(path: Path) -> Seen:
    """As trimesh alone reads it, with its defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scene = trimesh.load_scene(path)
        pieces = [g for g in scene.dump() if isinstance(g, trimesh.Trimesh) and len(g.faces)]
    corners = np.concatenate([np.asarray(p.vertices)[p.faces] for p in pieces])
    ends = np.cumsum([len(piece.faces) for piece in pieces])

    def color(face: int, inside: NDArray[np.float64]) -> NDArray[np.uint8]:
        number = int(np.searchsorted(ends, face, side="right"))
        piece = pieces[number]
        own = face - (ends[number] - len(piece.faces))
        visual = piece.visual
        material = getattr(visual, "material", None)
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if image is not None and visual.uv is not None:
            pixels = np.asarray(image.convert("RGB"))
            return _texel(pixels, inside @ np.asarray(visual.uv)[piece.faces[own]])
        if material is not None:
            return np.asarray(material.main_color)[:3].astype(np.uint8)
        if visual.kind == "vertex":
            mean = inside @ visual.vertex_colors[piece.faces[own]][:, :3]
            return np.rint(mean).astype(np.uint8)
        return np.asarray(visual.face_colors)[own, :3].astype(np.uint8)

    return Seen(corners, color)


def by_assimp(path: Path) -> Seen:
    """As assimp reads it, through ``assimp-py``; pictures are looked up beside the file."""
    import assimp_py  # noqa: PLC0415 (a peer, not a dependency)

    scene = assimp_py.import_file(str(path), assimp_py.Process_Triangulate)
    corners: list[NDArray[np.float64]] = []
    looks: list[tuple[Any, NDArray[np.int64], int]] = []

    def place(node: Any, above: NDArray[np.float64]) -> None:
        matrix = above @ np.array(node.transformation)
        for number in node.mesh_indices:
            mesh = scene.meshes[number]
            points = np.asarray(mesh.vertices, np.float64).reshape(-1, 3)
            faces = np.asarray(mesh.indices, np.int64).reshape(-1, 3)
            moved = points @ matrix[:3, :3].T + matrix[:3, 3]
            corners.append(moved[faces])
            looks.extend((mesh, face, k) for k, face in enumerate(faces))
        for child in node.children:
            place(child, matrix)

    place(scene.root_node, np.eye(4))

    def color(face: int, inside: NDArray[np.float64]) -> NDArray[np.uint8]:
        mesh, own, _ = looks[face]
        material = scene.materials[mesh.material_index]
        names = material.get("TEXTURES", {})
        listed = names.get(assimp_py.TextureType_DIFFUSE) or names.get(12) or []
        if listed and (path.parent / listed[0]).is_file() and mesh.texcoords:
            pixels = np.asarray(Image.open(path.parent / listed[0]).convert("RGB"))
            which = int(material.get("UVWSRC_BASE", 0))
            width = mesh.num_uv_components[which]
            uv = np.asarray(mesh.texcoords[which], np.float64).reshape(-1, width)[own, :2]
            return _texel(pixels, inside @ uv, _wrapping(material))
        if mesh.colors:
            mean = inside @ np.asarray(mesh.colors[0], np.float64).reshape(-1, 4)[own, :3]
            return np.rint(np.clip(mean, 0.0, 1.0) * 255.0).astype(np.uint8)
        diffuse = np.array(material.get("COLOR_DIFFUSE", (0.6, 0.6, 0.6)))[:3]
        return np.rint(np.clip(diffuse, 0.0, 1.0) * 255.0).astype(np.uint8)

    return Seen(np.concatenate(corners), color)


def by_blender(path: Path) -> Seen:
    """As Blender shows it, in the Python that ``PYTHON_WITH_BPY`` names; its colors are those of a
    picture without light (:mod:`benchmarks.meshes.shown_by_blender`)."""
    python = os.environ.get("PYTHON_WITH_BPY")
    if not python:
        raise ImportError("PYTHON_WITH_BPY names no Python that has bpy")
    script = Path(__file__).with_name("shown_by_blender.py")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, str(script), str(path), folder], capture_output=True, text=True, timeout=300,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, check=False,
        )  # fmt: skip
        if done.returncode < 0:
            os._exit(1)  # as a reader does that takes this process with it
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        corners = np.load(Path(folder) / "corners.npy").astype(np.float64)
        x, y, side = np.load(Path(folder) / "square.npy")
        pixels = np.asarray(Image.open(Path(folder) / "picture.png").convert("RGB"))

    def color(face: int, inside: NDArray[np.float64]) -> NDArray[np.uint8]:
        place = (inside @ corners[face])[:2]
        column, row = (place - (x, y)) / side * (1, -1) + 0.5
        found: NDArray[np.uint8] = pixels[int(row * len(pixels)), int(column * len(pixels))]
        return found

    return Seen(corners, color)


def _texel(
    pixels: NDArray[np.uint8],
    place: NDArray[np.floating],
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat"),
) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = sample(pixels, place[None], wrap)[0]
    return found


def _wrapping(material: dict[str, Any]) -> tuple[Wrap, Wrap]:
    """Assimp's mapping modes, whole numbers that come as the bits of floats."""
    modes: dict[int, Wrap] = {1: "clamp", 2: "mirror"}
    sideways, down = (
        int(np.float32(material.get(f"MAPPINGMODE_{axis}_BASE", 0.0)).view(np.int32))
        for axis in "UV"
    )
    return modes.get(sideways, "repeat"), modes.get(down, "repeat")


READERS: dict[str, Callable[[Path], Seen]] = {
    "ours": ours, "trimesh": by_trimesh, "assimp": by_assimp, "Blender": by_blender
}  # fmt: skip
