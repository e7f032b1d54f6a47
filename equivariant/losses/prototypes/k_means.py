"""Clusters by nearest centres."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.losses.checks import check_count
from equivariant.shapes import Float, Int


@torch.no_grad()
def k_means(
    x: Float[Tensor, "n d"], count: int, *, generator: torch.Generator, rounds: int = 20
) -> Int[Tensor, " n"]:
    """Clusters of rows by Lloyd's rounds from random rows.

        a_i = argmin_c |x_i - μ_c|,    μ_c = mean of the rows of cluster c

    Σ_i |x_i - μ_(a_i)|² does not rise from round to round. A cluster that loses all rows keeps its
    centre.

    Args:
        x: Rows, shape (N, D); unit vectors for clusters by cosine.
        count: Number of clusters, in [1, N].
        generator: Of the first centres, on the CPU.
        rounds: At least 1.

    Returns:
        Cluster of each row, shape (N,), int64, from 0 to count - 1; some may be empty.

    Raises:
        ShapeError: There are fewer rows than clusters.
        ConventionError: No cluster or no round.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
        >>> a = k_means(x, 2, generator=torch.Generator().manual_seed(0))
        >>> bool(a[0] == a[1] != a[2] == a[3])
        True

    Source: Lloyd 1982.
    """
    check_count(count, "count", "Pass the number of clusters.")
    check_count(rounds, "rounds", "Twenty are usual.")
    if len(x) < count:
        raise ShapeError(
            expected=f"at least {count} rows, one for each cluster",
            got=f"shape {tuple(x.shape)}", argument="x", advice="Ask for fewer clusters.",
        )  # fmt: skip
    first = torch.randperm(len(x), generator=generator)[:count].to(x.device)
    centers = x[first].clone()
    for _ in range(rounds):
        nearest = torch.cdist(x, centers).argmin(1)
        for c in nearest.unique().tolist():
            centers[c] = x[nearest == c].mean(0)
    return torch.cdist(x, centers).argmin(1)
