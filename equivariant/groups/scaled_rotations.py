"""Rotations times a scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.base import Group
from equivariant.groups.membership import determinant, orthogonality_defect
from equivariant.groups.numerics import random_normal
from equivariant.groups.reductive import Reductive
from equivariant.groups.so2 import SO2
from equivariant.groups.so3 import SO3
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class ScaledRotations(Reductive):
    """Rotations of the plane or of space times a positive scale, matrices e^s R.

    Coordinates are (w, s): those of the rotation in radians, then the logarithm of the scale.
    With translations it is :class:`Sim`.

        exp(w, s) = e^s exp(w)

    Args:
        size: 2 or 3.

    Raises:
        ConventionError: The size is another.

    Example:
        >>> g = ScaledRotations(2).exp(torch.tensor([torch.pi / 2, 0.0], dtype=torch.float64))
        >>> g.round(decimals=9) + 0.0
        tensor([[ 0., -1.],
                [ 1.,  0.]], dtype=torch.float64)
    """

    size: int
    compact: ClassVar[bool] = False
    preserves_lengths: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.size not in (2, 3):
            raise ConventionError(
                expected="2 or 3", got=str(self.size), argument="size",
                advice="ScaledRotations(2) acts on the plane, ScaledRotations(3) on space.",
            )  # fmt: skip

    @property
    def orthogonal_subgroup(self) -> Group:
        return SO2() if self.size == 2 else SO3()

    @property
    def dim(self) -> int:
        return self.orthogonal_subgroup.dim + 1

    @property
    def matrix_size(self) -> int:
        return self.size

    @property
    def space_dim(self) -> int:
        return self.size

    @property
    def orthogonal_dim(self) -> int:
        return self.size

    @property
    def direction_names(self) -> tuple[str, ...]:
        return (*self.orthogonal_subgroup.direction_names, "grow")

    def basis(self) -> Float[Tensor, "d n n"]:
        eye = torch.eye(self.size, dtype=torch.float64)
        return torch.cat([self.orthogonal_subgroup.basis(), eye[None]])

    def stretches(self) -> Float[Tensor, "k n"]:
        return torch.full((1, self.size), self.size**-0.5, dtype=torch.float64)

    def exp(self, coordinates: Coordinates) -> Matrix:
        self.check_coordinates(coordinates)
        rotation = self.orthogonal_subgroup.exp(coordinates[..., :-1])
        return coordinates[..., -1, None, None].exp() * rotation

    def log(self, g: Matrix) -> Coordinates:
        self.check_member(g)
        scale = self._scale(g)
        turn = self.orthogonal_subgroup.log(g / scale[..., None, None])
        return torch.cat([turn, scale.log().unsqueeze(-1)], -1)

    def defect(self, g: Matrix) -> Scalar:
        """Of the rotation: the matrix over its scale."""
        scale = self._scale(g)
        positive = torch.where(scale > 0, scale, 1.0)[..., None, None]
        return orthogonality_defect(g / positive, special=True)

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return g.transpose(-1, -2) / self._scale(g).square()[..., None, None]

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Haar-uniform rotations; normal s of standard deviation ``scale``."""
        rotation = self.orthogonal_subgroup.draw(batch, generator=generator)
        return (scale * random_normal((*batch, 1, 1), generator=generator)).exp() * rotation

    def project(self, matrix: Matrix) -> Matrix:
        """Nearest element: R nearest to the matrix M, scale tr(Rᵀ M) / n.

        Where the trace is not positive the nearest point is no element; the scale is then √ε.
        """
        self.check_element(matrix, "matrix")
        rotation = self.orthogonal_subgroup.project(matrix)
        scale = (rotation * matrix).sum((-2, -1), keepdim=True) / self.size
        least = torch.finfo(matrix.dtype).eps ** 0.5
        return scale.clamp(min=least) * rotation

    def _scale(self, g: Tensor) -> Tensor:
        """e^s = det(g)^(1/n), shape (...)."""
        return determinant(g).abs() ** (1 / self.size)
