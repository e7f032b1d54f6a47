"""Where the object is and how large: factors of the similarity that takes it into the world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.base import Factor, Range, check_range
from datasets3d.views.schema import Column
from renderers.scene import Scene

if TYPE_CHECKING:
    from equivariant.groups import Group

TRANSLATION = ("translation_x", "translation_y", "translation_z")
SCALE = "scale"


@dataclass(frozen=True)
class ObjectTranslation(Factor):
    """The object's origin is drawn from a box; the defaults are 3DIEBench-T's.

    The element of Translation(3) is p itself. The spot still aims at the world's origin.

    Args:
        x: Range of the world's x of the object's origin, in units of the scene, within ±100.
        y: The same of y.
        z: The same of z; the floor is at -1.

    Raises:
        ConventionError: A range is empty or leaves its limits.

    Example:
        >>> ObjectTranslation(z=(0.0, 0.0)).ranges()
        ((-0.5, 0.5), (-0.5, 0.5), (0.0, 0.0))

    Source: EquiCaps, arXiv 2506.09895 (3DIEBench-T: ±0.5 along each axis).
    """

    name: ClassVar[str] = "object translation"
    columns: ClassVar[tuple[Column, ...]] = tuple(
        Column(column, "scene", f"{column[-1]} of the object's origin in the world")
        for column in TRANSLATION
    )
    x: Range = (-0.5, 0.5)
    y: Range = (-0.5, 0.5)
    z: Range = (-0.5, 0.5)

    def __post_init__(self) -> None:
        for axis, span in zip("xyz", self.ranges(), strict=True):
            check_range(f"translation.{axis}", span, -100.0, 100.0)

    def ranges(self) -> tuple[Range, ...]:
        return (self.x, self.y, self.z)

    def change(self, scene: Scene, values: NDArray[np.float64]) -> Scene:
        x, y, z = map(float, values)
        return replace(scene, translation=(x, y, z))

    def group(self) -> Group:
        found: Group = import_module("equivariant.groups").Translation(3)
        return found


@dataclass(frozen=True)
class ObjectScale(Factor):
    """The object's size is drawn, its logarithm uniform; an element of Scaling(3).

    Args:
        factor: Range of the factor of lengths, within [0.01, 100].

    Raises:
        ConventionError: The range is empty or leaves its limits.

    Example:
        >>> float(ObjectScale((2.0, 2.0)).sample(np.random.default_rng(0))[0])
        2.0
    """

    name: ClassVar[str] = "object scale"
    columns: ClassVar[tuple[Column, ...]] = (Column(SCALE, "1", "factor of the object's lengths"),)
    factor: Range = (0.7, 1.3)

    def __post_init__(self) -> None:
        check_range("scale.factor", self.factor, 0.01, 100.0)

    def ranges(self) -> tuple[Range, ...]:
        return (self.factor,)

    def sample(self, random: np.random.Generator) -> NDArray[np.float64]:
        low, high = self.factor
        return np.array([low * (high / low) ** random.random()])

    def change(self, scene: Scene, values: NDArray[np.float64]) -> Scene:
        return replace(scene, scale=float(values[0]))

    def group(self) -> Group:
        found: Group = import_module("equivariant.groups").Scaling(3)
        return found

    def coordinates(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.log(values)
        return found
