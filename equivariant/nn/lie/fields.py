"""Features on space and group: values, the places and the elements they belong to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.nn.lie.samples import LieSamples
from equivariant.shapes import Float


@dataclass(frozen=True)
class PlaneGrid:
    """Pixels of an image, centred at the origin; x to the right, y up.

    The unit of length is that of :class:`equivariant.actions.ImageWarp`: half the shorter side.

    Args:
        size: (height, width) in pixels.
        spacing: Distance of neighbouring pixels in units of length.

    Example:
        >>> PlaneGrid.of_image((40, 40)).spacing
        0.05
    """

    size: tuple[int, int]
    spacing: float

    @classmethod
    def of_image(cls, size: tuple[int, int]) -> PlaneGrid:
        """The grid of an image of a given (height, width)."""
        return cls(size, 2.0 / min(size))

    @property
    def shape(self) -> tuple[int, ...]:
        """Trailing axes of values on these places."""
        return self.size

    def coarser(self, stride: int) -> PlaneGrid:
        """Every ``stride``-th place, the grid still centred.

        Raises:
            ShapeError: A side is no multiple of the stride.
        """
        if any(side % stride for side in self.size):
            raise ShapeError(
                expected=f"height and width that are multiples of the stride, {stride}",
                got=f"{self.size[0]} x {self.size[1]} pixels", argument="images",
                advice="Pad the images with zeros, or set stride=1.",
            )  # fmt: skip
        height, width = (side // stride for side in self.size)
        return PlaneGrid((height, width), self.spacing * stride)

    @property
    def positions(self) -> Float[Tensor, "1 places 2"]:
        """Where the pixels are, row by row from the top, shape (1, height · width, 2), float64.

        Example:
            >>> PlaneGrid((1, 2), 0.5).positions.tolist()
            [[[-0.25, 0.0], [0.25, 0.0]]]
        """
        height, width = self.size
        across = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
        upwards = (height - 1) / 2 - torch.arange(height, dtype=torch.float64)
        y, x = torch.meshgrid(self.spacing * upwards, self.spacing * across, indexing="ij")
        return torch.stack([x, y], -1).reshape(1, -1, 2)


@dataclass(frozen=True, eq=False)
class CloudPlaces:
    """Points of clouds.

    Args:
        positions: Shape (batch, places, n), in the clouds' unit of length.
    """

    positions: Float[Tensor, "batch places n"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Trailing axes of values on these places."""
        return (int(self.positions.shape[1]),)


Places = PlaneGrid | CloudPlaces


@dataclass(frozen=True, eq=False)
class LieField:
    """A feature F(x, h) of places x and group elements h, known at samples.

    The group ℝⁿ ⋊ H acts by (L_(t,a) F)(x, h) = F(a⁻¹ (x - t), a⁻¹ h). The samples and their
    weights travel with the values, so that each layer integrates over what its input was
    computed at.

    Args:
        values: Shape (batch, channels, samples, *places), floating point.
        samples: The elements of the third axis.
        places: The places of the last axes: a grid of pixels, or the points of clouds.

    Raises:
        ShapeError: The values do not fit samples and places.
    """

    values: Float[Tensor, "batch channels samples ..."]
    samples: LieSamples
    places: Places

    def __post_init__(self) -> None:
        expected = (len(self.samples), *self.places.shape)
        if tuple(self.values.shape[2:]) != expected:
            raise ShapeError(
                expected=f"values of shape (batch, channels, {', '.join(map(str, expected))}): "
                "samples, then places",
                got=f"shape {tuple(self.values.shape)}", argument="values",
                advice="Values, samples and places of one layer belong together.",
            )  # fmt: skip

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.values.shape[1])

    def with_values(self, values: Tensor) -> LieField:
        """Other values at the same samples and places."""
        return replace(self, values=values)

    def measure(self) -> Float[Tensor, " samples"]:
        """Weight of each sample in the invariant integral over places and group, shape (samples,).

            dμ(x, h) = dx dμ_H(h) / |det h|

        on the plane. Sums over the points of a cloud move with the cloud, so there the factor
        of the volume is absent. In the dtype and on the device of the values.
        """
        samples = self.samples.to(self.values.device)
        found = samples.weights
        if isinstance(self.places, PlaneGrid):
            found = found / samples.determinants
        return found.to(self.values.dtype)


def check_field(field: Any, group: Group | None = None, channels: int | None = None) -> None:
    """Refuse what is no field of floating-point numbers, or one of another group or width.

    Args:
        field: What a layer was given.
        group: The layer's; None for a layer of any.
        channels: That the layer reads; None for a layer of any.

    Raises:
        ShapeError: It has another number of channels.
        ConventionError: It is no field, on samples of another group, or has whole numbers.
    """
    if not isinstance(field, LieField):
        raise ConventionError(
            expected="a LieField: values with the samples and places they belong to",
            got=type(field).__name__, argument="field",
            advice="LiftConv makes one of images or clouds.",
        )  # fmt: skip
    if group is not None and field.samples.group != group:
        raise ConventionError(
            expected=f"samples of {group}", got=f"samples of {field.samples.group}",
            argument="field", advice="Draw them by a law on the layer's group.",
        )  # fmt: skip
    if channels is not None and field.channels != channels:
        raise ShapeError(
            expected=f"a field of {channels} channels", got=f"{field.channels}",
            argument="field", advice="The outputs of one layer are the inputs of the next.",
        )  # fmt: skip
    if not field.values.is_floating_point():
        raise ConventionError(
            expected="floating-point numbers", got=str(field.values.dtype), argument="field",
            advice="field.with_values(field.values.float()) has them.",
        )  # fmt: skip
