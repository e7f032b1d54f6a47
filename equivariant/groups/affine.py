"""Affine motions, and the named directions of the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.groups.base import Group
from equivariant.groups.linear import GL, check_size
from equivariant.groups.logarithm import principal_log
from equivariant.groups.membership import affine_defect
from equivariant.groups.numerics import at_least_single, axis_names, random_normal
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class Affine(Group):
    """Maps x ↦ A x + t of n-space with det A > 0, as matrices [[A, t], [0, 1]].

    Coordinates are the n² entries of the linear part of the algebra's matrix, row by row, then
    the n of the translational velocity.

        exp(a, v) = expm [[a, v], [0, 0]],   log = the principal logarithm

    Args:
        size: n, at least 1.

    Raises:
        ConventionError: n is less than 1.

    Example:
        >>> x = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.5, -1.0], dtype=torch.float64)
        >>> Affine(2).exp(x)
        tensor([[ 1.0000,  0.0000,  0.5000],
                [ 0.0000,  1.0000, -1.0000],
                [ 0.0000,  0.0000,  1.0000]], dtype=torch.float64)
    """

    size: int
    compact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_size(self.size)

    @property
    def dim(self) -> int:
        return self.size * (self.size + 1)

    @property
    def linear_group(self) -> Group:
        return GL(self.size)

    @property
    def matrix_size(self) -> int:
        return self.size + 1

    @staticmethod
    def join(linear: Float[Tensor, "... d d"], translation: Float[Tensor, "... d"]) -> Matrix:
        """Element from its linear part (..., n, n) and translation (..., n)."""
        top = torch.cat([linear, translation.unsqueeze(-1)], -1)
        bottom = torch.zeros_like(top[..., :1, :])
        bottom[..., -1] = 1.0
        return torch.cat([top, bottom], -2)

    @staticmethod
    def split(g: Matrix) -> tuple[Float[Tensor, "... d d"], Float[Tensor, "... d"]]:
        """Linear part (..., n, n) and translation (..., n) of an element."""
        return g[..., :-1, :-1], g[..., :-1, -1]

    def basis(self) -> Float[Tensor, "d n n"]:
        n = self.size
        basis = torch.zeros(self.dim, n + 1, n + 1, dtype=torch.float64)
        basis[: n * n, :n, :n] = GL(n).basis()
        basis[n * n :, :n, n] = torch.eye(n, dtype=torch.float64)
        return basis

    def exp(self, coordinates: Coordinates) -> Matrix:
        return at_least_single(torch.linalg.matrix_exp, self.hat(coordinates))

    def log(self, g: Matrix) -> Coordinates:
        """Coordinates of the principal logarithm.

        Raises:
            ShapeError: The last two axes are not (n + 1, n + 1).
            ConventionError: An eigenvalue lies on the closed negative real axis.
        """
        self.check_element(g)
        logarithm = at_least_single(principal_log, g)  # refuses negative determinants itself
        self.check_member(g)
        linear, translation = self.split(logarithm)
        return torch.cat([linear.flatten(-2), translation], -1)

    def defect(self, g: Matrix) -> Scalar:
        return affine_defect(g, GL(self.size).defect(g[..., :-1, :-1]))

    @property
    def direction_names(self) -> tuple[str, ...]:
        shifts = (f"shift {axis}" for axis in axis_names(self.size))
        return (*GL(self.size).direction_names, *shifts)

    def directions(self) -> dict[str, Coordinates]:
        """Those of :func:`plane_directions` in the plane; elsewhere the basis."""
        return plane_directions() if self.size == 2 else super().directions()

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        linear, translation = self.split(g)
        back = at_least_single(torch.linalg.inv, linear)
        return self.join(back, -(back @ translation.unsqueeze(-1)).squeeze(-1))

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """exp of normal coordinates of standard deviation ``scale``."""
        return self.exp(scale * random_normal((*batch, self.dim), generator=generator))

    def project(self, matrix: Matrix) -> Matrix:
        """Nearest element, its linear part as :meth:`GL.project` has it."""
        self.check_element(matrix, "matrix")
        linear, translation = self.split(matrix)
        return self.join(GL(self.size).project(linear), translation)


def plane_directions() -> dict[str, Coordinates]:
    """Named one-parameter motions of the plane, as coordinates of ``Affine(2)``.

    exp(t x) moves by t units of length (translation), turns by t radians counter-clockwise
    (rotation), magnifies by e^t (scale), by e^t along x and e^(-t) along y (stretch), slides by
    t y along x or t x along y (shear), or is a hyperbolic rotation with cosh t and sinh t.

    Returns:
        Name to coordinates (a11, a12, a21, a22, t1, t2), shape (6,), float64.

    Example:
        >>> quarter = Affine(2).exp(torch.pi / 2 * plane_directions()["rotation"])
        >>> (quarter @ torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)).round(decimals=9)
        tensor([0., 1., 1.], dtype=torch.float64)
    """
    rows = {
        "translation_x": (0, 0, 0, 0, 1, 0),
        "translation_y": (0, 0, 0, 0, 0, 1),
        "rotation": (0, -1, 1, 0, 0, 0),
        "scale": (1, 0, 0, 1, 0, 0),
        "stretch": (1, 0, 0, -1, 0, 0),
        "shear_x": (0, 1, 0, 0, 0, 0),
        "shear_y": (0, 0, 1, 0, 0, 0),
        "hyperbolic": (0, 1, 1, 0, 0, 0),
    }
    return {name: torch.tensor(row, dtype=torch.float64) for name, row in rows.items()}
