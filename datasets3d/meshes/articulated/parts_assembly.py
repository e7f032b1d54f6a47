"""Puts together objects of rigid parts: the solids of each part, and the joints between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated.mechanism import Joint, JointKind, Mechanism
from datasets3d.meshes.solids import Assembly, Point
from equivariant.errors import ConventionError


class PartsAssembly(Assembly):
    """An assembly whose solids belong to parts: those added after ``base``, ``hinge`` or
    ``slide`` are of the part that it names.

    Args:
        generator: Where proportions are drawn from.
        palette: Colors to choose from by number, shape (K, 3), uint8.

    Example:
        >>> whole = PartsAssembly(np.random.default_rng(0), np.zeros((8, 3), np.uint8))
        >>> whole.base("box")
        >>> whole.box(0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> whole.hinge("lid", on="box", point=(-0.5, 0.0, 0.5), axis=(0.0, -1.0, 0.0), high=2.0)
        >>> whole.box(1, (0.0, 0.0, 0.55), (1.0, 1.0, 0.1))
        >>> whole.face_parts.tolist() == [0] * 12 + [1] * 12
        True
    """

    def __init__(self, generator: np.random.Generator, palette: NDArray[np.uint8]) -> None:
        super().__init__(generator, palette)
        self._names: list[str] = []
        self._joints: list[Joint] = []
        self._of_solid: list[tuple[int, int]] = []

    def base(self, name: str) -> None:
        """Begin the part that no joint moves."""
        self._names.append(name)

    def hinge(
        self, name: str, *, on: str, point: Point, axis: Point, low: float = 0.0, high: float
    ) -> None:
        """Begin a part that turns about an axis, counter-clockwise; limits in radians."""
        self._join("hinge", name, on, point, axis, (low, high))

    def slide(self, name: str, *, on: str, axis: Point, low: float = 0.0, high: float) -> None:
        """Begin a part that moves along an axis; limits in the unit of the sizes."""
        self._join("slide", name, on, (0.0, 0.0, 0.0), axis, (low, high))

    def mechanism(self) -> Mechanism:
        """The parts and joints so far."""
        return Mechanism(tuple(self._names), tuple(self._joints))

    @property
    def face_parts(self) -> NDArray[np.int64]:
        """Part of every face, in the order of ``triangles()``, shape (F,)."""
        return np.repeat(*np.array(self._of_solid, np.int64).T)

    @property
    def face_solids(self) -> NDArray[np.int64]:
        """Number of the closed solid of every face, shape (F,)."""
        return np.repeat(np.arange(len(self._of_solid)), [count for _, count in self._of_solid])

    def _join(
        self, kind: JointKind, name: str, on: str, point: Point, axis: Point,
        limits: tuple[float, float],
    ) -> None:  # fmt: skip
        if on not in self._names or name in self._names or not limits[0] <= 0.0 <= limits[1]:
            raise ConventionError(
                expected="a new name, a part that is there, and limits about 0, which is at rest",
                got=f"{name!r} on {on!r}, limits {limits}",
                argument="on", advice=f"There are {', '.join(self._names)}.",
            )  # fmt: skip
        length = float(np.linalg.norm(axis))
        x, y, z = (float(component) / length for component in axis)
        self._joints.append(
            Joint(name, kind, self._names.index(on), len(self._names), point, (x, y, z), *limits)
        )
        self._names.append(name)

    def _add(self, color: int, vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> None:
        super()._add(color, vertices, faces)
        self._of_solid.append((len(self._names) - 1, len(faces)))
