"""Invertible linear maps that keep orientation."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.base import Group
from equivariant.groups.logarithm import principal_log
from equivariant.groups.membership import determinant
from equivariant.groups.numerics import at_least_single, random_normal
from equivariant.groups.reductive import Reductive
from equivariant.groups.so2 import SO2
from equivariant.groups.so3 import SO3
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class GL(Reductive):
    """Invertible n x n matrices of positive determinant, GL⁺(n), the component of the identity.

    Coordinates are the entries of the algebra's matrix, row by row.

        exp(x) = expm(hat x),   log = the principal logarithm

    Not every element has a real logarithm (diag(-1, -2) has none); those with an eigenvalue on
    the closed negative real axis are refused by :meth:`log` and so by :meth:`distance`.

    Args:
        size: n, at least 1.

    Raises:
        ConventionError: n is less than 1.

    Example:
        >>> x = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
        >>> GL(2).exp(x)
        tensor([[1., 1.],
                [0., 1.]], dtype=torch.float64)
    """

    size: int
    compact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_size(self.size)

    @property
    def dim(self) -> int:
        return self.size**2

    @property
    def matrix_size(self) -> int:
        return self.size

    @property
    def orthogonal_subgroup(self) -> Group:
        if self.size not in (2, 3):
            raise ConventionError(
                expected="size 2 or 3", got=str(self.size), argument="size",
                advice="Rotations of other spaces have no class here.",
            )  # fmt: skip
        return SO2() if self.size == 2 else SO3()

    def stretches(self) -> Float[Tensor, "k n"]:
        return torch.eye(self.size, dtype=torch.float64)

    def basis(self) -> Float[Tensor, "d n n"]:
        return torch.eye(self.dim, dtype=torch.float64).reshape(self.dim, self.size, self.size)

    def exp(self, coordinates: Coordinates) -> Matrix:
        return at_least_single(torch.linalg.matrix_exp, self.hat(coordinates))

    def log(self, g: Matrix) -> Coordinates:
        """Coordinates of the principal logarithm.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: An eigenvalue lies on the closed negative real axis.
        """
        self.check_element(g)
        return at_least_single(principal_log, g).flatten(-2)

    def defect(self, g: Matrix) -> Scalar:
        positive = determinant(g.double()) > 0  # float32 would lose the sign from cond(g) of 1e6
        return torch.where(positive, torch.zeros_like(g[..., 0, 0]), torch.inf)

    @property
    def direction_names(self) -> tuple[str, ...]:
        return tuple(f"a{i + 1}{j + 1}" for i in range(self.size) for j in range(self.size))

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return at_least_single(torch.linalg.inv, g)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """exp of normal coordinates of standard deviation ``scale``."""
        return self.exp(scale * random_normal((*batch, self.dim), generator=generator))

    def project(self, matrix: Matrix) -> Matrix:
        """Nearest matrix of positive determinant, kept a little off the singular ones.

        The elements are an open set: a matrix of positive determinant is returned as it is, and
        for another the nearest point, which is singular, is moved inside until its smallest
        singular value is √ε of its largest (1.5e-8 in float64). The gradient passes as through
        the identity map.
        """
        self.check_element(matrix, "matrix")
        return matrix + at_least_single(_mending, matrix.detach())


def whole_number(number: Any, *, least: int) -> bool:
    """Whether it is an integer, not below another."""
    return isinstance(number, Integral) and int(number) >= least


def check_size(size: int) -> None:
    """Raise ConventionError unless a number of dimensions is whole and at least 1."""
    if not whole_number(size, least=1):
        raise ConventionError(
            expected="at least 1 dimension, a whole number",
            got=repr(size),
            argument="size",
            advice="GL(2) and Affine(2) act on the plane, GL(3) and Affine(3) on space.",
        )


def _mending(matrix: Tensor) -> Tensor:
    """What to add to reach positive determinant: zero where it is positive already."""
    u, s, vh = torch.linalg.svd(matrix)
    largest = torch.where(s[..., :1] > 0, s[..., :1], 1.0)
    floor = torch.finfo(matrix.dtype).eps ** 0.5 * largest
    # The sign of det(U Vᵀ) is ±1 however small the singular values are.
    orientation = torch.linalg.det(u @ vh).sign()[..., None]
    mended = torch.maximum(s, floor)
    mended = torch.cat([mended[..., :-1], orientation * mended[..., -1:]], -1)
    mended = torch.where(orientation > 0, mended, torch.cat([mended[..., :-1], -floor], -1))
    keep = (orientation > 0) & (s[..., -1:] > 0)
    return torch.where(keep[..., None], 0.0, (u * mended.unsqueeze(-2)) @ vh - matrix)
