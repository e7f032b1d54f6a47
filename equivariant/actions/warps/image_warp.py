"""Images that turn, shift, grow and shear."""

from __future__ import annotations

from typing import ClassVar, Literal

from equivariant.actions.warps.interpolation import Border, named_interpolation
from equivariant.actions.warps.warp import Warp
from equivariant.groups import Group


class ImageWarp(Warp):
    """Images (..., channels, H, W) moved by motions of the plane: (g·I)(u) = I(g⁻¹ u).

    u = (x, y), x to the right and y up, from the image's centre in units of half its shorter
    side, so a rotation by a positive angle turns the picture counter-clockwise as seen. Pixel
    (row i, column j) has its centre at

        x = (j + 1/2 - W/2) / s,   y = (H/2 - i - 1/2) / s,   s = min(H, W) / 2

    and quarter turns of square images are exact up to rounding.

    Args:
        group: Any whose ``space_dim`` is 2: SO2(), SE2() or Affine(2), say.
        size: (H, W) in pixels, or one number for square images.
        channels: Number of channels, at least 1.
        interpolation: "bicubic" (Keys, a = -1/2) or "bilinear".
        border: "zeros" outside the frame, or "periodic".

    Raises:
        ConventionError: A group that does not move this space, or an unknown word.
        ShapeError: The size is not positive.

    Example:
        >>> import torch
        >>> from equivariant.groups import SO2
        >>> picture = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
        >>> quarter = SO2().exp(torch.tensor([torch.pi / 2], dtype=torch.float64))
        >>> ImageWarp(SO2(), 2)(quarter, picture).round()
        tensor([[[2., 4.],
                 [1., 3.]]])
    """

    event_dim: int = 3
    axis_signs: ClassVar[tuple[int, ...]] = (-1, 1)

    def __init__(
        self,
        group: Group,
        size: int | tuple[int, int],
        *,
        channels: int = 1,
        interpolation: Literal["bilinear", "bicubic"] = "bicubic",
        border: Border = "zeros",
    ) -> None:
        super().__init__(
            group,
            (size, size) if isinstance(size, int) else size,
            channels=channels,
            interpolation=named_interpolation("bi", interpolation),
            border=border,
        )
