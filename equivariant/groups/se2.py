"""Rigid motions of the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.groups.affine import Affine
from equivariant.groups.base import Group
from equivariant.groups.membership import affine_defect, orthogonality_defect
from equivariant.groups.numerics import near_zero, random_normal
from equivariant.groups.so2 import SO2
from equivariant.shapes import Coordinates, Float, Matrix, Scalar

_SO2 = SO2()
# Power series in t = θ²: sin θ / θ and (1 - cos θ) / θ².
_SINC = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880)
_COSC = (1 / 2, -1 / 24, 1 / 720, -1 / 40320, 1 / 3628800)


@dataclass(frozen=True)
class SE2(Group):
    """Rigid motions x ↦ R x + p of the plane as 3x3 matrices [[R, p], [0, 1]].

    Coordinates are (θ, v): the angle in radians, counter-clockwise, then the translational
    velocity in the unit of length.

        exp(θ, v) = [[R(θ), J v], [0, 1]],   J = [[a, -b], [b, a]],
        a = sin θ / θ,   b = (1 - cos θ) / θ

    Example:
        >>> x = torch.tensor([torch.pi, 1.0, 2.0], dtype=torch.float64)
        >>> bool(torch.allclose(SE2().log(SE2().exp(x)), x, atol=1e-14))
        True
    """

    compact: ClassVar[bool] = False
    dim: ClassVar[int] = 3
    matrix_size: ClassVar[int] = 3
    space_dim: ClassVar[int] = 2
    orthogonal_dim: ClassVar[int] = 2
    preserves_lengths: ClassVar[bool] = True
    direction_names: ClassVar[tuple[str, ...]] = ("turn", "shift x", "shift y")

    @property
    def linear_group(self) -> Group:
        return _SO2

    def basis(self) -> Float[Tensor, "d n n"]:
        basis = torch.zeros(3, 3, 3, dtype=torch.float64)
        basis[0, :2, :2] = _SO2.basis()[0]
        basis[1:, :2, 2] = torch.eye(2, dtype=torch.float64)
        return basis

    def exp(self, coordinates: Coordinates) -> Matrix:
        self.check_coordinates(coordinates)
        angle, v = coordinates[..., :1], coordinates[..., 1:]
        a, b = _jacobian(angle)
        return Affine.join(_SO2.exp(angle), a * v + b * _quarter(v))

    def log(self, g: Matrix) -> Coordinates:
        """The angle in (-π, π] and J⁻¹ p."""
        self.check_member(g)
        angle = _SO2.log(g[..., :2, :2])
        a, b = _jacobian(angle)
        p = g[..., :2, 2]
        return torch.cat([angle, (a * p - b * _quarter(p)) / (a * a + b * b)], -1)

    def defect(self, g: Matrix) -> Scalar:
        return affine_defect(g, orthogonality_defect(g[..., :2, :2], special=True))

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        back = g[..., :2, :2].transpose(-1, -2)
        return Affine.join(back, -(back @ g[..., :2, 2:]).squeeze(-1))

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Haar-uniform rotations and independent normal translations of deviation ``scale``."""
        rotation = _SO2.draw(batch, generator=generator)
        return Affine.join(rotation, scale * random_normal((*batch, 2), generator=generator))

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        return Affine.join(_SO2.project(matrix[..., :2, :2]), matrix[..., :2, 2])


def _jacobian(angle: Tensor) -> tuple[Tensor, Tensor]:
    """sin θ / θ and (1 - cos θ) / θ, shape of the angle."""
    t = angle.square()
    a = near_zero(t, threshold=0.01, series=_SINC, otherwise=lambda t: t.sqrt().sin() / t.sqrt())
    c = near_zero(t, threshold=0.01, series=_COSC, otherwise=lambda t: (1 - t.sqrt().cos()) / t)
    return a, c * angle


def _quarter(v: Tensor) -> Tensor:
    """v turned counter-clockwise by a quarter."""
    return torch.stack([-v[..., 1], v[..., 0]], -1)
