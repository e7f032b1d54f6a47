"""Quadrature on the sphere that is exact for harmonics, and tables of harmonics on its points."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from equivariant.harmonics.real_harmonics import (
    Kind,
    Normalization,
    check_degree,
    degree_scales,
    real_harmonics,
)
from equivariant.shapes import Float


def sphere_grid(exact: int) -> tuple[Float[Tensor, "points 3"], Float[Tensor, " points"]]:
    """Points and weights that integrate every polynomial up to a degree over the sphere.

    Gauss-Legendre nodes in cos β times equal steps in α: ⌈(exact+1)/2⌉ rows of exact+1 points.
    No row lies on a pole.

    Args:
        exact: Degree, at least 0. The integral of a product of three harmonics of degrees
            l1, l2 and l3 needs l1 + l2 + l3.

    Returns:
        Points, shape (points, 3), and weights, shape (points,), both float64; the weights are
        positive and sum to 4π.

    Raises:
        ConventionError: The degree is negative.

    Example:
        >>> points, weights = sphere_grid(6)
        >>> len(points), round(float(weights.sum() / torch.pi), 12)
        (28, 4.0)
    """
    check_degree(exact, "exact")
    nodes, row_weights = np.polynomial.legendre.leggauss((exact + 2) // 2)
    height, row_weight = torch.from_numpy(nodes), torch.from_numpy(row_weights)
    count = exact + 1
    azimuth = torch.arange(count, dtype=torch.float64, device="cpu") * (2 * math.pi / count)
    radius = ((1 - height) * (1 + height)).sqrt()[:, None]
    heights = height[:, None].expand(-1, count)
    points = torch.stack([radius * azimuth.sin(), heights, radius * azimuth.cos()], -1)
    weights = (row_weight[:, None] * (2 * math.pi / count)).expand(-1, count)
    return points.reshape(-1, 3), weights.flatten()


def gradient_tables(
    degree: int, points: Float[Tensor, "points 3"], harmonics: Float[Tensor, "points n"]
) -> tuple[Float[Tensor, "points n"], Float[Tensor, "points n"]]:
    """Both components of the surface gradient of every harmonic, off the poles.

        ∂_β Y_lm = (l cos β Y_lm − √((2l+1)(l²−m²)/(2l−1)) Y_{l−1,m}) / sin β
        (1/sin β) ∂_α Y_lm = −m Y_{l,−m} / sin β

    Args:
        degree: Largest l, at least 0.
        points: Unit vectors, shape (points, 3), float64, none on the y axis.
        harmonics: Their harmonics with ∫Y² = 1, shape (points, (degree+1)²), float64.

    Returns:
        ∂_β Y and (1/sin β) ∂_α Y, each of the shape of ``harmonics``.

    Example:
        >>> points, _ = sphere_grid(2)
        >>> gradient_tables(0, points, real_harmonics(0, points))[0].abs().max().item()
        0.0
    """
    cosine = points[:, 1]
    sine = ((1 - cosine) * (1 + cosine)).sqrt()
    along, around = [], []
    for n in range(degree + 1):
        for m in range(-n, n + 1):
            here = n * n + n + m
            slope = n * cosine * harmonics[:, here]
            if abs(m) < n:
                factor = math.sqrt((2 * n + 1) * (n * n - m * m) / (2 * n - 1))
                slope = slope - factor * harmonics[:, (n - 1) * n + m]
            along.append(slope / sine)
            around.append(-m * harmonics[:, here - 2 * m] / sine)
    return torch.stack(along, -1), torch.stack(around, -1)


@lru_cache(maxsize=256)
def grid_tables(
    degree: int,
    exact: int,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Everything that a product needs of one operand on one grid, built in float64 and kept.

    Args:
        degree: Largest l of the operand, at least 0.
        exact: Degree that the grid integrates, at least 0.
        normalization: See :func:`real_harmonics`.
        dtype: Of the result.
        device: Of the result.

    Returns:
        Y, ∂_β Y and (1/sin β) ∂_α Y, shape ((degree+1)², points), and the projection w_p Y(p),
        shape (points, (degree+1)²), where the weights w sum to 4π for "integral" and to 1 for
        the others. They are shared: do not write into them.

    Example:
        >>> settings = ("integral", torch.float64, torch.device("cpu"))
        >>> values, _, _, projection = grid_tables(3, 6, *settings)
        >>> bool(torch.allclose(values @ projection, torch.eye(16, dtype=torch.float64)))
        True
    """
    with torch.inference_mode(False), torch.no_grad():
        points, weights = sphere_grid(exact)
        harmonics = real_harmonics(degree, points)
        along, around = gradient_tables(degree, points, harmonics)
        scales = degree_scales(degree, normalization)
        if normalization != "integral":
            weights = weights / (4 * math.pi)
        values, along, around = ((table * scales).T for table in (harmonics, along, around))
        tables = (values, along, around, weights[:, None] * values.T)
        first, second, third, last = (t.contiguous().to(device, dtype) for t in tables)
        return first, second, third, last


@lru_cache(maxsize=64)
def dense_table(
    degrees: tuple[int, int, int],
    kind: Kind,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """The whole form as one matrix, built in float64 by quadrature and kept.

    Args:
        degrees: Largest l of both operands and of the result, at least 0.
        kind: "even", ∫ Y_a Y_b Y_c, or "odd", ∫ {Y_a, Y_b} Y_c.
        normalization: See :func:`real_harmonics`.
        dtype: Of the result.
        device: Of the result.

    Returns:
        Shape ((L1+1)² (L2+1)², (L3+1)²). It is shared: do not write into it.

    Example:
        >>> settings = ("integral", torch.float64, torch.device("cpu"))
        >>> dense_table((1, 1, 2), "even", *settings).shape
        torch.Size([16, 9])
    """
    cpu = torch.device("cpu")
    tables = [grid_tables(d, sum(degrees), normalization, torch.float64, cpu) for d in degrees]
    with torch.inference_mode(False), torch.no_grad():
        (y1, b1, a1, _), (y2, b2, a2, _), (_, _, _, projection) = tables
        if kind == "even":
            pairs = y1[:, None] * y2
        else:
            pairs = b1[:, None] * a2 - a1[:, None] * b2
        return (pairs @ projection).flatten(0, 1).to(device, dtype)
