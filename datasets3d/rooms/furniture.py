"""Furniture without files: eight kinds, any number of instances of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from datasets3d.meshes.normalize import normalize
from datasets3d.meshes.procedural import CREASE_RAD, palette
from datasets3d.meshes.solids import Assembly
from datasets3d.meshes.source import MeshEntry, NumberedMeshes
from renderers.scene import Mesh

VERSION = 1  # raise it whenever a design or a draw changes


class FurnitureMeshes(NumberedMeshes):
    """Armchair, bed, box, cabinet, corner sofa, drum, shelf and table, of drawn proportions.

    Args:
        instances: Objects per class, at least 1.
        classes: Which kinds, from ``FurnitureMeshes.all_classes()``; None takes all.
        seed: At least 0.
        val_fraction: Share of the instances in the validation split, in [0, 1].

    Raises:
        ConventionError: A setting is out of its range or a class is unknown.

    Example:
        >>> source = FurnitureMeshes(instances=1, classes=["table", "bed"])
        >>> [entry.label for entry in source.entries()]
        ['bed', 'table']
    """

    kind: ClassVar[str] = "furniture"
    version: ClassVar[int] = VERSION

    @classmethod
    def all_classes(cls) -> list[str]:
        """Names of every kind there is, sorted.

        Example:
            >>> len(FurnitureMeshes.all_classes())
            8
        """
        return sorted(_DESIGNS)

    def load(self, entry: MeshEntry) -> Mesh:
        """Put the object together, normalized.

        Raises:
            DataFormatError: The entry is not one of this source.
        """
        generator = self._draws(entry)
        assembly = Assembly(generator, palette(generator))
        _DESIGNS[entry.label](assembly)
        return normalize(assembly.triangles(), name=entry.path, up="z", crease_rad=CREASE_RAD)


def _table(a: Assembly) -> None:
    """A top on four legs, with a drawer under one end."""
    deep, wide, tall = a.draw(0.6, 0.9), a.draw(1.0, 1.6), a.draw(0.65, 0.8)
    a.box(0, (0.0, 0.0, tall), (deep, wide, 0.06))
    for x in (-1.0, 1.0):
        for y in (-1.0, 1.0):
            a.rod(1, (0.42 * x * deep, 0.44 * y * wide, 0.0), (0.42 * x * deep, 0.44 * y * wide,
                  tall), radius=0.035)  # fmt: skip
    a.box(2, (0.0, 0.25 * wide, tall - 0.1), (0.8 * deep, 0.3 * wide, 0.14))


def _armchair(a: Assembly) -> None:
    """A seat with a back, a high left and a low right arm."""
    deep, wide = a.draw(0.6, 0.75), a.draw(0.55, 0.7)
    a.box(0, (0.0, 0.0, 0.22), (deep, wide, 0.44))
    a.box(1, (-deep / 2, 0.0, 0.5), (0.16, wide, a.draw(0.9, 1.1)), taper=(0.7, 0.95))
    a.box(2, (0.0, wide / 2, 0.36), (deep, 0.12, 0.72))
    a.box(2, (0.0, -wide / 2, 0.3), (deep, 0.12, 0.56))


def _bed(a: Assembly) -> None:
    """A mattress in a frame, a head board, two pillows of different sizes."""
    long, wide = a.draw(1.8, 2.1), a.draw(0.9, 1.5)
    a.box(0, (0.0, 0.0, 0.15), (long, wide, 0.3))
    a.box(1, (0.02, 0.0, 0.36), (0.94 * long, 0.94 * wide, 0.16))
    a.box(0, (-long / 2, 0.0, 0.4), (0.08, wide, a.draw(0.7, 0.9)))
    a.ball(2, (-0.38 * long, 0.22 * wide, 0.48), (0.4, 0.42 * wide, 0.14))
    a.ball(2, (-0.38 * long, -0.25 * wide, 0.47), (0.32, 0.34 * wide, 0.12))


def _cabinet(a: Assembly) -> None:
    """A closed cabinet on a plinth, two doors with knobs, one door wider."""
    deep, wide, tall = a.draw(0.4, 0.55), a.draw(0.7, 1.1), a.draw(0.9, 1.5)
    share = a.draw(0.3, 0.42)
    a.box(0, (0.0, 0.0, tall / 2 + 0.06), (deep, wide, tall))
    a.box(1, (0.0, 0.0, 0.03), (0.9 * deep, 0.92 * wide, 0.06))
    border = (0.5 - share) * wide
    for low, high, side in ((-wide / 2, border, -1.0), (border, wide / 2, 1.0)):
        middle, breadth = (low + high) / 2, high - low
        a.box(2, (deep / 2, middle, tall / 2 + 0.06), (0.04, 0.94 * breadth, 0.92 * tall))
        a.ball(3, (deep / 2 + 0.03, border + 0.06 * side, 0.55 * tall), (0.06, 0.06, 0.06))


def _corner_sofa(a: Assembly) -> None:
    """A long and a short seat that make an L, with backs."""
    long, short, deep = a.draw(1.6, 2.1), a.draw(0.7, 1.1), a.draw(0.6, 0.75)
    a.box(0, (0.0, 0.0, 0.2), (deep, long, 0.4))
    a.box(0, (deep / 2 + short / 2, long / 2 - deep / 2, 0.2), (short, deep, 0.4))
    a.box(1, (-deep / 2, 0.0, 0.4), (0.16, long, 0.8))
    a.box(1, (short / 2, long / 2, 0.38), (deep + short, 0.16, 0.76))
    a.box(2, (0.05, -0.3 * long, 0.46), (0.4, 0.4, 0.14))


def _shelf(a: Assembly) -> None:
    """Boards between two sides, and a block that stands on one of them."""
    deep, wide, tall = a.draw(0.28, 0.4), a.draw(0.7, 1.0), a.draw(1.2, 1.8)
    for side in (-1.0, 1.0):
        a.box(0, (0.0, side * wide / 2, tall / 2), (deep, 0.04, tall))
    count = 4
    for k in range(count + 1):
        a.box(1, (0.0, 0.0, 0.04 + k * (tall - 0.06) / count), (deep, wide, 0.04))
    a.box(2, (0.0, 0.2 * wide, 0.04 + 0.12 + (tall - 0.06) / count), (0.7 * deep, 0.35 * wide, 0.2))
    a.box(0, (-deep / 2, 0.0, tall / 2), (0.02, wide, tall))


def _box(a: Assembly) -> None:
    """A box with a strip across its top and a label on its front."""
    deep, wide, tall = a.draw(0.4, 0.8), a.draw(0.5, 0.9), a.draw(0.4, 0.8)
    a.box(0, (0.0, 0.0, tall / 2), (deep, wide, tall))
    a.box(1, (0.0, 0.15 * wide, tall), (deep, 0.12, 0.02))
    a.box(2, (deep / 2, -0.2 * wide, 0.6 * tall), (0.02, 0.3 * wide, 0.3 * tall))


def _drum(a: Assembly) -> None:
    """A cylinder on three feet with a tap."""
    radius, tall = a.draw(0.25, 0.4), a.draw(0.6, 0.9)
    a.rod(0, (0.0, 0.0, 0.1), (0.0, 0.0, tall), radius=radius)
    a.rod(
        1, (0.0, 0.0, tall), (0.0, 0.0, tall + 0.08), radius=0.8 * radius, end_radius=0.4 * radius
    )
    for x, y in ((0.7, 0.0), (-0.4, 0.6), (-0.4, -0.6)):
        a.rod(1, (x * radius, y * radius, 0.0), (x * radius, y * radius, 0.12), radius=0.05)
    a.rod(2, (radius - 0.02, 0.0, 0.3), (radius + 0.14, 0.0, 0.3), radius=0.035)


_DESIGNS: Mapping[str, Callable[[Assembly], None]] = {
    "armchair": _armchair, "bed": _bed, "box": _box, "cabinet": _cabinet,
    "corner_sofa": _corner_sofa, "drum": _drum, "shelf": _shelf, "table": _table,
}  # fmt: skip
