"""Scenes of several objects: which objects each has, their joint mesh, and its arrangements."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated.moved_mesh import moved_mesh
from datasets3d.meshes.formats.mesh_warning import warn
from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.meshes.surfaces.pieces import join
from datasets3d.scenes.arrangement_law import ArrangementLaw
from datasets3d.scenes.mesh_pieces import mesh_pieces
from datasets3d.scenes.record import KIND
from datasets3d.views.factors.draws import generator
from datasets3d.views.splits import split_of
from equivariant.errors import ConventionError, DataFormatError
from renderers.scene import Mesh

VERSION = 1  # raise it whenever a draw changes: manifests tell scenes apart by it
OF = "of_"  # before the settings of the source of objects
LABEL = "scene"
MOST = 8  # objects of a scene: one bit of a byte each


@dataclass(frozen=True, eq=False)
class SceneOfObjects:
    """The objects of a scene, each at rest at the origin, as one mesh.

    Args:
        keys: Name of each object, ``<class>/<object id>``; object k is instance k + 1 of masks.
        mesh: All of them.
        face_objects: Object of every face, shape (F,), int64.
        shapes: Vertices of each object.
    """

    keys: tuple[str, ...]
    mesh: Mesh
    face_objects: NDArray[np.int64]
    shapes: tuple[NDArray[np.float64], ...]

    @staticmethod
    def of(keys: tuple[str, ...], meshes: list[Mesh], notes: list[str]) -> SceneOfObjects:
        """Some objects together.

        Args:
            keys: Their names.
            meshes: Their meshes.
            notes: Receives what one mesh of them all cannot show.
        """
        pieces = [mesh_pieces(mesh, str(k)) for k, mesh in enumerate(meshes)]
        joined = join([piece for own in pieces for piece, _ in own], notes)
        normals = np.concatenate([n for own in pieces for _, n in own])
        counts = [sum(len(piece.faces) for piece, _ in own) for own in pieces]
        mesh = Mesh(
            joined.vertices, joined.faces, normals, face_colors=joined.face_colors,
            vertex_colors=joined.vertex_colors, texture=joined.texture,
            corner_uv=joined.corner_uv, face_textured=joined.face_textured,
            corner_tint=joined.corner_tint, texture_tiles=joined.texture_tiles,
            texture_cutout=joined.texture_cutout,
        )  # fmt: skip
        owners = np.repeat(np.arange(len(meshes)), counts)
        shapes = tuple(mesh.vertices[np.unique(mesh.faces)] for mesh in meshes)
        return SceneOfObjects(keys, mesh, owners, shapes)

    def posed(self, poses: NDArray[np.float64]) -> Mesh:
        """The mesh with every object in its pose, in the world.

        Args:
            poses: Similarities, world from object, shape (objects, 4, 4).
        """
        moved = moved_mesh(self.mesh, self.face_objects, poses)
        scales = np.cbrt(np.linalg.det(poses[:, :3, :3]))[self.face_objects]
        normals = moved.corner_normals / scales[:, None, None].astype(np.float32)
        return replace(moved, corner_normals=normals)

    def alone(self, mesh: Mesh, index: int) -> Mesh:
        """One object of a posed mesh, without the others.

        Args:
            mesh: What :meth:`posed` returned.
            index: Which object.
        """
        own = self.face_objects == index
        parts: dict[str, Any] = {
            name: None if getattr(mesh, name) is None else getattr(mesh, name)[own]
            for name in ("face_colors", "corner_uv", "face_textured", "corner_tint")
        }
        return replace(
            mesh, faces=mesh.faces[own], corner_normals=mesh.corner_normals[own], **parts
        )


class SceneMeshes(MeshSource):
    """Scenes of n different objects of another source, ``scene/scene-000000`` and so on.

    Which objects scene i has depends on (seed, i), its split and the list of objects alone. A
    scene has objects of its own split: what validation scenes show, training scenes never do. A
    build with it has views of scenes: every object with a rotation of its own, by the rotation of
    the :class:`~datasets3d.ViewLaw`, and places by the arrangement.

    Args:
        source: Of rigid objects.
        scenes: How many, at least 1.
        objects: Of each scene, 1 to 8.
        arrangement: Law of places and sizes; None takes objects that stand on the floor.
        seed: At least 0.
        val_fraction: Share of the scenes in the validation split, spread evenly, and of the
            objects whose split the source does not state; in [0, 1].

    Raises:
        ConventionError: A setting is out of its range.

    Example:
        >>> from datasets3d import ProceduralMeshes
        >>> source = SceneMeshes(ProceduralMeshes(instances=2), scenes=2, val_fraction=0.0)
        >>> entry = source.entries()[0]
        >>> entry.object_id, len(source.scene(entry).keys)
        ('scene-000000', 3)
    """

    kind: ClassVar[str] = KIND

    def __init__(
        self,
        source: MeshSource,
        *,
        scenes: int,
        objects: int = 3,
        arrangement: ArrangementLaw | None = None,
        seed: int = 0,
        val_fraction: float = 0.2,
    ) -> None:
        for name, value, fine, expected in (
            ("source", source.describe()["source"],
             source.describe()["source"] not in (self.kind, "articulated"), "rigid objects"),
            ("scenes", scenes, scenes >= 1, "at least 1"),
            ("objects", objects, 1 <= objects <= MOST, f"1 to {MOST}"),
            ("seed", seed, seed >= 0, "at least 0"),
            ("val_fraction", val_fraction, 0.0 <= val_fraction <= 1.0, "a share in [0, 1]"),
        ):  # fmt: skip
            if not fine:
                raise ConventionError(
                    expected=expected, got=str(value), argument=name,
                    advice="See the documentation of SceneMeshes.",
                )  # fmt: skip
        self.source, self.scenes, self.objects = source, scenes, objects
        self.arrangement = arrangement or ArrangementLaw()
        self.seed, self.val_fraction = seed, val_fraction
        self._last: tuple[MeshEntry, SceneOfObjects] | None = None

    def entries(self) -> list[MeshEntry]:
        """All scenes.

        Raises:
            DataFormatError: As the source's; or a split has scenes and too few objects.
        """
        found = [self._entry(index) for index in range(self.scenes)]
        for split in sorted({entry.split or "train" for entry in found}):
            if len(self._pools[split]) < self.objects:
                raise DataFormatError(
                    expected=f"at least {self.objects} objects in the split {split!r}",
                    got=str(len(self._pools[split])), argument="source",
                    advice="Take more objects, fewer in a scene, or val_fraction 0.",
                )  # fmt: skip
        return found

    def members(self, entry: MeshEntry) -> list[MeshEntry]:
        """The objects of a scene.

        Raises:
            DataFormatError: The entry is not one of this source.
        """
        number = entry.object_id.rpartition("-")[2]
        index = int(number) if number.isascii() and number.isdigit() else -1
        if not 0 <= index < self.scenes or replace(entry, path="") != self._entry(index, path=""):
            raise DataFormatError(
                expected="an entry of this source", got=f"{entry.label}/{entry.object_id}",
                argument="entry", advice="Take it from entries().",
            )  # fmt: skip
        split = entry.split or "train"
        pool = self._pools[split]
        draws = generator(self.seed, f"scene|{split}", index)
        return [pool[k] for k in draws.choice(len(pool), self.objects, replace=False).tolist()]

    def scene(self, entry: MeshEntry) -> SceneOfObjects:
        """The objects of a scene as one mesh; the last one is kept.

        Raises:
            DataFormatError: The entry is not one of this source, or a mesh cannot be read.
        """
        if self._last is None or self._last[0] != entry:
            members = self.members(entry)
            keys = tuple(f"{one.label}/{one.object_id}" for one in members)
            notes: list[str] = []
            made = SceneOfObjects.of(keys, [self.source.load(one) for one in members], notes)
            warn(notes, entry.path)
            self._last = entry, made
        return self._last[1]

    def load(self, entry: MeshEntry) -> Mesh:
        """All objects of a scene, each at rest at the origin.

        Raises:
            DataFormatError: The entry is not one of this source, or a mesh cannot be read.
        """
        return self.scene(entry).mesh

    def places(
        self, entry: MeshEntry, view: int, rotations: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Place and scale of every object in a view; they depend on (seed, scene, view), the
        arrangement, the rotations and the meshes alone.

        Args:
            entry: The scene.
            view: Index of the view.
            rotations: World from object, shape (objects, 3, 3).

        Returns:
            x, y, z, scale, shape (objects, 4), float64.

        Raises:
            ConventionError: There is no room for the objects.
        """
        draws = generator(self.seed, f"arrangement|{entry.label}/{entry.object_id}", view)
        return self.arrangement.draw(self.scene(entry).shapes, rotations, draws)

    def describe(self) -> dict[str, str | int | float | bool]:
        """Settings, and the source's under names that start with ``of_``."""
        law = self.arrangement
        low, high = law.scales(self.objects)
        return {
            "source": self.kind, "version": VERSION, "instances": self.scenes,
            "objects_per_scene": self.objects, "seed": self.seed,
            "val_fraction": float(self.val_fraction), "placement": law.placement,
            "scale_low": low, "scale_high": high, "spread": law.spread, "height": law.height,
            "rise_low": law.rise[0], "rise_high": law.rise[1],
            **{f"{OF}{name}": value for name, value in self.source.describe().items()},
        }  # fmt: skip

    def ignored(self) -> list[str]:
        """What the source ignores."""
        return self.source.ignored()

    def remarks(self) -> list[str]:
        """The source's."""
        return self.source.remarks()

    def as_recorded(self, settings: Mapping[str, Any]) -> SceneMeshes:
        """Scenes of the source with the names that a set recorded."""
        inner = {n.removeprefix(OF): v for n, v in settings.items() if n.startswith(OF)}
        source = self.source.as_recorded(inner)
        if source is self.source:
            return self
        return SceneMeshes(
            source, scenes=self.scenes, objects=self.objects, arrangement=self.arrangement,
            seed=self.seed, val_fraction=self.val_fraction,
        )  # fmt: skip

    def fingerprint(self, entry: MeshEntry) -> str:
        """Digest of those of the scene's objects; empty where theirs are."""
        own = [self.source.fingerprint(one) for one in self.members(entry)]
        text = " ".join(own).encode()
        return hashlib.blake2b(text, digest_size=16).hexdigest() if any(own) else ""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kept scene behind, so that copies stay small."""
        return {**self.__dict__, "_last": None}

    @cached_property
    def _pools(self) -> dict[str, list[MeshEntry]]:
        found: dict[str, list[MeshEntry]] = {"train": [], "val": []}
        for entry in sorted(self.source.entries()):
            split = split_of(entry, val_fraction=self.val_fraction, seed=self.seed)
            found[split].append(entry)
        return found

    def _entry(self, index: int, *, path: str | None = None) -> MeshEntry:
        held_out = int((index + 1) * self.val_fraction) > int(index * self.val_fraction)
        name = f"{LABEL}-{index:06d}"
        made = f"{self.kind}:{self.seed}:{index}" if path is None else path
        return MeshEntry(LABEL, name, "val" if held_out else "train", made)
