"""Groups that move the picture plane or space act on what is painted there."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from equivariant.actions.base import Action
from equivariant.actions.warps.interpolation import REACH, Border, Interpolation, blur, interpolate
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.shapes import Grid, Mask, Matrix, RepresentationMatrix

_ROUNDING_PX = 1e-6


class Warp(Action):
    """Scalar fields on a grid, moved: (g·I)(u) = I(g⁻¹ u), interpolated.

    World positions u are measured from the grid's centre in units of half the shortest side;
    pixel centres stand at half-integers of the frame. The action holds up to interpolation: not
    exactly, and not where the frame ends. :meth:`mask` says where it holds, and
    :meth:`reference` is a map whose equivariance error is that of interpolation alone.

    Args:
        group: Moves points of the grid's space: its ``space_dim`` is the number of space axes.
        size: Pixels along each space axis, in the order of the tensor's axes, at least 1 each.
        channels: Channels of a field, at least 1.
        interpolation: "linear" or "cubic".
        border: What lies outside the frame: "zeros" or "periodic".

    Raises:
        ConventionError: The group does not move this space, or a word is not one of these.
        ShapeError: The size is not one positive integer per space axis.
    """

    axis_signs: ClassVar[tuple[int, ...]]
    """Per tensor axis, whether the world coordinate grows (1) or falls (-1) with the index; the
    last tensor axis is x, the one before it y, and so on."""

    def __init__(
        self,
        group: Group,
        size: tuple[int, ...],
        *,
        channels: int,
        interpolation: Interpolation,
        border: Border,
    ) -> None:
        self._check_configuration(group, size, border)
        super().__init__(group, channels)
        self.size = tuple(size)
        self.interpolation = interpolation
        self.border = border
        self.half_side_px = 0.5 * min(size)

    @property
    def space(self) -> int:
        """Number of space axes."""
        return len(self.axis_signs)

    def forward(self, g: Matrix, z: Grid) -> Grid:
        """The moved field.

        Args:
            g: Elements, shape (..., n, n).
            z: Fields, shape (..., channels, *size); the batch axes of g and z broadcast.

        Returns:
            Shape (..., channels, *size), dtype of z.

        Raises:
            ShapeError: The last axes of g or z do not fit.
        """
        self.check_element(g)
        self.check_vector(z)
        index = self._index_px(self._inverse(g), wide=z.dtype)
        values = interpolate(z, index, interpolation=self.interpolation, border=self.border)
        return values.reshape(*values.shape[:-1], *self.size)

    def positions(
        self, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Grid:
        """World positions of the pixel centres, shape (*size, space), components x, y(, z)."""
        axes = [
            sign * (torch.arange(n, dtype=dtype, device=device) + 0.5 - 0.5 * n) / self.half_side_px
            for sign, n in zip(self.axis_signs, self.size, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)

    def mask(self, g: Matrix, margin_px: float = 0.0) -> Mask:
        """Pixels at which the frame's end is not felt, neither by g nor by g⁻¹.

        A pixel u counts when every neighbour that interpolation reads at g⁻¹ u, and at g u, lies
        inside the frame. Translations of a periodic grid feel no end.

        Args:
            g: Elements, shape (..., n, n).
            margin_px: Further distance from the frame to keep, in pixels, at least 0: the
                receptive radius of the map under test.

        Returns:
            Shape (..., *size).
        """
        self.check_element(g)
        group = self.group
        shifts = group is not None and group.preserves_lengths and not group.turns
        if self.border == "periodic" and shifts:
            return torch.ones(*g.shape[:-2], *self.size, dtype=torch.bool, device=g.device)
        margin = REACH[self.interpolation] - 1 + margin_px - _ROUNDING_PX
        last = torch.tensor(self.size, device=g.device) - 1
        inside = torch.ones((), dtype=torch.bool, device=g.device)
        for element in (g, self._inverse(g)):
            index = self._index_px(element.detach(), wide=torch.float64)
            inside = inside & ((index >= margin) & (index <= last - margin)).all(-1)
        return inside.reshape(*inside.shape[:-1], *self.size)

    def reference(self, z: Grid, sigma_px: float = 1.5) -> Grid:
        """Isotropic Gaussian blur: equivariant in the continuum under rotations and translations.

        Its measured error is the floor that interpolation sets for every map. Motions that
        change lengths (scale, shear) move the blur's own width, so there it is no reference.

        Args:
            z: Fields, shape (..., channels, *size).
            sigma_px: Standard deviation in pixels, positive.

        Returns:
            Shape of z.
        """
        self.check_vector(z)
        return blur(z, space=self.space, sigma_px=sigma_px, border=self.border)

    def matrix(self, g: Matrix) -> RepresentationMatrix:
        """Refused: the action is linear, but its matrix has (channels · pixels)² entries.

        Raises:
            ConventionError: Always.
        """
        raise ConventionError(
            expected="an action on vectors",
            got=f"{type(self).__name__}, an action on grids of {self.size}",
            argument="g",
            advice="Apply the action to basis fields, one pixel each, for columns of its matrix.",
        )

    def check_vector(self, z: Tensor) -> None:
        """Raise unless z is floating point and its last axes are (channels, *size)."""
        event = (self.dim, *self.size)
        if z.ndim < len(event) or tuple(z.shape[-len(event) :]) != event:
            raise ShapeError(
                expected=f"fields of shape (..., {', '.join(map(str, event))})",
                got=f"shape {tuple(z.shape)}",
                argument="z",
                advice="Channels first; name channels and size when the action is made.",
            )
        if not z.is_floating_point():
            raise ConventionError(
                expected="floating point values",
                got=str(z.dtype),
                argument="z",
                advice="Convert integer images with z.float() / 255.",
            )

    def extra_repr(self) -> str:
        return f"{self.group}, size={self.size}, channels={self.dim}, {self.interpolation}"

    def _inverse(self, g: Tensor) -> Tensor:
        return torch.linalg.inv(g) if self.group is None else self.group.inverse(g)

    def _index_px(self, g: Tensor, *, wide: torch.dtype) -> Tensor:
        """Fractional indices of g u for every pixel centre u, shape (..., pixels, space).

        Computed in the widest of the dtypes at hand, at least float32: in half precision a
        position would be off by a fraction of a pixel.
        """
        dtype = torch.promote_types(torch.promote_types(g.dtype, wide), torch.float32)
        g, d = g.to(dtype), self.space
        u = self.positions(dtype=dtype, device=g.device).flatten(0, -2)
        moved = u @ g[..., :d, :d].transpose(-1, -2)
        if g.shape[-1] > d:
            moved = moved + g[..., None, :d, d]
        signs = torch.tensor(self.axis_signs, dtype=dtype, device=g.device)
        centre = 0.5 * (torch.tensor(self.size, dtype=dtype, device=g.device) - 1)
        return moved.flip(-1) * signs * self.half_side_px + centre

    def _check_configuration(self, group: Group, size: tuple[int, ...], border: str) -> None:
        if group.space_dim != self.space:
            raise ConventionError(
                expected=f"a group that moves points of {self.space}-space",
                got=str(group),
                argument="group",
                advice="For one factor of a product group use Factor(action, product, index).",
            )
        if len(size) != self.space or min(size) < 1:
            raise ShapeError(
                expected=f"{self.space} positive numbers of pixels",
                got=str(tuple(size)),
                argument="size",
                advice="Give them in the order of the tensor's axes.",
            )
        if border not in ("zeros", "periodic"):
            raise ConventionError(
                expected="zeros or periodic",
                got=repr(border),
                argument="border",
                advice="Pictures end in zeros; textures and fields on a torus are periodic.",
            )
