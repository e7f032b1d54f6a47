"""What the decompositions of a linear group share."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups.base import Group
from equivariant.groups.membership import determinant
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
        """
        self.check_factors(factors)
        return functools.reduce(torch.matmul, factors)

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
        """Raise ShapeError unless there is one stack of matrices for each name in ``factors``."""
        if len(factors) != len(self.factors):
            raise ShapeError(
                expected=f"{len(self.factors)} factors: {', '.join(self.factors)}",
                got=f"{len(factors)}", argument="factors",
                advice="Pass what split(h) gives: merge(*decomposition.split(h)).",
            )  # fmt: skip
        for name, factor in zip(self.factors, factors, strict=True):
            self.group.check_element(factor, name)

    def check_count(self, c: Tensor, count: int) -> None:
        """Raise ShapeError unless the last axis of coordinates has ``count`` numbers."""
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
