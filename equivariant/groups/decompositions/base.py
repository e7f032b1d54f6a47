"""What the decompositions of a linear group share."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups.base import Group
from equivariant.groups.membership import (
    determinant,
    membership_tolerance,
    numbers_are_known,
)
from equivariant.groups.reductive import Reductive
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class Decomposition(ABC):
    """A way of writing each element h of a linear group as a product of simpler elements.

    Computations are made in float64 and rounded to the dtype of what they are given. Batch axes
    lead.

    Args:
        group: GL(n), SL(n), ScaledRotations(n), SO2, SO3, O2 or O3, n = 2 or 3; any
            :class:`Reductive` group of these sizes.

    Raises:
        ConventionError: Another group.
    """

    group: Group

    def __post_init__(self) -> None:
        if not isinstance(self.group, Reductive) or self.group.matrix_size not in (2, 3):
            raise ConventionError(
                expected="a linear group of the plane or of space that holds the transpose of its "
                "elements",
                got=str(self.group), argument="group",
                advice="GL(2), SL(3), ScaledRotations(2), SO3() are such groups; decompose the "
                "linear part of affine maps.",
            )  # fmt: skip

    @abstractmethod
    def split(self, h: Matrix) -> tuple[Matrix, ...]:
        """Factors of elements, in the order of their product.

        Args:
            h: Elements, shape (..., n, n).

        Returns:
            Elements of the group, each of shape (..., n, n) and the dtype of h.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: A matrix is no element.
        """

    def merge(self, *factors: Matrix) -> Matrix:
        """The product of the factors, shape (..., n, n).

        Raises:
            ShapeError: There are more or fewer factors than :meth:`split` gives, or the shape of
                one does not fit.
            ConventionError: Factors of integers, or of different dtypes.
        """
        self.check_factors(factors)
        product: Matrix = functools.reduce(torch.matmul, [factor.double() for factor in factors])
        return product.to(factors[0].dtype)

    @abstractmethod
    def coordinates(self, h: Matrix) -> Coordinates:
        """Numbers that describe elements, shape (..., k), in the dtype of h.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: A matrix is no element, or its orthogonal factor reverses orientation.
        """

    @abstractmethod
    def from_coordinates(self, c: Coordinates) -> Matrix:
        """Elements at coordinates (..., k), shape (..., n, n).

        Raises:
            ShapeError: The last axis is not k.
            ConventionError: Coordinates are no tensor of floating-point numbers.
        """

    @abstractmethod
    def log_density(self, *factors: Matrix) -> Scalar:
        """log of the density of Haar measure in the measure that the class names.

        Haar measure of these groups is left- and right-invariant. All decompositions describe
        the same one when the constant :attr:`log_constant` is added.

        Args:
            *factors: As :meth:`split` gives them, shape (..., n, n) each.

        Returns:
            Shape (...).

        Raises:
            ShapeError: Another number of factors, or the shape of one does not fit.
            ConventionError: A factor is not what its place asks for: factors in another order, or
                one that rounding has made indefinite.
        """

    @property
    @abstractmethod
    def log_constant(self) -> float:
        """What to add to the log density so that all decompositions agree on one Haar measure.

        It is the one with density 1 at the identity in (X, R) of h = exp(X) R, X in orthonormal
        coordinates of the group's symmetric matrices, R of total mass 1: 0 for :class:`Polar`.
        """

    @property
    @abstractmethod
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, in the order of their product."""

    @property
    def linear_group(self) -> Reductive:
        """The group, as what it was found to be."""
        if not isinstance(self.group, Reductive):  # not after __post_init__
            raise TypeError(str(self.group))
        return self.group

    def check_factors(self, factors: tuple[Tensor, ...]) -> None:
        """Raise unless there is a stack of matrices for each name in ``factors``, of one dtype."""
        if len(factors) != len(self.factors):
            raise ShapeError(
                expected=f"{len(self.factors)} factors: {', '.join(self.factors)}",
                got=f"{len(factors)}", argument="factors",
                advice="Pass what split(h) gives: one argument each, as in f(*split(h)).",
            )  # fmt: skip
        for name, factor in zip(self.factors, factors, strict=True):
            self.group.check_element(factor, name)
        dtypes = {factor.dtype for factor in factors}
        if len(dtypes) > 1 or not factors[0].is_floating_point():
            raise ConventionError(
                expected="factors of one floating-point dtype",
                got=", ".join(str(factor.dtype) for factor in factors), argument="factors",
                advice="factor.double() keeps all digits.",
            )  # fmt: skip

    def check_stretch(self, factor: Matrix, name: str, *, diagonal: bool) -> None:
        """Raise ConventionError unless matrices are symmetric, or diagonal, and positive definite.

        As far as their numbers can be looked at.
        """
        if not numbers_are_known(factor):
            return
        wide = factor.detach().double()
        eye = torch.eye(wide.shape[-1], dtype=wide.dtype, device=wide.device)
        away = (wide - (wide * eye if diagonal else wide.mT)).abs().amax((-2, -1))
        fits = away <= membership_tolerance(factor.dtype) * wide.abs().amax((-2, -1))
        even = torch.where(fits[..., None, None], 0.5 * (wide + wide.mT), eye)
        fits &= torch.linalg.eigvalsh(even).amin(-1) > 0
        if not bool(fits.all()):
            raise ConventionError(
                expected=f"{'diagonal' if diagonal else 'symmetric'} matrices with positive "
                "eigenvalues",
                got=f"{int((~fits).sum())} of {fits.numel()} others, the first "
                f"{factor.detach()[~fits][0].tolist()}",
                argument=name,
                advice=f"The factors are {', '.join(self.factors)}, in this order; split "
                "elements of large condition number in float64.",
            )  # fmt: skip

    def check_count(self, c: Any, count: int) -> None:
        """Raise unless coordinates are floating-point tensors whose last axis has ``count``."""
        if not isinstance(c, Tensor) or not c.is_floating_point():
            raise ConventionError(
                expected="coordinates as a tensor of floating-point numbers",
                got=str(c.dtype) if isinstance(c, Tensor) else type(c).__name__, argument="c",
                advice="torch.as_tensor(numbers, dtype=torch.float64) makes one.",
            )  # fmt: skip
        if c.ndim < 1 or c.shape[-1] != count:
            raise ShapeError(
                expected=f"coordinates of {self}, shape (..., {count})",
                got=f"shape {tuple(c.shape)}", argument="c",
                advice="Pass what coordinates(h) gives.",
            )  # fmt: skip


def stretch_of(diagonal: Matrix) -> Float[Tensor, "... n"]:
    """Logarithms of the entries of positive diagonal matrices, shape (..., n), float64."""
    return diagonal.double().diagonal(dim1=-2, dim2=-1).log()


def turn_of(group: Reductive, rotation: Matrix) -> Coordinates:
    """Coordinates of an orthogonal factor in radians, shape (..., k)."""
    return group.orthogonal_subgroup.log(rotation)


def orientation(matrix: Matrix) -> Scalar:
    """Sign of the determinant, ±1, shape (...)."""
    return torch.where(determinant(matrix.detach()) < 0, -1.0, 1.0).to(matrix)
