"""Wigner matrices: how real harmonics of one degree mix under a rotation."""

from __future__ import annotations

from functools import lru_cache

import torch
from e3nn.o3 import spherical_harmonics
from torch import Tensor

from equivariant.shapes import Float, Rotation


def wigner_d(degree: int, rotation: Rotation) -> Float[Tensor, "... m m"]:
    """Matrix D of one degree with Y(R x) = D(R) Y(x) for e3nn's real spherical harmonics Y.

    Args:
        degree: l, at least 0.
        rotation: Shape (..., 3, 3).

    Returns:
        Shape (..., 2l+1, 2l+1), orthogonal.

    Example:
        >>> wigner_d(1, torch.eye(3))
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    if degree == 0:
        return torch.ones_like(rotation[..., :1, :1])
    if degree == 1:
        return rotation
    points, inverse = _interpolation(degree)
    turned = points.to(rotation) @ rotation.transpose(-1, -2)
    harmonics: Tensor = spherical_harmonics(degree, turned, normalize=False)
    return (inverse.to(rotation) @ harmonics).transpose(-1, -2)


@lru_cache(maxsize=64)
def _interpolation(degree: int) -> tuple[Tensor, Tensor]:
    """Fixed points (p, 3) on the sphere and the inverse (2l+1, p) of Y on them, float64."""
    count = 6 * degree + 4
    k = torch.arange(count, dtype=torch.float64) + 0.5
    height, azimuth = 1 - 2 * k / count, torch.pi * (1 + 5**0.5) * k
    radius = (1 - height.square()).sqrt()
    points = torch.stack([radius * azimuth.cos(), height, radius * azimuth.sin()], -1)
    harmonics = spherical_harmonics(degree, points, normalize=False)
    return points, torch.linalg.pinv(harmonics)
