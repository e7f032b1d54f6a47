"""Terms without negatives: pure functions of matrices of embeddings, rows are samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from equivariant.losses.checks import check_paired, check_positive, check_rows
from equivariant.losses.contrast.core import contrast
from equivariant.losses.contrast.pairs import NoPositives
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import NegativeSquaredDistance, unit
from equivariant.losses.wide_arithmetic import in_full_precision
from equivariant.shapes import Float


def mean_squared_difference(u: Float[Tensor, "n d"], v: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean over rows *and* columns of (u - v)².

    Args:
        u: Shape (N, D); the moved side.
        v: Shape (N, D); no gradient is stopped on either side.

    Raises:
        ShapeError: The shapes differ.

    Example:
        >>> float(mean_squared_difference(torch.zeros(2, 3), torch.full((2, 3), 2.0)))
        4.0

    Source: Garrido et al. 2023, invariance and equivariance terms.
    """
    check_paired(u, v)
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
    check_rows(u)
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
    check_rows(u)
    n, d = u.shape
    centered = u - u.mean(0)
    if d <= n or u.device.type == "mps":  # which has no float64
        gram = centered.T @ centered
        others = (gram - torch.diag(gram.diagonal())).square().sum()
    else:
        # |UᵀU|² = |UUᵀ|², and N² numbers are fewer than D². The variances are then subtracted
        # from the sum over all i, j, most of which they can be: in float64.
        wide = centered.double()
        others = (wide @ wide.T).square().sum() - wide.square().sum(0).square().sum()
    return (others / ((n - 1) ** 2 * d)).to(u.dtype)


@in_full_precision
def cross_correlation(
    u: Float[Tensor, "n d"],
    v: Float[Tensor, "m d"],
    *,
    redundancy: float = 5e-3,
    scale: float = 1.0,
    eps: float = 1e-5,
) -> Float[Tensor, ""]:
    """Pull the correlations between equal columns of two views to 1 and all others to 0.

        L = scale · [ Σ_i (1 - C_ii)² + redundancy · Σ_{i≠j} C_ij² ],   C = ûᵀv̂ / N

    û has the columns of u, centred by their mean over the batch and divided by √(Var + eps) with
    divisor N: a batch norm without affine part in front, as in the method's code. C_ii of equal
    views is therefore Var/(Var + eps), a little below 1. Memory is the smaller of D² and N².

    Args:
        u: Shape (N, D), N >= 2. Half precision is computed in float32, here and below.
        v: Shape (N, D); row i is the other view of row i of u.
        redundancy: λ, the weight of the correlations that should vanish, >= 0.
        scale: Factor of the whole; 0.025 makes the term commensurate with InfoNCE for D near 8192.
        eps: Added to variances, so a constant column has correlation 0.

    Returns:
        A scalar.

    Raises:
        ShapeError: Fewer than two rows, or u and v differ in shape.

    Example:
        >>> u = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> round(float(cross_correlation(u, u)), 6), round(float(cross_correlation(u, -u)), 3)
        (0.0, 8.0)

    Source: Zbontar et al. 2021, eq. 1 and 2.
    """
    check_paired(u, v)
    check_rows(u)
    n, d = u.shape
    left, right = _standardize(u, eps), _standardize(v, eps)
    own = (left * right).mean(0)
    if d <= n:
        others = (left.T @ right / n - torch.diag(own)).square().sum()
    else:  # |ûᵀv̂|² = ⟨ûûᵀ, v̂v̂ᵀ⟩
        squares = ((left @ left.T) * (right @ right.T)).sum()
        others = squares / n**2 - own.square().sum()
    return scale * ((1.0 - own).square().sum() + redundancy * others)


@in_full_precision
def alignment(
    u: Float[Tensor, "n d"], v: Float[Tensor, "m d"], *, power: float = 2.0
) -> Float[Tensor, ""]:
    """Mean distance of matching rows on the unit sphere, to a power.

        A(u, v) = mean_i |û_i - v̂_i|^power,   û = u/|u|

    Args:
        u: Shape (N, D), N >= 1; rows are normalized here, a zero row stays zero.
        v: Shape (N, D); row i matches row i of u.
        power: Above 0. Below 2 the gradient at coincident rows is set to 0.

    Returns:
        A scalar >= 0.

    Raises:
        ShapeError: No rows, or u and v differ in shape.
        ConventionError: The power is not positive.

    Example:
        >>> float(alignment(torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0]])))
        4.0

    Source: Wang & Isola 2020, sec. 4.1.1.
    """
    check_paired(u, v)
    check_rows(u, 1)
    check_positive(power, "power", "The usual power is 2.")
    left, right = unit(u), unit(v)
    square = (left - right).square().sum(1)
    if power == 2:
        return square.mean()
    apart = ~(square <= 0)  # so for NaN, which goes through
    return torch.where(apart, torch.where(apart, square, 1.0) ** (power / 2), 0.0).mean()


@in_full_precision
def uniformity(u: Float[Tensor, "n d"], *, t: float = 2.0) -> Float[Tensor, ""]:
    """Logarithm of the mean Gaussian potential of all pairs of different rows.

        U(u) = log mean_{i<j} exp(-t |û_i - û_j|²)

    The mean is over all pairs of the batch at once, not per row. 0 when all rows coincide;
    lower is more spread out. Finite for any t, with duplicates and with zero rows.

    Args:
        u: Shape (N, D), N >= 2; rows are normalized here, a zero row stays zero.
        t: Inverse width, above 0.

    Returns:
        A scalar <= 0.

    Raises:
        ShapeError: Fewer than two rows.
        ConventionError: t is not positive.

    Example:
        >>> float(uniformity(torch.tensor([[1.0, 0.0], [-3.0, 0.0]])))
        -8.0

    Source: Wang & Isola 2020, sec. 4.1.2.
    """
    check_rows(u)
    return _log_potential(u, u, t)


@in_full_precision
def cross_uniformity(
    u: Float[Tensor, "n d"], v: Float[Tensor, "m d"], *, t: float = 2.0
) -> Float[Tensor, ""]:
    """Logarithm of the mean Gaussian potential of all pairs that do not match.

        U(u, v) = log mean_{i≠j} exp(-t |û_i - v̂_j|²)

    Args:
        u: Shape (N, D), N >= 2; for example one modality.
        v: Shape (N, D), the other; row i matches row i of u and is left out.
        t: Inverse width, above 0.

    Returns:
        A scalar <= 0.

    Raises:
        ShapeError: Fewer than two rows, or u and v differ in shape.
        ConventionError: t is not positive.

    Example:
        >>> u = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> float(cross_uniformity(u, u)), float(cross_uniformity(u, -u))
        (-8.0, 0.0)

    Source: Fahim et al. 2024, cross-modal uniformity.
    """
    check_paired(u, v)
    check_rows(u)
    return _log_potential(u, v, t)


def _standardize(u: Tensor, eps: float) -> Tensor:
    centered = u - u.mean(0)
    return centered * (centered.square().mean(0) + eps).rsqrt()


def _log_potential(u: Tensor, v: Tensor, t: float) -> Tensor:
    check_positive(t, "t", "The usual value is 2.")
    rows = contrast(
        Side.of(u), Side.of(v), NoPositives().not_self(), tau=1.0 / t,
        similarity=NegativeSquaredDistance(unit=True), pull="none", push="lme",
    ).per_anchor  # fmt: skip
    return rows.logsumexp(0) - math.log(len(rows))
