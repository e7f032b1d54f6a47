"""The interface of a factor: something that varies from view to view."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.schema import Column
from equivariant.errors import ConventionError
from renderers.scene import Scene

if TYPE_CHECKING:
    from equivariant.groups import Group

Range = tuple[float, float]


@dataclass(frozen=True)
class Factor(ABC):
    """Something that varies from view to view: its numbers, their law, what they do to a scene.

    A factor is a frozen dataclass whose fields are numbers and tuples of numbers. Its draws depend
    on the seed of the set, the object, the view and its own name alone, so adding one moves no
    number of the others. Its columns follow the seven of 3DIEBench in every latent, in the order
    of ``ViewLaw.factors``, which is also the order in which they change the scene.

    Example:
        >>> from dataclasses import replace
        >>> from datasets3d import ViewLaw
        >>> @dataclass(frozen=True)
        ... class FloorHeight(Factor):
        ...     height: Range = (-1.2, -0.8)
        ...     name = "floor height"
        ...     columns = (Column("floor_height", "scene", "z of the floor"),)
        ...     def ranges(self):
        ...         return (self.height,)
        ...     def change(self, scene, values):
        ...         return replace(scene, floor=replace(scene.floor, height=float(values[0])))
        >>> law = ViewLaw(factors=(FloorHeight(),))
        >>> latent = law.sample(0, "chair/one", view=0)
        >>> latent.shape, bool((latent[:7] == ViewLaw().sample(0, "chair/one", view=0)).all())
        ((8,), True)
    """

    name: ClassVar[str]
    """Of the factor; two of a law have different ones."""

    columns: ClassVar[tuple[Column, ...]]
    """Its numbers in a latent: name, unit, meaning."""

    @abstractmethod
    def ranges(self) -> tuple[Range, ...]:
        """Lowest and highest value of each of its numbers."""

    @abstractmethod
    def change(self, scene: Scene, values: NDArray[np.float64]) -> Scene:
        """The scene with this factor at some values.

        Args:
            scene: What the factors before it have made.
            values: Its numbers, shape (columns,).
        """

    def sample(self, random: np.random.Generator) -> NDArray[np.float64]:
        """Its numbers in one view, shape (columns,); independent and uniform unless overridden.

        Args:
            random: Of this factor and view alone.
        """
        low, high = np.array(self.ranges(), np.float64).T
        drawn: NDArray[np.float64] = low + (high - low) * random.random(len(low))
        return drawn

    def group(self) -> Group | None:
        """The group of which a change of this factor is an element; None where it is of none."""
        return None

    def coordinates(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates of the element ``group().exp(coordinates)`` that takes value zero of the
        group (no shift, scale 1) to some values, shape (..., dimension of the group).

        Args:
            values: Its numbers, shape (..., columns).
        """
        return values


def check_range(argument: str, span: Range, lowest: float, highest: float) -> None:
    """Refuse a range that is empty or not within limits.

    Args:
        argument: Its name, for the message.
        span: Lowest and highest value.
        lowest: Least value there may be.
        highest: Largest.

    Raises:
        ConventionError: Not lowest <= low <= high <= highest.
    """
    low, high = span
    if not lowest <= low <= high <= highest:
        raise ConventionError(
            expected=f"low <= high within [{lowest:g}, {highest:g}]", got=f"{low}, {high}",
            argument=argument, advice="A range of one point fixes a factor.",
        )  # fmt: skip
