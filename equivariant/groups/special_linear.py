"""Linear maps that keep volume and orientation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.base import Group
from equivariant.groups.linear import GL, whole_number
from equivariant.groups.logarithm import principal_log
from equivariant.groups.membership import determinant
from equivariant.groups.numerics import at_least_single, random_normal
from equivariant.groups.reductive import Reductive
from equivariant.groups.unit_determinant import nearest_of_unit_determinant
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class SL(Reductive):
    """n x n matrices of determinant 1.

    Coordinates are the entries off the diagonal, row by row, then those of the traceless
    diagonal matrices diag(1, -1, 0, ...), diag(1, 1, -2, 0, ...), ...; of SL(2)

        hat(x) = [[x₃, x₁], [x₂, -x₃]],   exp(x) = expm(hat x),   log = the principal logarithm

    The exponential is not onto: elements with an eigenvalue on the closed negative real axis
    (in SL(2) those of trace -2 or less) have no principal logarithm and are refused by
    :meth:`log` and so by :meth:`distance`. The polar decomposition has coordinates for them.

    Args:
        size: n, at least 2.

    Raises:
        ConventionError: n is less than 2.

    Example:
        >>> SL(2).exp(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
        tensor([[1., 1.],
                [0., 1.]], dtype=torch.float64)
    """

    size: int
    compact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not whole_number(self.size, least=2):
            raise ConventionError(
                expected="at least 2 dimensions, a whole number", got=repr(self.size),
                argument="size",
                advice="SL(1) has one element; SL(2) acts on the plane, SL(3) on space.",
            )  # fmt: skip

    @property
    def dim(self) -> int:
        return self.size**2 - 1

    @property
    def matrix_size(self) -> int:
        return self.size

    @property
    def direction_names(self) -> tuple[str, ...]:
        """a12 for the entry off the diagonal; a11+a22-2a33 for a traceless diagonal."""
        n = self.size
        entries = (f"a{i + 1}{j + 1}" for i in range(n) for j in range(n) if i != j)
        sums = ("+".join(f"a{i + 1}{i + 1}" for i in range(k)) for k in range(1, n))
        last = (f"-{k if k > 1 else ''}a{k + 1}{k + 1}" for k in range(1, n))
        return (*entries, *(a + b for a, b in zip(sums, last, strict=True)))

    @property
    def orthogonal_subgroup(self) -> Group:
        return GL(self.size).orthogonal_subgroup

    def basis(self) -> Float[Tensor, "d n n"]:
        n = self.size
        off = GL(n).basis()[[k for k in range(n * n) if k % (n + 1)]]
        return torch.cat([off, torch.diag_embed(_traceless(n))])

    def stretches(self) -> Float[Tensor, "k n"]:
        rows = _traceless(self.size)
        lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
        return rows / lengths

    def exp(self, coordinates: Coordinates) -> Matrix:
        return at_least_single(torch.linalg.matrix_exp, self.hat(coordinates))

    def log(self, g: Matrix) -> Coordinates:
        """Coordinates of the principal logarithm.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: An eigenvalue lies on the closed negative real axis, or a matrix is
                no element.
        """
        self.check_member(g)
        return self.vee(at_least_single(principal_log, g))

    def defect(self, g: Matrix) -> Scalar:
        """Distance to the nearest element, to first order, relative to the largest entry and 1.

            |det g - 1| / (|cof g| max(1, |g_ij|))

        since the cofactors are the gradient of the determinant; infinite where det g <= 0. In
        float64, as narrower numbers lose the sign of the determinant from cond(g) of 1e6.
        """
        wide = g.double()
        det, size = determinant(wide), wide.abs().amax((-2, -1)).clamp(min=1.0)
        distance = (det - 1).abs() / (_cofactor_norm(wide) * size)
        return torch.where(det > 0, distance, torch.inf).to(g.dtype)

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return at_least_single(torch.linalg.inv, g)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """exp of normal coordinates of standard deviation ``scale``."""
        return self.exp(scale * random_normal((*batch, self.dim), generator=generator))

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        return at_least_single(nearest_of_unit_determinant, matrix)


def _cofactor_norm(g: Tensor) -> Tensor:
    """Frobenius norm of the matrix of cofactors, shape (...)."""
    if g.shape[-1] == 2:
        same: Tensor = torch.linalg.matrix_norm(g)
        return same
    if g.shape[-1] == 3:
        crossed: Tensor = torch.linalg.matrix_norm(torch.linalg.cross(g, g.roll(1, -2)))
        return crossed
    s = torch.linalg.svdvals(g)
    others = [torch.cat([s[..., :i], s[..., i + 1 :]], -1).prod(-1) for i in range(s.shape[-1])]
    found: Tensor = torch.linalg.vector_norm(torch.stack(others, -1), dim=-1)
    return found


def _traceless(n: int) -> Tensor:
    """Rows (1, ..., 1, -k, 0, ..., 0), mutually orthogonal, shape (n - 1, n), float64."""
    rows = torch.ones(n - 1, n, dtype=torch.float64).tril()
    rows[torch.arange(n - 1), torch.arange(1, n)] = -torch.arange(1, n, dtype=torch.float64)
    return rows
