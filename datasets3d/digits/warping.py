"""Pictures moved by matrices of the plane, homographies among them, many at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups.membership import determinant, numbers_are_known
from equivariant.shapes import Float, Images, Rotation

_OUTSIDE = 4.0  # in units of half a side, from the middle: no neighbour lies in the frame


def move_pictures(pictures: Images, g: Float[Tensor, "batch 3 3"]) -> Images:
    """Pictures moved by homographies: (g·I)(u) = I(g⁻¹ u), bilinear.

    Coordinates are those of :class:`equivariant.actions.ImageWarp`, whose bilinear interpolation
    this is for affine g: a pixel takes, at g⁻¹ u, the mean of its four neighbours, weighted by
    nearness. What lies outside the frame is 0, and so is what lies behind the horizon, where the
    last homogeneous coordinate of g⁻¹ u is not positive. Each picture depends on itself and its
    matrix alone, bit for bit. Gradients exist with respect to pictures and matrices.

    Args:
        pictures: Shape (batch, channels, height, width), floating point.
        g: Matrices acting on (x, y, 1), invertible, float64 for exact places.

    Returns:
        Shape and dtype of the pictures.

    Raises:
        ShapeError: There is not one matrix of shape (3, 3) per picture.
        ConventionError: Pictures of integers, or a matrix that is not finite or not invertible.

    Example:
        >>> picture = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
        >>> move_pictures(picture, quarter).tolist()
        [[[[2.0, 4.0], [1.0, 3.0]]]]
    """
    if tuple(g.shape) != (len(pictures), 3, 3):
        raise ShapeError(
            expected=f"one matrix per picture, shape ({len(pictures)}, 3, 3)",
            got=f"shape {tuple(g.shape)}", argument="g",
            advice="Embed linear maps of the plane as [[A, 0], [0, 1]].",
        )  # fmt: skip
    if not pictures.is_floating_point():
        raise ConventionError(
            expected="floating-point numbers", got=str(pictures.dtype), argument="pictures",
            advice="Bytes become pictures in [0, 1] by pictures.float() / 255.",
        )  # fmt: skip
    if numbers_are_known(g):
        usable = g.detach().isfinite().all() & (determinant(g.detach()) != 0).all()
        if not bool(usable):
            raise ConventionError(
                expected="finite matrices that have an inverse", got="others", argument="g",
                advice="They say where each point of a picture goes.",
            )  # fmt: skip
    if not len(pictures):
        return pictures
    height, width = pictures.shape[-2:]
    half = 0.5 * min(height, width)
    to_grid = g.new_tensor([[2 * half / width], [-2 * half / height], [1.0]])
    back = (to_grid * inverse(g)).to(pictures.dtype)[:, None, None]
    x = (torch.arange(width, dtype=pictures.dtype) + 0.5 - 0.5 * width) / half
    y = (0.5 * height - 0.5 - torch.arange(height, dtype=pictures.dtype)).unsqueeze(1) / half
    # sums of products entry by entry: a matrix product may round otherwise in other batches
    parts = [(back[..., i, 0] * x, back[..., i, 1] * y + back[..., i, 2]) for i in range(3)]
    across, down = (along + rest for along, rest in parts[:2])
    affine = (g.detach()[:, 2] == g.new_tensor([0.0, 0.0, 1.0])).all()
    if g.requires_grad or not bool(affine):  # else all depths are 1
        depth = parts[2][0] + parts[2][1]
        seen = depth > 0.0
        depth = torch.where(seen, depth, 1.0)
        across, down = (torch.where(seen, p / depth, _OUTSIDE) for p in (across, down))
    return functional.grid_sample(
        pictures, torch.stack([across, down], -1), align_corners=False, padding_mode="zeros"
    )


def inverse(g: Rotation) -> Rotation:
    """Inverses of 3 x 3 matrices by cofactors; of an affine matrix, last row (0, 0, 1) exactly.

    Args:
        g: Invertible, shape (..., 3, 3).
    """
    a, b, c = g.unbind(-2)
    columns = [torch.linalg.cross(p, q) for p, q in ((b, c), (c, a), (a, b))]
    determinant = (c * columns[2]).sum(-1)  # the last row (0, 0, 1) picks one entry
    found: Tensor = torch.stack(columns, -1) / determinant[..., None, None]
    return found
