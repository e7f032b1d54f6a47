"""Rotations of the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.groups.base import Group
from equivariant.groups.membership import orthogonality_defect
from equivariant.groups.nearest_orthogonal import nearest_orthogonal
from equivariant.groups.numerics import random_normal
from equivariant.groups.reductive import Reductive
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class SO2(Reductive):
    """Rotations of the plane; the one coordinate is the angle in radians, counter-clockwise.

    Example:
        >>> quarter = SO2().exp(torch.tensor([torch.pi / 2], dtype=torch.float64))
        >>> (quarter @ torch.tensor([1.0, 0.0], dtype=torch.float64)).round(decimals=9)
        tensor([0., 1.], dtype=torch.float64)
    """

    compact: ClassVar[bool] = True
    dim: ClassVar[int] = 1
    matrix_size: ClassVar[int] = 2
    space_dim: ClassVar[int] = 2
    orthogonal_dim: ClassVar[int] = 2
    preserves_lengths: ClassVar[bool] = True
    direction_names: ClassVar[tuple[str, ...]] = ("turn",)

    @property
    def orthogonal_subgroup(self) -> Group:
        return self

    def stretches(self) -> Float[Tensor, "k n"]:
        return torch.zeros(0, 2, dtype=torch.float64)

    def basis(self) -> Float[Tensor, "d n n"]:
        return torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)

    def exp(self, coordinates: Coordinates) -> Matrix:
        self.check_coordinates(coordinates)
        cos, sin = coordinates[..., 0].cos(), coordinates[..., 0].sin()
        return torch.stack([cos, -sin, sin, cos], -1).reshape(*cos.shape, 2, 2)

    def log(self, g: Matrix) -> Coordinates:
        """The angle in (-π, π]."""
        self.check_member(g)
        return torch.atan2(g[..., 1, 0], g[..., 0, 0]).unsqueeze(-1)

    def defect(self, g: Matrix) -> Scalar:
        return orthogonality_defect(g, special=True)

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return g.transpose(-1, -2)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        direction = random_normal((*batch, 2), generator=generator)
        angle = torch.atan2(direction[..., 1:], direction[..., :1])
        return self.exp(angle)

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        return nearest_orthogonal(matrix, special=True)
