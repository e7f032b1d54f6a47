"""Volumes that turn, shift, grow and shear."""

from __future__ import annotations

from typing import ClassVar, Literal

from equivariant.actions.warps.interpolation import Border, named_interpolation
from equivariant.actions.warps.warp import Warp
from equivariant.groups import Group


class VolumeWarp(Warp):
    """Volumes (..., channels, D, H, W) moved by motions of space: (g·I)(u) = I(g⁻¹ u).

    u = (x, y, z) from the volume's centre in units of half its shortest side; x runs along W,
    y along H and z along D, each growing with the index (unlike images, where y is up). Voxel
    (k, i, j) has its centre at

        x = (j + 1/2 - W/2) / s,   y = (i + 1/2 - H/2) / s,   z = (k + 1/2 - D/2) / s

    with s = min(D, H, W) / 2, and quarter turns about the axes of cubes are exact up to
    rounding.

    Args:
        group: Any whose ``space_dim`` is 3: SO3(), SE3() or Affine(3), say.
        size: (D, H, W) in voxels, or one number for cubes.
        channels: Number of channels, at least 1.
        interpolation: "tricubic" (Keys, a = -1/2; 64 neighbours) or "trilinear" (8).
        border: "zeros" outside the frame, or "periodic".

    Raises:
        ConventionError: A group that does not move this space, or an unknown word.
        ShapeError: The size is not positive.

    Example:
        >>> import torch
        >>> from equivariant.groups import SE3
        >>> warp = VolumeWarp(SE3(), 8, channels=2, interpolation="trilinear")
        >>> g = SE3().sample(5, generator=torch.Generator().manual_seed(0), scale=0.1)
        >>> warp(g, torch.ones(5, 2, 8, 8, 8)).shape
        torch.Size([5, 2, 8, 8, 8])
    """

    event_dim: int = 4
    axis_signs: ClassVar[tuple[int, ...]] = (1, 1, 1)

    def __init__(
        self,
        group: Group,
        size: int | tuple[int, int, int],
        *,
        channels: int = 1,
        interpolation: Literal["trilinear", "tricubic"] = "tricubic",
        border: Border = "zeros",
    ) -> None:
        super().__init__(
            group,
            (size, size, size) if isinstance(size, int) else size,
            channels=channels,
            interpolation=named_interpolation("tri", interpolation),
            border=border,
        )
