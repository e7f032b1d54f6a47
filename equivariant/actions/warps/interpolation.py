"""Interpolation of regular grids at any points, in any number of space axes.

Everything is floor, gather, multiply and add, so forward-mode, reverse-mode and second
derivatives all exist, in every floating dtype and on every device.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.shapes import Float, Grid, Int

Interpolation = Literal["linear", "cubic"]
Border = Literal["zeros", "periodic"]

REACH: dict[Interpolation, int] = {"linear": 1, "cubic": 2}
"""How far from a point its grid neighbours lie, in pixels: they are 2 * reach per axis."""


def named_interpolation(prefix: str, word: str) -> Interpolation:
    """The one-axis interpolation that a word such as "bicubic" names.

    Args:
        prefix: "bi" in the plane, "tri" in space.
        word: The prefix, then "linear" or "cubic".

    Returns:
        "linear" or "cubic".

    Raises:
        ConventionError: The word is another.

    Example:
        >>> named_interpolation("bi", "bicubic")
        'cubic'
    """
    known: dict[str, Interpolation] = {prefix + "linear": "linear", prefix + "cubic": "cubic"}
    if word not in known:
        raise ConventionError(
            expected=f"one of {', '.join(known)}",
            got=repr(word),
            argument="interpolation",
            advice="The cubic one is smoother and usually nearer to the truth.",
        )
    return known[word]


def interpolate(
    grid: Grid,
    index: Float[Tensor, "... points space"],
    *,
    interpolation: Interpolation,
    border: Border,
) -> Grid:
    """Values of gridded channels at fractional indices.

        I(p) = Σ_q Π_a k(p_a - q_a) I[q]

    with k the hat function, or the cubic of Keys with a = -1/2, which reproduces quadratics and
    has a continuous derivative.

    Args:
        grid: Shape (..., channels, *sizes), the last ``space`` axes being the grid.
        index: Positions in the order of the grid's axes, in pixels, 0 at the centre of the
            first, shape (..., points, space); its batch axes broadcast with the grid's.
        interpolation: "linear" or "cubic".
        border: "zeros": the grid is 0 outside; "periodic": it repeats.

    Returns:
        Shape (..., channels, points), dtype of the grid.

    Example:
        >>> row = torch.tensor([[0.0, 1.0, 4.0, 9.0]])
        >>> at = torch.tensor([[1.5], [2.0]])
        >>> interpolate(row, at, interpolation="linear", border="zeros")
        tensor([[2.5000, 4.0000]])

    Source: Keys 1981, Cubic convolution interpolation for digital image processing.
    """
    space = index.shape[-1]
    sizes = grid.shape[-space:]
    batch = torch.broadcast_shapes(grid.shape[: -space - 1], index.shape[:-2])
    channels = grid.shape[-space - 1]
    flat = grid.flatten(-space).expand(*batch, channels, math.prod(sizes))
    axes = [
        _taps(index[..., axis], sizes[axis], interpolation=interpolation, border=border)
        for axis in range(space)
    ]
    strides = [math.prod(sizes[axis + 1 :]) for axis in range(space)]
    total = flat.new_zeros(*batch, channels, index.shape[-2])
    for taps in product(*axes):
        where, weight = taps[0][0] * strides[0], taps[0][1]
        for stride, (at, factor) in zip(strides[1:], taps[1:], strict=True):
            where, weight = where + stride * at, weight * factor
        values = flat.gather(-1, where.unsqueeze(-2).expand(total.shape))
        total = total + weight.unsqueeze(-2).to(grid.dtype) * values
    return total


def _taps(
    position: Float[Tensor, "... points"],
    size: int,
    *,
    interpolation: Interpolation,
    border: Border,
) -> list[tuple[Int[Tensor, "... points"], Float[Tensor, "... points"]]]:
    """Neighbours along one axis and their weights, both of shape (..., points)."""
    base = position.floor()
    fraction = position - base
    first = base.long() + 1 - REACH[interpolation]
    taps = []
    for offset, weight in enumerate(_weights(fraction, interpolation)):
        index = first + offset
        if border == "periodic":
            taps.append((index.remainder(size), weight))
        else:
            inside = (index >= 0) & (index < size)
            taps.append((index.clamp(0, size - 1), torch.where(inside, weight, 0.0)))
    return taps


def _weights(f: Tensor, interpolation: Interpolation) -> list[Tensor]:
    """Weights of the neighbours from left to right, f in [0, 1) from the inner left one."""
    if interpolation == "linear":
        return [1 - f, f]
    return [
        ((-0.5 * f + 1.0) * f - 0.5) * f,
        (1.5 * f - 2.5) * f * f + 1,
        ((-1.5 * f + 2.0) * f + 0.5) * f,
        (0.5 * f - 0.5) * f * f,
    ]


def blur(grid: Grid, *, space: int, sigma_px: float, border: Border) -> Grid:
    """Isotropic Gaussian blur along the last axes.

        J[p] = Σ_q Π_a G(p_a - q_a) I[q],   G(d) ∝ exp(-d² / 2σ²),   Σ_d G(d) = 1

    Args:
        grid: Shape (..., *sizes).
        space: How many trailing axes are blurred.
        sigma_px: Standard deviation in pixels, positive.
        border: What lies outside, as in :func:`interpolate`.

    Returns:
        Shape of the grid.

    Example:
        >>> spike = torch.zeros(9, 9)
        >>> spike[4, 4] = 1.0
        >>> round(float(blur(spike, space=2, sigma_px=1.0, border="zeros").sum()), 3)
        1.0
    """
    for axis in range(-space, 0):
        kernel = _blur_matrix(grid.shape[axis], sigma_px, border).to(grid)
        grid = torch.movedim(torch.movedim(grid, axis, -1) @ kernel, -1, axis)
    return grid


def _blur_matrix(size: int, sigma_px: float, border: Border) -> Tensor:
    """G(i - j) for all pairs of indices, float64, symmetric, shape (size, size)."""
    reach = math.ceil(9 * sigma_px)
    distance = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (distance / sigma_px).square())
    weights = weights / weights.sum()
    start = torch.arange(size)[:, None].expand(-1, len(distance))
    end = start + distance.long()
    inside = torch.ones_like(end, dtype=torch.bool)
    if border == "periodic":
        end = end.remainder(size)
    else:
        inside = (end >= 0) & (end < size)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    values = torch.where(inside, weights, 0.0)
    return matrix.index_put_((start, end.clamp(0, size - 1)), values, accumulate=True)
