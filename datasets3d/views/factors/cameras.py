"""Where the camera stands and how long its lens is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.base import Factor, Range, check_range
from datasets3d.views.schema import Column
from renderers.scene import Camera, Scene

if TYPE_CHECKING:
    from equivariant.groups import Group

DISTANCE = 2.5
SENSOR_MM = 36.0


@dataclass(frozen=True)
class CameraOrbit(Factor):
    """The camera stands on a sphere of radius 2.5 about the origin and looks at it, +z up.

    At azimuth φ and elevation ε it is at 2.5 (cos ε cos φ, cos ε sin φ, sin ε); 3DIEBench's stands
    at (π/2, π/4). A change of azimuth alone is an element of SO(2), a turn about the vertical.

    Args:
        azimuth_rad: Range of φ, within ±2π.
        elevation_rad: Range of ε, within ±1.5, so that up stays up.

    Raises:
        ConventionError: A range is empty or leaves its limits.

    Example:
        >>> CameraOrbit(elevation_rad=(0.2, 0.2)).group()
        SO2()
    """

    name: ClassVar[str] = "camera orbit"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("camera_azimuth_rad", "rad", "angle of the camera about +z, from +x"),
        Column("camera_elevation_rad", "rad", "angle of the camera above the horizontal"),
    )
    azimuth_rad: Range = (-math.pi, math.pi)
    elevation_rad: Range = (0.1, 1.3)

    def __post_init__(self) -> None:
        check_range("orbit.azimuth_rad", self.azimuth_rad, -2 * math.pi, 2 * math.pi)
        check_range("orbit.elevation_rad", self.elevation_rad, -1.5, 1.5)

    def ranges(self) -> tuple[Range, ...]:
        return (self.azimuth_rad, self.elevation_rad)

    def change(self, scene: Scene, values: NDArray[np.float64]) -> Scene:
        phi, up = map(float, values)
        flat = DISTANCE * math.cos(up)
        position = (flat * math.cos(phi), flat * math.sin(phi), DISTANCE * math.sin(up))
        return replace(scene, camera=replace(scene.camera, position=position))

    def group(self) -> Group | None:
        if self.elevation_rad[0] != self.elevation_rad[1]:
            return None
        found: Group = import_module("equivariant.groups").SO2()
        return found

    def coordinates(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[..., :1]


@dataclass(frozen=True)
class FocalLength(Factor):
    """The camera's focal length on a sensor 36 mm wide: opening angle 2 atan(18 / f).

    A change of f scales the picture about its middle, an element of Scaling(2).

    Args:
        focal_mm: Range of f in millimetres, within [5, 1000]; 3DIEBench has 50.

    Raises:
        ConventionError: The range is empty or leaves its limits.

    Example:
        >>> FocalLength((35.0, 85.0)).ranges()
        ((35.0, 85.0),)
    """

    name: ClassVar[str] = "focal length"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("focal_length_mm", "mm", "focal length on a sensor of 36 mm"),
    )
    focal_mm: Range = (40.0, 60.0)

    def __post_init__(self) -> None:
        check_range("focal.focal_mm", self.focal_mm, 5.0, 1000.0)

    def ranges(self) -> tuple[Range, ...]:
        return (self.focal_mm,)

    def change(self, scene: Scene, values: NDArray[np.float64]) -> Scene:
        angle = 2.0 * math.atan(SENSOR_MM / (2.0 * float(values[0])))
        camera: Camera = replace(scene.camera, field_of_view_rad=angle)
        return replace(scene, camera=camera)

    def group(self) -> Group:
        found: Group = import_module("equivariant.groups").Scaling(2)
        return found

    def coordinates(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.log(values)
        return found
