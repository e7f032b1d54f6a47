"""Nearest neighbours within a cloud, in space or in feature space."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.shapes import Float, Int

EXACT_CHANNELS = 16


def nearest_neighbors(
    x: Float[Tensor, "batch points channels"], count: int
) -> Int[Tensor, "batch points count"]:
    """The nearest points of every point of a cloud, nearest first.

        index[b, i] = the count points j of smallest |x_bj - x_bi|, by (distance, j)

    A point is its own neighbour, at distance zero. Equal distances are told apart by the index,
    so the result is a function of x alone. Up to 16 channels the differences are formed
    directly; above, distances come from |u|² + |v|² - 2 u·v, several times faster and less
    exact between points far closer to one another than to the origin.

    Args:
        x: Positions or features, shape (batch, points, channels).
        count: Neighbours of each point, itself included, in [1, points].

    Returns:
        Indices into the points, shape (batch, points, count), int64. No gradient flows.

    Raises:
        ShapeError: x has not three axes, or fewer points than ``count``, or count < 1.

    Example:
        >>> x = torch.tensor([[[0.0], [1.0], [3.0]]])
        >>> nearest_neighbors(x, 2).tolist()
        [[[0, 1], [1, 0], [2, 1]]]

    Source: the graph of Wang et al. 2019, section 3.1.
    """
    if x.ndim != 3 or not 1 <= count <= x.shape[1]:
        raise ShapeError(
            expected=f"clouds of shape (batch, points, channels), at least {max(count, 1)} points",
            got=f"shape {tuple(x.shape)} and count {count}",
            argument="x",
            advice="Take more points or fewer neighbours, at least 1.",
        )
    points = x.shape[1]
    exact = x.shape[2] <= EXACT_CHANNELS
    mode = "donot_use_mm_for_euclid_dist" if exact else "use_mm_for_euclid_dist_if_necessary"
    with torch.no_grad():
        wide = x if x.dtype == torch.float64 else x.float()
        distance = torch.cdist(wide, wide, compute_mode=mode)
        if distance.dtype == torch.float64:
            return distance.sort(dim=-1, stable=True).indices[..., :count]
        # Floats that are not negative are ordered as their bits are: one integer holds
        # (distance, index), and no two are equal.
        bits = distance.view(torch.int32).long()
        keys = (bits << 32) | torch.arange(points, device=x.device)
        nearest = keys.topk(count, dim=-1, largest=False, sorted=True).values
        return nearest & 0xFFFFFFFF


def gather_points(
    x: Float[Tensor, "batch points *features"], index: Int[Tensor, "batch points count"]
) -> Float[Tensor, "batch points count *features"]:
    """Features of the neighbours: ``out[b, i, k] = x[b, index[b, i, k]]``.

    Args:
        x: Features of the points, shape (batch, points, ...).
        index: Neighbours, shape (batch, points, count), int64.

    Returns:
        Shape (batch, points, count, ...).

    Example:
        >>> x = torch.tensor([[[0.0], [1.0], [3.0]]])
        >>> gather_points(x, nearest_neighbors(x, 2)).squeeze(-1).tolist()
        [[[0.0, 1.0], [1.0, 0.0], [3.0, 1.0]]]
    """
    batch, points = x.shape[:2]
    first = points * torch.arange(batch, device=x.device)[:, None, None]
    flat = x.flatten(0, 1).index_select(0, (index + first).flatten())
    return flat.reshape(*index.shape, *x.shape[2:])


def check_clouds(clouds: Tensor, *, least: int = 1) -> None:
    """Raise ShapeError unless clouds are (batch, points, 3) with enough points.

    Args:
        clouds: What a network was given.
        least: Smallest number of points it can work with.

    Raises:
        ShapeError: Another number of axes, a last axis that is not 3, or too few points.

    Example:
        >>> check_clouds(torch.zeros(2, 3, 100))
        Traceback (most recent call last):
        ...
        equivariant.errors.ShapeError: clouds: expected clouds of shape (batch, points, 3) with \
at least 1 points, got shape (2, 3, 100). Coordinates come last; take more points or fewer \
neighbours.
    """
    if clouds.ndim != 3 or clouds.shape[2] != 3 or clouds.shape[1] < least:
        raise ShapeError(
            expected=f"clouds of shape (batch, points, 3) with at least {least} points",
            got=f"shape {tuple(clouds.shape)}",
            argument="clouds",
            advice="Coordinates come last; take more points or fewer neighbours.",
        )
