"""A group whose elements are square matrices."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups.half_turns import half_turns
from equivariant.groups.membership import (
    check_floats,
    check_matrices,
    determinant,
    membership_tolerance,
    numbers_are_known,
)
from equivariant.groups.numerics import numbers, safe_norm
from equivariant.shapes import Bool, Coordinates, Float, Matrix, Scalar


class Group(ABC):
    """A matrix Lie group: elements are tensors of shape ``(..., n, n)``, composition is ``@``.

    A group object holds no tensor and two of the same kind are equal, so it can be written down
    wherever it is needed: ``SO3() == SO3()``. Computations keep the dtype and device of what
    they are given; use float64 where equivariance is measured.

    Attributes:
        dim: Dimension of the Lie algebra, the number of coordinates.
        matrix_size: n, the side of an element's matrix.
        compact: Whether the group is compact, so that Haar measure is a probability law.
        injectivity_radius: Within this distance of zero different coordinates are different
            elements.
    """

    compact: ClassVar[bool]

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of coordinates of the Lie algebra."""

    @property
    @abstractmethod
    def matrix_size(self) -> int:
        """Side of an element's matrix."""

    @abstractmethod
    def basis(self) -> Float[Tensor, "d n n"]:
        """Basis of the Lie algebra, float64, mutually orthogonal in the Frobenius product."""

    @property
    def injectivity_radius(self) -> float:
        """A radius r such that exp is injective on the coordinates of norm below r.

        exp is injective on matrices whose eigenvalues λ have |Im λ| < π, and

            |Im λ(X)| <= |(X - Xᵀ)/2|_F / √2,

        so r = √2 π / σ serves, σ the largest singular value of x ↦ (hat x - (hat x)ᵀ)/2.
        Groups for which this bound is not sharp (translations, Spin(3)) state their own.
        """
        if self.dim == 0:
            return math.inf
        basis = self.basis()
        skew = 0.5 * (basis - basis.transpose(-1, -2)).flatten(1)
        largest = float(torch.linalg.matrix_norm(skew, ord=2))
        return math.sqrt(2.0) * math.pi / largest if largest > 0 else math.inf

    @abstractmethod
    def exp(self, coordinates: Coordinates) -> Matrix:
        """Element at the given coordinates, ``expm(hat(coordinates))`` in closed form.

        Args:
            coordinates: Shape (..., dim).

        Returns:
            Elements, shape (..., n, n). Gradients are finite everywhere, zero included.

        Raises:
            ShapeError: The last axis is not ``dim``.
        """

    @abstractmethod
    def log(self, g: Matrix) -> Coordinates:
        """Coordinates of smallest norm with ``exp(log(g)) = g``.

        Args:
            g: Elements, shape (..., n, n).

        Returns:
            Coordinates, shape (..., dim), with finite gradients everywhere. On the cut locus
            (a half turn), where two answers are equally small, one is returned by a fixed rule.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: A matrix is no element.
        """

    @abstractmethod
    def inverse(self, g: Matrix) -> Matrix:
        """Inverse elements, shape (..., n, n)."""

    @abstractmethod
    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """What :meth:`sample` returns, in float64 on the CPU."""

    @abstractmethod
    def project(self, matrix: Matrix) -> Matrix:
        """Element nearest to a matrix in the Frobenius norm.

        Args:
            matrix: Any matrices, shape (..., n, n).

        Returns:
            Elements, shape (..., n, n); an element is returned unchanged up to rounding.
        """

    def special_elements(self) -> dict[str, Matrix]:
        """Elements other than the identity at which errors hide, by name.

        By default half turns of all rotations that the Lie algebra holds: where logarithms,
        angles and signs of quaternions jump. Random elements never meet them. Groups that have
        more (reflections, permutations) add theirs.

        Returns:
            One element each, shape (n, n), float64. Entries within rounding of a whole number
            are that number, so that a case of measure zero is met exactly.

        Example:
            >>> from equivariant.groups import SO2
            >>> SO2().special_elements()["half turn 0"].tolist()
            [[-1.0, 0.0], [0.0, -1.0]]
        """
        return {name: _exact(self.exp(x)) for name, x in half_turns(self.basis()).items()}

    def discrete_generators(self) -> Matrix:
        """Elements that generate the group together with its identity component.

        What commutes with the Lie algebra and with these commutes with the whole group. None by
        default: the group is connected.

        Returns:
            Shape (k, n, n), float64.
        """
        return torch.zeros(0, self.matrix_size, self.matrix_size, dtype=torch.float64)

    def without(self) -> dict[str, Callable[[Matrix], Matrix]]:
        """Maps into subgroups that drop one kind of motion, by the name of what they drop.

        What is left when a kind is dropped tells which kind of motion a fault is about. None by
        default.

        Returns:
            Functions (..., n, n) -> (..., n, n).
        """
        return {}

    @property
    def space_dim(self) -> int | None:
        """d, where the group moves points of d-space by its matrices; None where it does not.

            x ↦ g x,   or   x ↦ A x + t   for matrices [[A, t], [0, 1]]

        By default the algebra says which of the two: the second where the last row of all its
        matrices is zero and the last column of one is not (there are translations).
        """
        if self.dim == 0:
            return None
        basis, n = numbers(self.basis), self.matrix_size
        affine = not basis[:, -1, :].any() and basis[:, :-1, -1].any()
        return n - 1 if affine else n

    @property
    def linear_group(self) -> Group | None:
        """H, where the group is that of all x ↦ h x + t with h in H; None where it is not one."""
        return None

    @property
    def preserves_lengths(self) -> bool:
        """Whether every element preserves distances of its space.

        By default: whether the linear parts of the algebra are skew. A group whose other
        components stretch says so itself.
        """
        linear = self._linear_basis()
        return linear is not None and bool((abs(linear + linear.swapaxes(1, 2)) < 1e-12).all())

    @property
    def orthogonal_dim(self) -> int | None:
        """d, where linear parts are an orthogonal d x d matrix times a positive scale; or None."""
        linear = self._linear_basis()
        if linear is None:
            return None
        d = linear.shape[-1]
        trace = linear.trace(axis1=1, axis2=2)[:, None, None] / d
        stretch = linear + linear.swapaxes(1, 2) - 2 * trace * np.eye(d)
        return d if bool((abs(stretch) < 1e-12).all()) else None

    @property
    def turns(self) -> bool:
        """Whether some linear parts are more than scales: not so for translations."""
        linear = self._linear_basis()
        return linear is None or bool((linear - linear.swapaxes(1, 2)).any())

    def orthogonal_part(self, g: Matrix) -> Float[Tensor, "... d d"]:
        """Orthogonal factor of the linear part, on which irreps depend, shape (..., d, d).

        Raises:
            ConventionError: Linear parts are no orthogonal matrices times scales.
        """
        d = self.orthogonal_dim
        if d is None:
            raise ConventionError(
                expected="a group of rotations, with reflections, scales and translations or not",
                got=str(self), argument="group",
                advice="Shears and boosts have no orthogonal factor that is a homomorphism.",
            )  # fmt: skip
        linear = g[..., :d, :d]
        if self.preserves_lengths:
            return linear
        return linear / determinant(linear).abs()[..., None, None] ** (1 / d)

    def directions(self) -> dict[str, Coordinates]:
        """Named directions of the algebra, shape (dim,) each, float64; at least a basis.

        Example:
            >>> from equivariant.groups import SE3
            >>> list(SE3().directions())[:4]
            ['turn x', 'turn y', 'turn z', 'shift x']
        """
        names = self.direction_names
        return dict(zip(names, torch.eye(self.dim, dtype=torch.float64), strict=True))

    @property
    def direction_names(self) -> tuple[str, ...]:
        """Names of the basis of the algebra; numbers by default."""
        return tuple(map(str, range(self.dim)))

    def contains(self, g: Matrix, tolerance: float | None = None) -> Bool[Tensor, ...]:
        """Which matrices are elements.

        Args:
            g: Matrices, shape (..., n, n).
            tolerance: Largest :meth:`defect`; None takes 1e-4, or 16 units of rounding.

        Returns:
            Shape (...), bool; false for what is not finite.

        Example:
            >>> from equivariant.groups import SO3
            >>> SO3().contains(torch.stack([torch.eye(3), 2 * torch.eye(3), -torch.eye(3)]))
            tensor([ True, False, False])
        """
        self.check_element(g)
        limit = membership_tolerance(g.dtype) if tolerance is None else tolerance
        wide = g.detach().to(torch.promote_types(g.dtype, torch.float32))
        finite = wide.isfinite().all(-1).all(-1)
        eye = torch.eye(self.matrix_size, dtype=wide.dtype, device=wide.device)
        return finite & (self.defect(torch.where(finite[..., None, None], wide, eye)) <= limit)

    def defect(self, g: Matrix) -> Scalar:
        """How far finite matrices are from being elements, shape (...); 0 for elements.

        By default the largest entry of g - project(g), relative to those of project(g) and 1.
        """
        nearest = self.project(g)
        size = nearest.abs().amax((-2, -1)).clamp(min=1.0)
        return (g - nearest).abs().amax((-2, -1)) / size

    def identity(
        self,
        *batch: int,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Matrix:
        """The identity, repeated to shape (*batch, n, n)."""
        eye = torch.eye(self.matrix_size, dtype=dtype, device=device)
        return eye.expand(*batch, -1, -1).clone()

    def sample(
        self,
        *batch: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        scale: float = 1.0,
    ) -> Matrix:
        """Random elements: Haar measure on compact directions.

        Args:
            *batch: Leading shape of the result; none for a single element.
            generator: Source of randomness, on the CPU, so that a seed means the same elements
                on every device.
            dtype: Of the result; the draw itself is made in float64.
            device: Of the result.
            scale: Standard deviation of each coordinate along directions that are not compact
                (translations), where no invariant probability law exists. Compact groups do
                not use it.

        Returns:
            Elements, shape (*batch, n, n).
        """
        elements = self.draw(batch, generator=generator, scale=scale)
        return elements.to(device=device, dtype=dtype)

    def compose(self, a: Matrix, b: Matrix) -> Matrix:
        """The product ``a b``: first b, then a."""
        return a @ b

    def hat(self, coordinates: Coordinates) -> Matrix:
        """Matrix in the Lie algebra, ``Σ_k coordinates_k basis_k``."""
        self.check_coordinates(coordinates)
        return torch.einsum("...d,dij->...ij", coordinates, self.basis().to(coordinates))

    def vee(self, matrix: Matrix) -> Coordinates:
        """Coordinates of an algebra matrix: the inverse of :meth:`hat`."""
        self.check_element(matrix)
        basis = self.basis().to(matrix)
        dual = basis / basis.square().sum((-2, -1), keepdim=True)
        return torch.einsum("...ij,dij->...d", matrix, dual)

    def adjoint(self, g: Matrix) -> Float[Tensor, "... d d"]:
        """Matrix of ``X ↦ g X g⁻¹`` in coordinates, so ``g exp(x) g⁻¹ = exp(Ad(g) x)``."""
        self.check_element(g)
        basis = self.basis().to(g)
        moved = g.unsqueeze(-3) @ basis @ self.inverse(g).unsqueeze(-3)
        return self.vee(moved).transpose(-1, -2)

    def distance(self, a: Matrix, b: Matrix) -> Scalar:
        """Norm of ``log(a⁻¹ b)``: left-invariant, zero only for equal elements.

        Returns:
            Shape (...); its gradient where a = b is zero.

        Raises:
            ConventionError: A matrix is no element.
        """
        self.check_member(a, "a")
        self.check_member(b, "b")
        return safe_norm(self.log(self.inverse(a) @ b))

    def check_element(self, g: Any, argument: str = "g") -> None:
        """Raise unless it is a tensor whose last two axes are (n, n).

        Raises:
            ConventionError: It is no tensor.
            ShapeError: The last two axes are not (n, n).
        """
        check_matrices(g, self.matrix_size, of=str(self), argument=argument)

    def check_member(self, g: Tensor, argument: str = "g") -> None:
        """Raise unless all matrices are elements, as far as their numbers can be looked at.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: A matrix is no element, or its numbers are integers.
        """
        self.check_element(g, argument)
        check_floats(g, argument)
        if not numbers_are_known(g):
            return
        member = self.contains(g)
        if not bool(member.all()):
            first = g.detach()[~member][0].tolist()
            raise ConventionError(
                expected=f"elements of {self}",
                got=f"{int((~member).sum())} of {member.numel()} matrices that are none, the first "
                f"{first}",
                argument=argument, advice="project(matrix) gives the element nearest to a matrix.",
            )  # fmt: skip

    def _linear_basis(self) -> NDArray[np.float64] | None:
        """Linear parts of the algebra's basis; None where the group moves no points."""
        d = self.space_dim
        return None if d is None else numbers(self.basis)[:, :d, :d]

    def check_coordinates(self, coordinates: Tensor, argument: str = "coordinates") -> None:
        """Raise ShapeError unless the last axis is dim."""
        if coordinates.ndim < 1 or coordinates.shape[-1] != self.dim:
            raise ShapeError(
                expected=f"coordinates of {self}, shape (..., {self.dim})",
                got=f"shape {tuple(coordinates.shape)}", argument=argument,
                advice="The last axis runs over the basis of the Lie algebra.",
            )  # fmt: skip


def _exact(g: Tensor) -> Tensor:
    """Entries within a few units of rounding of a whole number, made whole; -0 becomes 0."""
    whole = g.round() + 0.0
    return torch.where((g - whole).abs() < 1e-14, whole, g)
