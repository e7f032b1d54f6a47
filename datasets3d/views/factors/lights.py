"""How bright the spot is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.base import Factor, Range, check_range
from datasets3d.views.schema import Column
from equivariant.errors import ConventionError
from renderers.scene import Scene


@dataclass(frozen=True)
class SpotEnergy(Factor):
    """How bright the spot is; it is of no group, since pictures are clipped and encoded.

    Args:
        energy: Range of the irradiance at distance 4 in units of full white, within [0, 100]; the
            default scene has 0.7.

    Raises:
        ConventionError: The range is empty or leaves its limits; the scene has no spot.

    Example:
        >>> SpotEnergy((0.5, 0.9)).group() is None
        True
    """

    name: ClassVar[str] = "spot energy"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("spot_energy", "1", "irradiance of the spot at distance 4, 1 is full white"),
    )
    energy: Range = (0.4, 1.0)

    def __post_init__(self) -> None:
        check_range("spot.energy", self.energy, 0.0, 100.0)

    def ranges(self) -> tuple[Range, ...]:
        return (self.energy,)

    def change(self, scene: Scene, values: NDArray[np.float64]) -> Scene:
        if scene.spot is None:
            raise ConventionError(
                expected="a scene with a spot", got="none", argument="factors",
                advice="Leave SpotEnergy out.",
            )  # fmt: skip
        return replace(scene, spot=replace(scene.spot, energy=float(values[0])))
