"""Crops of one region in different objects, found by corresponding coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.losses.synthesis.draws import uniform
from equivariant.shapes import Float, Int


@torch.no_grad()
def corresponding_crops(
    first: Float[Tensor, "batch n c"],
    second: Float[Tensor, "batch m c"],
    *,
    points: int,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "batch points"], Int[Tensor, "batch points"]]:
    """Points of two objects around one place, for each pair of a batch.

    A random point of the first object is the place. The crops are the points of either object
    that are nearest to it in coordinates in which objects correspond: canonical coordinates,
    those on a template, or values of functional maps.

    Args:
        first: Corresponding coordinates of the points of the first objects, shape (batch, n, c).
        second: The same of their partners, shape (batch, m, c).
        points: Points of a crop, in [1, min(n, m)].
        generator: Of the places, on the CPU.

    Returns:
        Indices of the points of both crops, nearest first, shape (batch, points), int64.

    Raises:
        ShapeError: The batches or coordinates do not fit, or a crop has more points than there are.

    Example:
        >>> x = torch.tensor([[[0.0], [1.0], [2.0], [3.0]]])
        >>> a, b = corresponding_crops(x, x + 0.1, points=2)
        >>> bool((a == b).all())
        True

    Source: Jiang et al. 2023 (Alice), views of the same anatomy in different volumes.
    """
    fits = first.ndim == second.ndim == 3 and first.shape[::2] == second.shape[::2]
    if not fits or not 1 <= points <= min(first.shape[1], second.shape[1]):
        raise ShapeError(
            expected=f"coordinates (batch, n, c) and (batch, m, c), n and m at least {points} >= 1",
            got=f"shapes {tuple(first.shape)} and {tuple(second.shape)}", argument="second",
            advice="Pass partners in the order of the first objects.",
        )  # fmt: skip
    u = uniform(first.shape[:1], like=first, generator=generator)
    place = (u * first.shape[1]).long()
    rows = torch.arange(len(first), device=first.device)
    center = first[rows, place][:, None]
    a, b = (
        (side - center).square().sum(2).sort(dim=1, stable=True).indices for side in (first, second)
    )
    return a[:, :points], b[:, :points]
