"""Rotations and reflections of space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.base import Group
from equivariant.groups.membership import (
    determinant,
    numbers_are_known,
    orthogonality_defect,
)
from equivariant.groups.nearest_orthogonal import nearest_orthogonal
from equivariant.groups.reductive import Reductive
from equivariant.groups.so3 import SO3
from equivariant.shapes import Coordinates, Float, Matrix, Scalar

_SO3 = SO3()


@dataclass(frozen=True)
class O3(Reductive):
    """Orthogonal matrices of space: rotations, and rotations times the inversion -I.

    The Lie algebra is that of SO(3); its exponential reaches the rotations only.

    Example:
        >>> g = O3().sample(1000, generator=torch.Generator().manual_seed(0))
        >>> 0.4 < float((torch.linalg.det(g) > 0).double().mean()) < 0.6
        True
    """

    compact: ClassVar[bool] = True
    dim: ClassVar[int] = 3
    matrix_size: ClassVar[int] = 3
    space_dim: ClassVar[int] = 3
    orthogonal_dim: ClassVar[int] = 3
    preserves_lengths: ClassVar[bool] = True
    direction_names: ClassVar[tuple[str, ...]] = ("turn x", "turn y", "turn z")

    @property
    def orthogonal_subgroup(self) -> Group:
        return self

    def stretches(self) -> Float[Tensor, "k n"]:
        return torch.zeros(0, 3, dtype=torch.float64)

    def basis(self) -> Float[Tensor, "d n n"]:
        return _SO3.basis()

    def exp(self, coordinates: Coordinates) -> Matrix:
        return _SO3.exp(coordinates)

    def log(self, g: Matrix) -> Coordinates:
        """Rotation vector of a rotation.

        Raises:
            ConventionError: An element reverses orientation: it has no logarithm.
        """
        self.check_member(g)
        if numbers_are_known(g) and bool((determinant(g.detach()) < 0).any()):
            raise ConventionError(
                expected="elements of determinant +1",
                got="an element that reverses orientation",
                argument="g",
                advice="Split off the inversion first: -g is a rotation and has a logarithm.",
            )
        return _SO3.log(g)

    def special_elements(self) -> dict[str, Matrix]:
        """Half turns, the inversion -I, and the mirrors of the coordinate planes."""
        turns = super().special_elements()
        mirrors = {name.replace("half turn", "mirror"): 0.0 - g for name, g in turns.items()}
        return {**turns, "inversion": -self.identity(), **mirrors}

    def discrete_generators(self) -> Matrix:
        """The inversion -I."""
        return -self.identity(1)

    def without(self) -> dict[str, Callable[[Matrix], Matrix]]:
        """Without reflections: the rotation that is left when the inversion is split off."""
        return {"reflections": lambda g: torch.linalg.det(g).sign()[..., None, None] * g}

    def defect(self, g: Matrix) -> Scalar:
        return orthogonality_defect(g, special=False)

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return g.transpose(-1, -2)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        rotation = _SO3.draw(batch, generator=generator)
        sign = 2.0 * torch.randint(2, (*batch, 1, 1), generator=generator).double() - 1.0
        return sign * rotation

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        return nearest_orthogonal(matrix, special=False)

    def distance(self, a: Matrix, b: Matrix) -> Scalar:
        """Angle of a⁻¹ b; infinite between a rotation and a reflection, which no path joins."""
        self.check_member(a, "a")
        self.check_member(b, "b")
        relative = self.inverse(a) @ b
        orientation = determinant(relative.detach()).sign()
        angle = _SO3.distance(_SO3.identity().to(relative), orientation[..., None, None] * relative)
        return torch.where(orientation > 0, angle, torch.inf)
