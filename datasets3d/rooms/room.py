"""Rooms: a floor with furniture on it that was moved about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated import moved_mesh
from datasets3d.meshes.procedural import palette
from datasets3d.meshes.source import MeshSource
from datasets3d.rooms.arrangement import arrange
from datasets3d.rooms.furniture import FurnitureMeshes
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError
from renderers.scene import Mesh

FLOOR_COLOR = (150, 140, 130)


@dataclass(frozen=True, eq=False)
class Room:
    """A floor and the objects that stand on it. Part 0 is the floor, part k + 1 object k.

    Args:
        name: Of the room; draws of arrangements depend on it.
        size_m: Extents of the floor along x and y, metres.
        meshes: Objects in coordinates of their own, metres: standing on z = 0, the middle of
            their bounding box over the origin.
        object_names: What the objects are.
        seed: Of the arrangements, at least 0.
    """

    name: str
    size_m: tuple[float, float]
    meshes: tuple[Mesh, ...]
    object_names: tuple[str, ...]
    seed: int

    @property
    def part_names(self) -> tuple[str, ...]:
        """ "floor", then the objects."""
        return ("floor", *self.object_names)

    @cached_property
    def half_sizes(self) -> NDArray[np.float64]:
        """Half the extents of each object's bounding box along x and y, shape (objects, 2)."""
        return np.stack([mesh.vertices[:, :2].max(0) for mesh in self.meshes])

    def arrangement(self, draw: int) -> NDArray[np.float64]:
        """Places and turns of all objects, such that bounding boxes do not overlap.

        Args:
            draw: Which draw, at least 0; it depends on (seed, the room's name, draw) alone.

        Returns:
            x, y in metres and the turn about z in radians, shape (objects, 3).

        Raises:
            ConventionError: The draw is negative, or the objects do not fit.
        """
        if draw < 0:
            raise ConventionError(
                expected="at least 0", got=str(draw), argument="draw",
                advice="Number arrangements from 0.",
            )  # fmt: skip
        draws = generator(self.seed, f"arrangement|{self.name}", draw)
        floor = (self.size_m[0] / 2.0, self.size_m[1] / 2.0)
        return arrange(self.half_sizes, floor, generator=draws)

    def elements(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Elements of SE3 that take the floor, which stays, and every object to its place.

        Args:
            places: x, y and turn of every object, shape (objects, 3).

        Returns:
            Shape (objects + 1, 4, 4), float64: planar motions.
        """
        found = np.tile(np.eye(4), (len(self.meshes) + 1, 1, 1))
        cosine, sine = np.cos(places[:, 2]), np.sin(places[:, 2])
        found[1:, 0, 0], found[1:, 0, 1] = cosine, -sine
        found[1:, 1, 0], found[1:, 1, 1] = sine, cosine
        found[1:, :2, 3] = places[:, :2]
        return found

    @cached_property
    def surface(self) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int64]]:
        """Triangles of floor and objects in coordinates of their own: vertices (V, 3) in metres,
        faces (F, 3), and the part of every face (F,)."""
        x, y = self.size_m[0] / 2.0, self.size_m[1] / 2.0
        vertices = [np.array([[-x, -y, 0.0], [x, -y, 0.0], [x, y, 0.0], [-x, y, 0.0]])]
        faces, parts = [np.array([[0, 1, 2], [0, 2, 3]], np.int32)], [np.zeros(2, np.int64)]
        for k, mesh in enumerate(self.meshes):
            start = np.int32(sum(map(len, vertices)))
            vertices.append(mesh.vertices)
            faces.append(mesh.faces + start)
            parts.append(np.full(len(mesh.faces), k + 1, np.int64))
        return np.concatenate(vertices), np.concatenate(faces), np.concatenate(parts)

    def mesh(self, places: NDArray[np.float64]) -> Mesh:
        """The furnished room as one mesh; faces are in the order of ``surface``.

        Args:
            places: x, y and turn of every object, shape (objects, 3).
        """
        vertices, faces, parts = self.surface
        up = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (2, 3, 1))
        floor = np.tile(np.array(FLOOR_COLOR, np.uint8), (2, 1))
        still = Mesh(
            vertices=vertices,
            faces=faces,
            corner_normals=np.concatenate((up, *(mesh.corner_normals for mesh in self.meshes))),
            face_colors=np.concatenate((floor, *(_colors(mesh) for mesh in self.meshes))),
        )
        return moved_mesh(still, parts, self.elements(places))


def make_rooms(
    count: int,
    *,
    source: MeshSource | None = None,
    objects: tuple[int, int] = (4, 8),
    size_m: tuple[float, float] = (4.5, 6.0),
    object_size_m: tuple[float, float] = (0.8, 1.8),
    seed: int = 0,
) -> list[Room]:
    """Furnish some rooms.

    Args:
        count: Rooms, at least 1; room k depends on (seed, k) and the source alone.
        source: Where furniture comes from: any meshes that stand upright, for example
            ``MeshFolder(path)``; None makes :class:`FurnitureMeshes`, four of each kind. Objects
            of one room differ while there are enough.
        objects: Smallest and largest number of objects of a room.
        size_m: Smallest and largest extent of the floor along x and along y, metres.
        object_size_m: Smallest and largest diagonal of an object's bounding box, metres.
        seed: At least 0.

    Raises:
        ConventionError: A setting is out of its range.
        DataFormatError: The source is empty, or one of its meshes cannot be read.

    Example:
        >>> room = make_rooms(1, objects=(3, 3))[0]
        >>> len(room.part_names), room.elements(room.arrangement(0)).shape
        (4, (4, 4, 4))
    """
    source = FurnitureMeshes(instances=4, val_fraction=0.0) if source is None else source
    ranges = {"objects": objects, "size_m": size_m, "object_size_m": object_size_m}
    for name, (low, high) in ranges.items():
        if not 0.0 < low <= high < 1000.0:
            raise ConventionError(
                expected="0 < smallest <= largest", got=f"{low}, {high}", argument=name,
                advice="See the documentation of make_rooms.",
            )  # fmt: skip
    if count < 1 or seed < 0:
        raise ConventionError(
            expected="at least 1 room and a seed of at least 0", got=f"{count} and {seed}",
            argument="count", advice="Number rooms from 0.",
        )  # fmt: skip
    entries = source.entries()
    rooms = []
    for k in range(count):
        draws = generator(seed, "room", k)
        number = int(draws.integers(objects[0], objects[1] + 1))
        order = draws.permutation(len(entries))
        chosen = [entries[order[i % len(entries)]] for i in range(number)]
        meshes = []
        for entry in chosen:
            diagonal = object_size_m[0] + draws.random() * (object_size_m[1] - object_size_m[0])
            meshes.append(_standing(source.load(entry), diagonal, draws))
        floor = size_m[0] + draws.random(2) * (size_m[1] - size_m[0])
        names = tuple(f"{entry.label} {i + 1}" for i, entry in enumerate(chosen))
        size = (float(floor[0]), float(floor[1]))
        rooms.append(Room(f"room {k}", size, tuple(meshes), names, seed))
    return rooms


def _standing(mesh: Mesh, diagonal: float, draws: np.random.Generator) -> Mesh:
    """A normalized mesh, as large as asked for, on the floor, with one color per face."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    base = np.array([*(low + high)[:2] / 2.0, low[2]])
    scale = diagonal / float(np.linalg.norm(high - low))
    color = palette(draws)[:1]
    face_colors = mesh.face_colors
    if face_colors is None or mesh.texture is not None:
        face_colors = np.repeat(color, len(mesh.faces), 0)
    return replace(
        mesh, vertices=(mesh.vertices - base) * scale, face_colors=face_colors,
        vertex_colors=None, texture=None, corner_uv=None, face_textured=None,
        corner_tint=None, texture_tiles=None, texture_cutout=None,
    )  # fmt: skip


def _colors(mesh: Mesh) -> NDArray[np.uint8]:
    """The color of every face; grey where a mesh has none of that kind."""
    if mesh.face_colors is None:
        return np.full((len(mesh.faces), 3), 178, np.uint8)
    return mesh.face_colors
