"""Lights beside the spot."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.base import Factor, Range, check_range
from datasets3d.views.schema import Column
from equivariant.errors import ConventionError
from renderers.color import rgb_from_hsv
from renderers.scene import Scene, Spot

if TYPE_CHECKING:
    from equivariant.groups import Group

MOST_LIGHTS = 7
DISTANCE = 4.0
SATURATION, VALUE = 1.0, 0.8
_NUMBERS = (
    ("theta_rad", "rad", "angle of light {k} from +z"),
    ("phi_rad", "rad", "azimuth of light {k}"),
    ("hue", "turn", "hue of light {k}, HSV(h, 1, 0.8)"),
    ("energy", "1", "irradiance of light {k} at distance 4, 1 is full white"),
)


@dataclass(frozen=True)
class FurtherLights(Factor):
    """Lights like the spot beside it, each with place, hue, energy and shadow of its own.

    Light k, from 2 on, since the spot is the first, has the columns ``light_k_theta_rad``,
    ``light_k_phi_rad``, ``light_k_hue`` and ``light_k_energy``. It stands at distance 4, polar
    angle theta from +z and azimuth phi, aims at the world's origin, and has the spot's cone; its
    color is HSV(hue, 1, 0.8). All numbers are independent and uniform, and every light has the same
    ranges. Needs the renderer embree.

    Where theta and energy are fixed, a change of azimuths and hues is an element of a product: for
    each light SO(2), the turn of the light about the vertical, and Translation(1), the difference
    of hues in turns, not wrapped. Otherwise it is of no group: theta has ends, and pictures are
    clipped.

    Args:
        count: Lights beside the spot, 1 to 7.
        theta_rad: Range of theta, within [0, π/2).
        phi_rad: Range of phi, within ±2π.
        hue: Range of the hue, turns, within [0, 1].
        energy: Range of the irradiance at distance 4 in units of full white, within [0, 100]; the
            spot has 0.7 unless ``SpotEnergy`` varies it.

    Raises:
        ConventionError: The count or a range leaves its limits.

    Example:
        >>> from datasets3d import ViewLaw
        >>> law = ViewLaw(factors=(FurtherLights(count=1),))
        >>> [column.name for column in law.columns()[7:]]
        ['light_2_theta_rad', 'light_2_phi_rad', 'light_2_hue', 'light_2_energy']
        >>> FurtherLights(1, theta_rad=(0.5, 0.5), energy=(0.4, 0.4)).group().dim
        2
    """

    name: ClassVar[str] = "further lights"
    columns: ClassVar[tuple[Column, ...]] = ()
    count: int = 2
    theta_rad: Range = (0.0, math.pi / 4)
    phi_rad: Range = (0.0, 2.0 * math.pi)
    hue: Range = (0.0, 1.0)
    energy: Range = (0.2, 0.6)

    def __post_init__(self) -> None:
        if type(self.count) is not int or not 1 <= self.count <= MOST_LIGHTS:
            raise ConventionError(
                expected=f"1 to {MOST_LIGHTS} lights beside the spot", got=repr(self.count),
                argument="lights.count", advice="Leave the factor out for the spot alone.",
            )  # fmt: skip
        check_range("lights.theta_rad", self.theta_rad, 0.0, np.nextafter(math.pi / 2, 0.0))
        check_range("lights.phi_rad", self.phi_rad, -2.0 * math.pi, 2.0 * math.pi)
        check_range("lights.hue", self.hue, 0.0, 1.0)
        check_range("lights.energy", self.energy, 0.0, 100.0)
        columns = tuple(
            Column(f"light_{k}_{name}", unit, meaning.format(k=k))
            for k in range(2, self.count + 2)
            for name, unit, meaning in _NUMBERS
        )
        object.__setattr__(self, "columns", columns)  # they depend on how many lights there are

    def ranges(self) -> tuple[Range, ...]:
        return (self.theta_rad, self.phi_rad, self.hue, self.energy) * self.count

    def change(self, scene: Scene, values: NDArray[np.float64]) -> Scene:
        lights = []
        for theta, phi, hue, energy in values.reshape(self.count, 4).tolist():
            flat = DISTANCE * math.sin(theta)
            place = (flat * math.cos(phi), flat * math.sin(phi), DISTANCE * math.cos(theta))
            color = rgb_from_hsv(hue, SATURATION, VALUE)
            lights.append(Spot(position=place, color=color, energy=energy))
        return replace(scene, lights=(*scene.lights, *lights))

    def group(self) -> Group | None:
        if any(low != high for low, high in (self.theta_rad, self.energy)):
            return None
        groups = import_module("equivariant.groups")
        each = (groups.SO2(), groups.Translation(1))
        found: Group = groups.Product(*each * self.count)
        return found

    def coordinates(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        each = values.reshape(*values.shape[:-1], self.count, 4)[..., 1:3]
        return each.reshape(*values.shape[:-1], 2 * self.count)
