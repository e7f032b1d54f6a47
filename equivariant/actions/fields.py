"""Fields whose values turn with the space they live on."""

from __future__ import annotations

from torch import Tensor

from equivariant.actions.base import Action
from equivariant.actions.warps.warp import Warp
from equivariant.errors import ConventionError
from equivariant.shapes import Grid, Mask, Matrix, RepresentationMatrix


class Fields(Action):
    """Vector, tensor or feature fields: (g·f)(u) = ρ(g) f(g⁻¹ u).

    The warp moves the places, the fiber's action ρ turns the values along the channel axis. With
    a trivial fiber this is the warp itself.

    Args:
        warp: Action on scalar fields.
        fiber: Action of the same group on the channels; its ``dim`` is the warp's ``channels``.

    Raises:
        ConventionError: Warp and fiber belong to different groups or dimensions.

    Example:
        >>> import torch
        >>> from equivariant.actions import ImageWarp, Vectors
        >>> from equivariant.groups import SO2
        >>> flow = Fields(ImageWarp(SO2(), 16, channels=2), Vectors(SO2()))
        >>> flow(SO2().identity(3), torch.ones(3, 2, 16, 16)).shape
        torch.Size([3, 2, 16, 16])
    """

    def __init__(self, warp: Warp, fiber: Action) -> None:
        if fiber.group not in (None, warp.group) or fiber.dim != warp.dim or fiber.event_dim != 1:
            raise ConventionError(
                expected=f"an action of {warp.group} on vectors of the warp's {warp.dim} channels",
                got=f"one of {fiber.group} on {fiber.dim}",
                argument="fiber",
                advice="Pass channels=fiber.dim to the warp, and one group to both.",
            )
        super().__init__(warp.group, warp.dim)
        self.event_dim = warp.event_dim
        self.warp = warp
        self.fiber = fiber

    def forward(self, g: Matrix, z: Grid) -> Grid:
        """The moved field, its values turned.

        Args:
            g: Elements, shape (..., n, n).
            z: Fields, shape (..., channels, *size); the batch axes of g and z broadcast.

        Returns:
            Shape (..., channels, *size), dtype of z.

        Raises:
            ShapeError: The last axes of g or z do not fit.
        """
        moved = self.warp(g, z).movedim(-1 - self.warp.space, -1)
        everywhere = g.reshape(*g.shape[:-2], *(1 for _ in self.warp.size), *g.shape[-2:])
        turned: Tensor = self.fiber(everywhere.to(z.dtype), moved)
        return turned.movedim(-1, -1 - self.warp.space)

    def mask(self, g: Matrix, margin_px: float = 0.0) -> Mask:
        """Pixels at which the frame's end is not felt: those of :meth:`Warp.mask`."""
        return self.warp.mask(g, margin_px)

    def reference(self, z: Grid, sigma_px: float = 1.5) -> Grid:
        """Isotropic blur of every channel, which commutes with turning the values."""
        return self.warp.reference(z, sigma_px)

    def matrix(self, g: Matrix) -> RepresentationMatrix:
        """Refused, as for the warp.

        Raises:
            ConventionError: Always.
        """
        return self.warp.matrix(g)

    def check_vector(self, z: Tensor) -> None:
        """Raise unless z is floating point and its last axes are (channels, *size)."""
        self.warp.check_vector(z)
