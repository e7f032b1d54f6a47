"""Terms without negatives: pure functions of matrices of embeddings, rows are samples."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.shapes import Float


def mean_squared_difference(u: Float[Tensor, "n d"], v: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean over rows *and* columns of (u - v)².

    Args:
        u: Shape (N, D); the moved side.
        v: Shape (N, D); no gradient is stopped on either side.

    Example:
        >>> float(mean_squared_difference(torch.zeros(2, 3), torch.full((2, 3), 2.0)))
        4.0

    Source: Garrido et al. 2023, invariance and equivariance terms.
    """
    return (u - v).square().mean()


def variance(u: Float[Tensor, "n d"], *, eps: float = 1e-4) -> Float[Tensor, ""]:
    """Hinge that keeps every column's standard deviation at 1 or more.

        V(u) = mean_j relu(1 - √(Var_j(u) + eps)),   Var with divisor N - 1

    Args:
        u: Shape (N, D), N >= 2.
        eps: Keeps the root differentiable at zero variance.

    Raises:
        ShapeError: Fewer than two rows.

    Example:
        >>> round(float(variance(torch.ones(4, 3))), 6)
        0.99

    Source: Bardes et al. 2022, eq. 1.
    """
    _check_rows(u)
    return torch.relu(1.0 - (u.var(0) + eps).sqrt()).mean()


def covariance(u: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Sum of squared covariances between different columns, divided by their number.

        C(u) = (1/D) Σ_{i≠j} Cov_ij(u)²,   Cov with divisor N - 1

    Args:
        u: Shape (N, D), N >= 2.

    Raises:
        ShapeError: Fewer than two rows.

    Example:
        >>> u = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> float(covariance(u))
        0.0

    Source: Bardes et al. 2022, eq. 3 and 4.
    """
    _check_rows(u)
    n, d = u.shape
    centered = u - u.mean(0)
    # |UᵀU|² = |UUᵀ|²: the smaller of the two Gram matrices is enough for the sum over all i, j.
    gram = centered.T @ centered if d <= n else centered @ centered.T
    diagonal = centered.square().sum(0)
    return (gram.square().sum() - diagonal.square().sum()) / ((n - 1) ** 2 * d)


def _check_rows(u: Tensor) -> None:
    if u.shape[0] < 2:
        raise ShapeError(
            expected="at least two rows, to estimate a variance",
            got=f"shape {tuple(u.shape)}",
            argument="u",
            advice="Use a larger batch.",
        )
