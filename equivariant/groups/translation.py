"""Translations of a vector, of a scalar for instance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.groups.base import Group
from equivariant.groups.numerics import axis_names, random_normal
from equivariant.shapes import Coordinates, Float, Matrix


@dataclass(frozen=True)
class Translation(Group):
    """Translations x ↦ x + t of n numbers, as unipotent matrices [[I, t], [0, 1]].

    The change of one hue is an element of ``Translation(1)``, a 2x2 matrix [[1, t], [0, 1]].

    Args:
        size: n, at least 1.

    Example:
        >>> Translation(1).exp(torch.tensor([0.25]))
        tensor([[1.0000, 0.2500],
                [0.0000, 1.0000]])
    """

    size: int = 1
    compact: ClassVar[bool] = False
    injectivity_radius: ClassVar[float] = math.inf

    @property
    def dim(self) -> int:
        return self.size

    @property
    def matrix_size(self) -> int:
        return self.size + 1

    def basis(self) -> Float[Tensor, "d n n"]:
        basis = torch.zeros(self.size, self.size + 1, self.size + 1, dtype=torch.float64)
        basis[:, :-1, -1] = torch.eye(self.size, dtype=torch.float64)
        return basis

    @property
    def direction_names(self) -> tuple[str, ...]:
        return tuple(f"shift {axis}" for axis in axis_names(self.size))

    def exp(self, coordinates: Coordinates) -> Matrix:
        eye = torch.eye(self.matrix_size, dtype=coordinates.dtype, device=coordinates.device)
        return eye + self.hat(coordinates)

    def log(self, g: Matrix) -> Coordinates:
        self.check_member(g)
        return g[..., :-1, -1]

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return self.exp(-g[..., :-1, -1])

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Normal translations of standard deviation ``scale``."""
        shift = scale * random_normal((*batch, self.size), generator=generator)
        return self.exp(shift)

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        return self.exp(matrix[..., :-1, -1])
