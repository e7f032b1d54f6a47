"""Where the objects of a scene are: beside one another on the floor, or floating, never inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from equivariant.errors import ConventionError

Placement = Literal["floor", "floating"]
TRIES, RESTARTS = 100, 100
GAP = 0.01
GROUND = -1.0  # height of the floor below floating objects, as ViewLaw has it


@dataclass(frozen=True)
class ArrangementLaw:
    """The law of the places and sizes of n objects in one view.

    One object after another is given a place, uniform in a disc about the vertical through the
    origin, and another one where it would touch those before; where none is found, all begin again.
    On the floor, the vertical cylinders about the objects are disjoint, and each object's lowest
    point touches the floor. Floating, the spheres about the objects' origins are disjoint.

    Args:
        placement: "floor" or "floating".
        scale: Range of the factor of every object's lengths, its logarithm uniform, within
            [0.01, 10]; None is 1 / √n for all objects, which BOP's layout can express.
        spread: Radius of the disc of the objects' origins, in units of the scene, in (0, 100].
        height: Of the floor, for "floor", in [-100, 100]; lower than -1 is lower than 3DIEBench's.
        rise: Range of the height of floating objects' origins, within [-0.9, 100].

    Raises:
        ConventionError: A setting is out of its range.
    """

    placement: Placement = "floor"
    scale: tuple[float, float] | None = None
    spread: float = 0.65
    height: float = -0.3
    rise: tuple[float, float] = (-0.35, 0.35)

    def __post_init__(self) -> None:
        low, high = self.scale or (1.0, 1.0)
        fine = {
            "placement": self.placement in ("floor", "floating"),
            "scale": 0.01 <= low <= high <= 10.0,
            "spread": 0.0 < self.spread <= 100.0,
            "height": -100.0 <= self.height <= 100.0,
            "rise": -0.9 <= self.rise[0] <= self.rise[1] <= 100.0,
        }
        for name, holds in fine.items():
            if not holds:
                raise ConventionError(
                    expected="a value in its range", got=repr(getattr(self, name)),
                    argument=f"arrangement.{name}",
                    advice="See the documentation of ArrangementLaw.",
                )  # fmt: skip

    def scales(self, objects: int) -> tuple[float, float]:
        """Smallest and largest scale of each of so many objects."""
        return self.scale or (1.0 / math.sqrt(objects),) * 2

    def ranges(self, objects: int) -> tuple[tuple[float, float], ...]:
        """Lowest and highest x, y, z and scale of an object, of so many."""
        low, high = self.scales(objects)
        rise = (self.height, self.height + high) if self.placement == "floor" else self.rise
        return ((-self.spread, self.spread),) * 2 + (rise, (low, high))

    def draw(
        self,
        shapes: Sequence[NDArray[np.float64]],
        rotations: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Places and scales of some objects.

        Args:
            shapes: Vertices of each object at rest, shape (V, 3).
            rotations: World from object of each, shape (objects, 3, 3).
            generator: Source of the draws.

        Returns:
            x, y, z of the object's origin and its scale, shape (objects, 4), float64.

        Raises:
            ConventionError: No room was found for them.

        Example:
            >>> cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 4
            >>> law = ArrangementLaw(scale=(0.5, 0.5))
            >>> turned = np.tile(np.eye(3), (3, 1, 1))
            >>> found = law.draw([cube] * 3, turned, np.random.default_rng(0))
            >>> bool(np.allclose(found[:, 2] - 0.125, law.height))
            True
        """
        low, high = self.scales(len(shapes))
        scales = low * (high / low) ** generator.random(len(shapes))
        turned = [
            s * x @ R.T for s, x, R in zip(scales, shapes, rotations, strict=True)
        ]  # fmt: skip
        axes = 2 if self.placement == "floor" else 3
        radii = [float(np.linalg.norm(x[:, :axes], axis=1).max()) for x in turned]
        for _ in range(RESTARTS):
            places = self._placed(turned, radii, generator)
            if places is not None:
                return np.column_stack([places, scales])
        raise ConventionError(
            expected="objects for which there is room", got=f"{len(shapes)} of radii up to "
            f"{max(radii):.2f} in a disc of radius {self.spread:g}", argument="arrangement",
            advice="Take fewer or smaller ones (scale), or more room (spread).",
        )  # fmt: skip

    def _placed(
        self, turned: list[NDArray[np.float64]], radii: list[float], generator: np.random.Generator
    ) -> NDArray[np.float64] | None:
        axes = 2 if self.placement == "floor" else 3
        places: list[NDArray[np.float64]] = []
        for k, shape in enumerate(turned):
            for _ in range(TRIES):
                u = generator.random(3)
                far, angle = self.spread * math.sqrt(u[0]), 2.0 * math.pi * u[1]
                z = self.rise[0] + (self.rise[1] - self.rise[0]) * u[2]
                if self.placement == "floor":
                    z = self.height - float(shape[:, 2].min())
                place = np.array([far * math.cos(angle), far * math.sin(angle), z])
                apart = all(
                    np.linalg.norm((place - other)[:axes]) > radii[k] + radius + GAP
                    for other, radius in zip(places, radii, strict=False)
                )
                above = self.placement == "floor" or z + float(shape[:, 2].min()) > GROUND
                if apart and above:
                    places.append(place)
                    break
            else:
                return None
        return np.array(places)
