"""Pictures looked at through a map of the plane, fast and differentiable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.nn.images.conv_net import check_images
from equivariant.shapes import Float, Images

_FAR = 1e4  # outside of every picture, in its own units


def pull_back(images: Images, g: Float[Tensor, "batch n n"]) -> Images:
    """The pictures J(u) = I(g u): one map each, bilinear, zero outside of the frame.

    It is the action of the inverse, J = g⁻¹·I, in the coordinates of
    :class:`equivariant.actions.ImageWarp`: u = (x, y), x to the right and y up, from the
    centre in units of half the shorter side. Maps are

        u ↦ g u (n = 2),   u ↦ A u + t  or  u ↦ (A u + t) / (c·u + d)
        for g = [[A, t], [c, d]] (n = 3),

    so rotations, affine maps and homographies. Where c·u + d is not positive (behind the
    camera) the picture is zero. Gradients exist by images and by g, once; those by g are of the
    bilinear surface, which has kinks at pixel centres.

    Args:
        images: Shape (batch, channels, height, width), floating point.
        g: Shape (batch, 2, 2) or (batch, 3, 3), floating point.

    Returns:
        Shape and dtype of the images.

    Raises:
        ShapeError: Not images, or not one map for each.

    Example:
        >>> picture = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> pull_back(picture, quarter)
        tensor([[[[3., 1.],
                  [4., 2.]]]])
    """
    check_images(images)
    if g.ndim != 3 or tuple(g.shape[1:]) not in ((2, 2), (3, 3)) or len(g) != len(images):
        raise ShapeError(
            expected=f"one map of the plane for each of {len(images)} images, 2x2 or 3x3",
            got=f"shape {tuple(g.shape)}",
            argument="g",
            advice="Repeat one map with g.expand(len(images), -1, -1).",
        )
    dtype = torch.promote_types(torch.promote_types(images.dtype, g.dtype), torch.float32)
    height, width = images.shape[2:]
    half = 0.5 * min(height, width)
    rows = (torch.arange(height, dtype=dtype, device=g.device) + 0.5 - 0.5 * height) / -half
    columns = (torch.arange(width, dtype=dtype, device=g.device) + 0.5 - 0.5 * width) / half
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    u = torch.stack([x, y] if g.shape[1] == 2 else [x, y, torch.ones_like(x)], -1)
    moved = torch.einsum("bij,hwj->bhwi", g.to(dtype), u)
    if g.shape[1] == 3:
        depth = moved[..., 2:]
        seen = depth > 0
        moved = torch.where(seen, moved[..., :2] / torch.where(seen, depth, 1.0), _FAR)
    grid = moved * moved.new_tensor([2 * half / width, -2 * half / height])
    sampled = grid_sample(
        images.to(dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled.to(images.dtype)


def check_moves_the_plane(group: Group) -> None:
    """Raise ConventionError unless :func:`pull_back` knows how elements move the plane.

    Args:
        group: One whose ``space_dim`` is 2, or of 3x3 matrices that act as homographies.

    Raises:
        ConventionError: Another group.

    Example:
        >>> from equivariant.groups import SE2
        >>> check_moves_the_plane(SE2())
    """
    if group.space_dim != 2 and not (group.space_dim == 3 and group.matrix_size == 3):
        raise ConventionError(
            expected="a group that moves the plane",
            got=str(group),
            argument="group",
            advice="SO2(), SE2(), Sim(2), GL(2) and Affine(2) do; 3x3 matrices do as homographies.",
        )
