"""The surfaces of a glTF document's default scene, each moved to its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.formats.gltf.document import Document, Json, Read
from datasets3d.meshes.formats.gltf.materials import TRANSPARENT, Look, Materials
from datasets3d.meshes.formats.gltf.placement import instances, local_matrix, skin_matrices
from datasets3d.meshes.surfaces.pictures import to_srgb
from datasets3d.meshes.surfaces.pieces import SurfacePiece

TRIANGLES, STRIP, FAN = 4, 5, 6
MOST_TRIANGLES: Final = 2**25  # of a scene whose meshes are repeated
FAR: Final = 2.0**20  # texture coordinates beyond it are no places on a picture


def read_gltf(data: bytes, read: Read, notes: list[str]) -> list[SurfacePiece]:
    """The triangles of the default scene, one piece per primitive and place.

    Read are accessors of every kind (normalized, sparse, strided, Draco), lists, strips and fans,
    node transforms, EXT_mesh_gpu_instancing, skins and morph weights at rest, base colors of
    metallic-roughness and specular-glossiness materials with transformed coordinates of any
    number, wrapping, COLOR_0, and the holes that alpha leaves. Not read, and noted: what is partly
    transparent, emitted light, lines, points.

    Args:
        data: Contents of a glTF or GLB file.
        read: Gives the contents of a file that it names; raises OSError where there is none.
        notes: Receives what is not shown.

    Raises:
        ValueError: It is not a glTF file, is damaged, or requires what is not read; says which.
            Malformed JSON may raise KeyError, TypeError or IndexError too.

    Example:
        >>> read_gltf(b'{"asset": {"version": "2.0"}}', lambda name: b"", [])
        []
    """
    scene = _Scene(Document(data, read), notes)
    return list(scene.pieces())


class _Scene:
    def __init__(self, document: Document, notes: list[str]) -> None:
        self.document, self.notes = document, notes
        self.materials = Materials(document, notes)
        self.matrices: dict[int, NDArray[np.float64]] = {}
        self.triangles = 0

    def pieces(self) -> Iterator[SurfacePiece]:
        """All surfaces, in the order of the nodes from the roots."""
        nodes = list(self._placed(self._roots()))  # skins need the places of all joints
        for number in nodes:
            node = self.document.entry("nodes", number)
            if "mesh" not in node:
                continue
            mesh = self.document.entry("meshes", node["mesh"])
            weights = node.get("weights", mesh.get("weights", ()))
            joints = None
            if "skin" in node:
                joints = skin_matrices(self.document, node["skin"], self.matrices)
            for place in instances(self.document, node):
                matrix = np.eye(4) if joints is not None else self.matrices[number] @ place
                for primitive in mesh["primitives"]:
                    piece = self._piece(primitive, weights, joints)
                    if piece is not None:
                        yield _moved(piece, matrix)

    def _roots(self) -> list[int]:
        scenes = self.document.json.get("scenes")
        if scenes:
            found = self.document.entry("scenes", self.document.json.get("scene", 0))
            return list(found.get("nodes", []))
        nodes = self.document.json.get("nodes", [])
        children = {child for node in nodes for child in node.get("children", [])}
        return [number for number in range(len(nodes)) if number not in children]

    def _placed(self, roots: list[int]) -> Iterator[int]:
        """Numbers of all nodes below, their matrices noted, parents first."""
        left = [(root, np.eye(4)) for root in reversed(roots)]
        while left:
            number, above = left.pop()
            if number in self.matrices:
                raise ValueError(f"node {number} has two parents or is above itself")
            node = self.document.entry("nodes", number)
            self.matrices[number] = above @ local_matrix(node)
            yield number
            left += [(c, self.matrices[number]) for c in reversed(node.get("children", []))]

    def _piece(
        self, primitive: Json, weights: Any, joints: NDArray[np.float64] | None
    ) -> SurfacePiece | None:
        mode = primitive.get("mode", TRIANGLES)
        if mode not in (TRIANGLES, STRIP, FAN):
            self._note("lines and points are left out")
            return None
        numbers, order = self._attributes(primitive)
        if "POSITION" not in numbers:
            return None
        points = self._shape(numbers, primitive, weights, joints)
        if order is None:
            order = np.arange(len(points))
        faces = _triangles(order, mode)
        if len(faces) and not 0 <= faces.min() <= faces.max() < len(points):
            raise ValueError("a face names a vertex that is not there")
        self.triangles += len(faces)
        if self.triangles > MOST_TRIANGLES:
            raise ValueError(f"more than {MOST_TRIANGLES:,} triangles")
        if not len(faces):
            return None
        return self._colored(points, faces, numbers, primitive)

    def _attributes(
        self, primitive: Json
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64] | None]:
        """Numbers of the attributes that are read, and the order of the vertices if it is given."""
        draco = primitive.get("extensions", {}).get("KHR_draco_mesh_compression")
        wanted = {
            name: number for name, number in primitive["attributes"].items()
            if name.startswith(("POSITION", "TEXCOORD_", "COLOR_0", "JOINTS_", "WEIGHTS_"))
        }  # fmt: skip
        if draco is not None:
            return _from_draco(self.document.view(draco["bufferView"]), draco["attributes"])
        order = None
        if "indices" in primitive:
            order = self.document.numbers(primitive["indices"])[:, 0].astype(np.int64)
        return {name: self.document.numbers(number) for name, number in wanted.items()}, order

    def _shape(
        self,
        numbers: dict[str, NDArray[Any]],
        primitive: Json,
        weights: Any,
        joints: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:
        points = numbers["POSITION"].astype(np.float64)
        if points.shape[1] != 3:
            raise ValueError("positions that are not three numbers")
        for weight, target in zip(weights, primitive.get("targets", ()), strict=False):
            if weight and "POSITION" in target:
                points = points + float(weight) * self.document.numbers(target["POSITION"])
        if joints is None:
            return points
        moved = np.zeros_like(points)
        total = np.zeros((len(points), 1))
        sets = [name[8:] for name in numbers if name.startswith("WEIGHTS_")]
        for which in sets:
            share = numbers[f"WEIGHTS_{which}"].astype(np.float64)
            own = numbers[f"JOINTS_{which}"].astype(np.int64)
            for column in range(own.shape[1]):
                matrices = joints[own[:, column]]
                there = np.einsum("nij,nj->ni", matrices[:, :3, :3], points) + matrices[:, :3, 3]
                moved += share[:, column, None] * there
                total += share[:, column, None]
        return np.where(total > 0.0, moved / np.where(total > 0.0, total, 1.0), points)

    def _colored(
        self,
        points: NDArray[np.float64],
        faces: NDArray[np.int64],
        numbers: dict[str, NDArray[Any]],
        primitive: Json,
    ) -> SurfacePiece | None:
        known = "material" in primitive
        look = self.materials.look(primitive["material"]) if known else Look(np.ones(3))
        if look.invisible:
            self._note("an invisible surface is left out")
            return None
        tint = self._tint(numbers.get("COLOR_0"), len(points), look)
        bare = SurfacePiece(points, faces.astype(np.int32))
        if look.image is not None:
            uv = self._places(numbers, look, len(points))
            if uv is not None:
                return replace(
                    bare, image=look.image, image_key=look.image_key, uv=uv, wrap=look.wrap,
                    tint=tint,
                )  # fmt: skip
            mean = look.image[..., :3].reshape(-1, 3).mean(0)
            return replace(bare, face_colors=_all(len(faces), np.rint(mean)))
        if tint is not None:
            return replace(bare, vertex_colors=to_srgb(tint * look.factor))
        return replace(bare, face_colors=_all(len(faces), to_srgb(look.factor))) if known else bare

    def _places(
        self, numbers: dict[str, NDArray[Any]], look: Look, count: int
    ) -> NDArray[np.float32] | None:
        """Texture coordinates with their origin at the lower left; None where there are none."""
        found = numbers.get(f"TEXCOORD_{look.coordinates}")
        if found is None or found.shape != (count, 2):
            self._note("a texture without coordinates: its mean color is shown")
            return None
        uv = found.astype(np.float64)
        if look.transform is not None:
            uv = uv @ look.transform[:2, :2].T + look.transform[:2, 2]
        if not np.isfinite(uv).all() or np.abs(uv).max(initial=0.0) > FAR:
            self._note("texture coordinates that are no places on a picture count as 0")
            uv = np.where(np.isfinite(uv) & (np.abs(uv) <= FAR), uv, 0.0)
        return np.stack([uv[:, 0], 1.0 - uv[:, 1]], 1).astype(np.float32)

    def _tint(
        self, colors: NDArray[Any] | None, count: int, look: Look
    ) -> NDArray[np.float64] | None:
        """COLOR_0, linear, in [0, 1]; None where it is missing or all white."""
        if colors is None:
            return None
        if len(colors) != count or colors.shape[1] not in (3, 4):
            raise ValueError("colors that are not three or four numbers per vertex")
        values = colors.astype(np.float64)
        if colors.dtype.kind in "iu":  # of integers that forget to say that they are normalized
            values /= np.iinfo(colors.dtype).max
        values = np.clip(np.nan_to_num(values), 0.0, 1.0)
        if look.blends and values.shape[1] == 4 and values[:, 3].min(initial=1.0) < 1.0:
            self._note(TRANSPARENT)
        return None if np.all(values[:, :3] == 1.0) else values[:, :3]

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _triangles(order: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    if mode == TRIANGLES:
        if len(order) % 3:
            raise ValueError(f"{len(order)} corners, which are no triangles")
        return order.reshape(-1, 3)
    places = np.arange(max(len(order) - 2, 0))
    if mode == FAN:
        corners = np.stack([np.zeros_like(places), places + 1, places + 2], 1)
    else:  # every second triangle of a strip is the other way round
        odd = places % 2
        corners = np.stack([places, places + 1 + odd, places + 2 - odd], 1)
    found: NDArray[np.int64] = order[corners]
    return found


def _moved(piece: SurfacePiece, matrix: NDArray[np.float64]) -> SurfacePiece:
    """The piece in the scene's coordinates, with the outside outside."""
    vertices = piece.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    faces = piece.faces
    if np.linalg.det(matrix[:3, :3]) < 0.0:
        faces = faces[:, ::-1]
    return replace(piece, vertices=vertices, faces=np.ascontiguousarray(faces))


def _from_draco(
    data: bytes, names: dict[str, int]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    import DracoPy  # noqa: PLC0415 (optional decoder; its absence is refused before)

    mesh = DracoPy.decode(data)
    known = {number: name for name, number in names.items()}
    found = {
        known[attribute["unique_id"]]: np.asarray(attribute["data"])
        for attribute in mesh.attributes if attribute["unique_id"] in known
    }  # fmt: skip
    return found, np.asarray(mesh.faces, np.int64).reshape(-1)


def _all(count: int, color: NDArray[Any]) -> NDArray[np.uint8]:
    return np.tile(color.astype(np.uint8), (count, 1))
