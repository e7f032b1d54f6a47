"""How bright the spot is, and the light from everywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.base import Factor, Range, check_range
from datasets3d.views.schema import Column
from equivariant.errors import ConventionError
from renderers.scene import Ambient, Scene


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


@dataclass(frozen=True)
class AmbientLight(Factor):
    """The light from everywhere: how bright, and how much of it comes from above, a soft sky.

    A surface with unit normal n receives level (1 - sky + sky n_z). It is of no group.

    Args:
        level: Range of the brightness of an upward-facing white surface under no other light,
            linear, within [0, 100]; the default scene has 0.55.
        sky: Range of the share from above, within [0, 0.5]; the default scene has 0.45, and 0 is
            the same light on all sides.

    Raises:
        ConventionError: A range is empty or leaves its limits.

    Example:
        >>> AmbientLight(sky=(0.2, 0.2)).ranges()
        ((0.3, 0.8), (0.2, 0.2))
    """

    name: ClassVar[str] = "ambient light"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("ambient_level", "1", "brightness of a white surface that faces up, linear"),
        Column("ambient_sky", "1", "share of the ambient light that comes from above"),
    )
    level: Range = (0.3, 0.8)
    sky: Range = (0.0, 0.5)

    def __post_init__(self) -> None:
        check_range("ambient.level", self.level, 0.0, 100.0)
        check_range("ambient.sky", self.sky, 0.0, 0.5)

    def ranges(self) -> tuple[Range, ...]:
        return (self.level, self.sky)

    def change(self, scene: Scene, values: NDArray[np.float64]) -> Scene:
        level, sky = map(float, values)
        return replace(scene, ambient=Ambient(level=level, sky=sky))
