"""Objects of rigid parts without files: ten kinds, any number of instances of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated.articulated_object import ArticulatedObject
from datasets3d.meshes.articulated.furniture import chest, door, drawer, laptop, scissors
from datasets3d.meshes.articulated.joint_law import JointLaw
from datasets3d.meshes.articulated.machines import (
    excavator,
    gripper,
    lamp_arm,
    robot_arm,
    wheel,
)
from datasets3d.meshes.articulated.mechanism import Joint, Mechanism
from datasets3d.meshes.articulated.parts_assembly import PartsAssembly
from datasets3d.meshes.normalize import normalize
from datasets3d.meshes.procedural import CREASE_RAD, palette
from datasets3d.meshes.source import MeshEntry, NumberedMeshes
from equivariant.errors import ConventionError, DataFormatError
from renderers.scene import Mesh

VERSION = 1  # raise it whenever a design or a draw changes: manifests tell meshes apart by it

_DESIGNS: Mapping[str, Callable[[PartsAssembly], None]] = {
    design.__name__: design
    for design in (
        chest, door, drawer, excavator, gripper, lamp_arm, laptop, robot_arm, scissors, wheel,
    )
}  # fmt: skip


class ArticulatedMeshes(NumberedMeshes):
    """Objects with hinges and slides: their parts, joints and states are known exactly.

    Instance i of class c is drawn from a counter-based generator keyed by (seed, c, i) alone; state
    k of it by (seed, c, i, k) and the law. Every part is made of closed solids.

    Args:
        instances: Objects per class, at least 1.
        classes: Which kinds, from ``ArticulatedMeshes.all_classes()``; None takes all.
        seed: At least 0.
        val_fraction: Share of the instances in the validation split, in [0, 1].
        law: Of the states of joints.

    Raises:
        ConventionError: A setting is out of its range or a class is unknown.

    Example:
        >>> source = ArticulatedMeshes(instances=2, classes=["laptop", "drawer"])
        >>> entry = source.entries()[0]
        >>> thing = source.object(entry)
        >>> entry.object_id, thing.part_names
        ('drawer-000000', ('carcass', 'drawer 1', 'drawer 2', 'drawer 3'))
        >>> a, b = source.state(entry, 0), source.state(entry, 1)
        >>> a.shape, thing.transform(a, b).shape
        ((3,), (16, 16))
    """

    kind: ClassVar[str] = "articulated"
    version: ClassVar[int] = VERSION

    def __init__(
        self,
        *,
        instances: int,
        classes: Sequence[str] | None = None,
        seed: int = 0,
        val_fraction: float = 0.2,
        law: JointLaw | None = None,
    ) -> None:
        super().__init__(instances=instances, classes=classes, seed=seed, val_fraction=val_fraction)
        self.law = JointLaw() if law is None else law
        self._last: tuple[MeshEntry, ArticulatedObject] | None = None

    @classmethod
    def all_classes(cls) -> list[str]:
        """Names of every kind there is, sorted.

        Example:
            >>> len(ArticulatedMeshes.all_classes())
            10
        """
        return sorted(_DESIGNS)

    def load(self, entry: MeshEntry) -> Mesh:
        """The object at rest, normalized.

        Raises:
            DataFormatError: The entry is not one of this source.
        """
        return self.object(entry).mesh

    def object(self, entry: MeshEntry) -> ArticulatedObject:
        """The object with its parts and joints; its mesh is at rest and normalized.

        The last one is kept for the next call.

        Raises:
            DataFormatError: The entry is not one of this source.
        """
        if self._last is None or self._last[0] != entry:
            self._last = entry, self._made(entry)
        return self._last[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kept object behind, so that copies stay small."""
        return {**self.__dict__, "_last": None}

    def state(self, entry: MeshEntry, draw: int) -> NDArray[np.float64]:
        """One of the object's states, drawn by the law.

        Args:
            entry: Which object.
            draw: Which draw, at least 0; it depends on (seed, class, instance, draw) and the law
                alone.

        Returns:
            Radians of hinges, lengths of slides in the unit of the mesh, shape (joints,), float64.

        Raises:
            DataFormatError: The entry is not one of this source.
            ConventionError: The draw is negative.
        """
        if draw < 0:
            raise ConventionError(
                expected="at least 0", got=str(draw), argument="draw",
                advice="Number the states of an object from 0.",
            )  # fmt: skip
        return self.law.draw(self.object(entry).mechanism, self._draws(entry, 1, draw))

    @cached_property
    def joint_count(self) -> int:
        """The largest number of joints of an object of this source."""
        first = [self._entry(label, 0) for label in self._classes]
        return max(len(self._made(entry).mechanism.joints) for entry in first)

    def describe(self) -> dict[str, str | int | float | bool]:
        """Settings that determine the meshes and the states."""
        return {
            **super().describe(),
            "joints": self.joint_count,
            "from_share": float(self.law.from_share),
            "to_share": float(self.law.to_share),
        }

    def _made(self, entry: MeshEntry) -> ArticulatedObject:
        """Put an object together."""
        generator = self._draws(entry)
        assembly = PartsAssembly(generator, palette(generator))
        _DESIGNS[entry.label](assembly)
        triangles = assembly.triangles()
        mesh = normalize(triangles, name=entry.path, up="z", crease_rad=CREASE_RAD)
        if len(mesh.faces) != len(triangles.faces):
            raise DataFormatError(
                expected="solids whose faces all have an area",
                got=f"{len(triangles.faces) - len(mesh.faces)} without",
                argument=entry.path, advice="Repair the design.",
            )  # fmt: skip
        low, high = triangles.vertices.min(0), triangles.vertices.max(0)
        mechanism = _placed(
            assembly.mechanism(), (low + high) / 2.0, float(np.linalg.norm(high - low))
        )
        return ArticulatedObject(mesh, assembly.face_parts, assembly.face_solids, mechanism)


def _placed(mechanism: Mechanism, center: NDArray[np.float64], size: float) -> Mechanism:
    """The joints after x ↦ (x - center) / size."""

    def moved(joint: Joint) -> Joint:
        x, y, z = ((np.array(joint.point) - center) / size).tolist()
        scale = 1.0 / size if joint.kind == "slide" else 1.0
        return replace(joint, point=(x, y, z), low=joint.low * scale, high=joint.high * scale)

    return Mechanism(mechanism.part_names, tuple(moved(joint) for joint in mechanism.joints))
