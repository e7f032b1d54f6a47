"""The polar decomposition."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.groups.decompositions.base import Decomposition, turn_of
from equivariant.groups.decompositions.symmetric import log_sinhc, symmetric_exp, symmetric_log
from equivariant.groups.nearest_orthogonal import nearest_orthogonal
from equivariant.shapes import Coordinates, Matrix, Scalar


@dataclass(frozen=True)
class Polar(Decomposition):
    """h = P R, P = exp(X) symmetric positive definite, R orthogonal: unique and smooth.

    It is a global chart: unlike the logarithm it has coordinates for every element, also for
    those of SL(2) with trace below -2.

        dμ(h) = Π_{i<j} sinh(x_i - x_j) / (x_i - x_j) dX dR

    with x the eigenvalues of X. The density is in (X, R), X in orthonormal coordinates of the
    group's symmetric matrices (of trace 0 for SL(n), multiples of the identity for scaled
    rotations), R of Haar measure with total mass 1.

    Coordinates are those of X in ``group.symmetric_basis()``, then those of R in radians
    (in (-π, π] for the plane, a rotation vector in space): ``group.dim`` numbers.

    Args:
        group: A linear group of the plane or of space; see :class:`Decomposition`.

    Raises:
        ConventionError: Another group.

    Example:
        >>> from equivariant.groups import SL
        >>> h = torch.diag(torch.tensor([-2.0, -0.5], dtype=torch.float64))  # has no logarithm
        >>> stretch, rotation = Polar(SL(2)).split(h)
        >>> stretch.diagonal().tolist(), rotation.diagonal().tolist()
        ([2.0, 0.5], [-1.0, -1.0])

    Source: Helgason 1984, Groups and Geometric Analysis, theorem I.5.8, for the density.
    """

    @property
    def factors(self) -> tuple[str, ...]:
        return ("P", "R")

    @property
    def log_constant(self) -> float:
        return 0.0

    def split(self, h: Matrix) -> tuple[Matrix, Matrix]:
        """P and R.

        Derivatives of any order exist, also where singular values repeat.

        Args:
            h: Elements, shape (..., n, n).

        Returns:
            P and R, shape (..., n, n) each, in the dtype of h.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: A matrix is no element.
        """
        self.group.check_member(h, "h")
        p, r = self._split(h.double())
        return p.to(h.dtype), r.to(h.dtype)

    def logarithms(self, h: Matrix) -> tuple[Matrix, Matrix]:
        """X = log P and R: the smooth part of the coordinates, shape (..., n, n) each.

        Entries of R are smooth where angles jump, so they are what a network should read.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: A matrix is no element.
        """
        self.group.check_member(h, "h")
        p, r = self._split(h.double())
        return symmetric_log(p).to(h.dtype), r.to(h.dtype)

    def coordinates(self, h: Matrix) -> Coordinates:
        self.group.check_member(h, "h")
        p, r = self._split(h.double())
        basis = self.linear_group.symmetric_basis().to(p.device)
        x = torch.einsum("...ij,kij->...k", symmetric_log(p), basis)
        return torch.cat([x, turn_of(self.linear_group, r)], -1).to(h.dtype)

    def from_coordinates(self, c: Coordinates) -> Matrix:
        self.check_count(c, self.group.dim)
        basis = self.linear_group.symmetric_basis().to(c.device)
        wide, count = c.double(), len(basis)
        x = torch.einsum("...k,kij->...ij", wide[..., :count], basis)
        r = self.linear_group.orthogonal_subgroup.exp(wide[..., count:])
        return (symmetric_exp(x) @ r).to(c.dtype)

    def log_density(self, *factors: Matrix) -> Scalar:
        """Σ_{i<j} log(sinh(x_i - x_j) / (x_i - x_j)), which is 0 at P = I.

        Args:
            *factors: P and R, shape (..., n, n) each; R does not matter.

        Returns:
            Shape (...). Differentiable once in space, to any order in the plane.

        Raises:
            ShapeError: There are not two factors, or the shape of one does not fit.
            ConventionError: P is not symmetric and positive definite.
        """
        self.check_factors(factors)
        self.check_stretch(factors[0], "P", diagonal=False)
        p = factors[0].double()
        p = 0.5 * (p + p.mT)
        if p.shape[-1] == 2:
            x = symmetric_log(p)
            half = 0.5 * (x[..., 0, 0] - x[..., 1, 1])
            density = log_sinhc(4 * (half.square() + x[..., 0, 1].square()))
            return density.to(factors[0].dtype)
        x = torch.linalg.eigvalsh(p).log()
        gaps = [x[..., i] - x[..., j] for i, j in self.linear_group.roots()]
        density = sum((log_sinhc(gap.square()) for gap in gaps), torch.zeros_like(x[..., 0]))
        return density.to(factors[0].dtype)

    def _split(self, h: Tensor) -> tuple[Tensor, Tensor]:
        connected = not len(self.linear_group.orthogonal_subgroup.discrete_generators())
        if h.shape[-1] == 2 and connected:
            r = _rotation_in_the_plane(h)
        else:
            r = nearest_orthogonal(h, special=False)
        p = h @ r.mT
        return 0.5 * (p + p.mT), r


def _rotation_in_the_plane(h: Tensor) -> Tensor:
    """The rotation nearest to [[a, b], [c, d]]: by the angle of (a + d, c - b)."""
    cos, sin = h[..., 0, 0] + h[..., 1, 1], h[..., 1, 0] - h[..., 0, 1]
    length = torch.sqrt(cos.square() + sin.square())  # the sum of the singular values
    cos, sin = cos / length, sin / length
    return torch.stack([cos, -sin, sin, cos], -1).reshape(h.shape)
