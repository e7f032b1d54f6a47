"""Translations together with any linear group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.affine import Affine
from equivariant.groups.base import Group
from equivariant.groups.membership import affine_defect, determinant
from equivariant.groups.numerics import at_least_single, axis_names, random_normal
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class Semidirect(Group):
    """Maps x ↦ h x + t of n-space, h in a linear group H: Rⁿ ⋊ H, matrices [[h, t], [0, 1]].

    Coordinates are those of H, then the n of the translational velocity.

        (h, t) (h', t') = (h h', t + h t'),   exp(x, v) = expm [[hat x, v], [0, 0]],
        log(h, t) = (log h, φ(log h)⁻¹ t),   φ(B) = ∫₀¹ expm(s B) ds

    Left Haar measure is dt dμ(h) / |det h|, right Haar measure dt dμ(h), μ Haar measure of H.

    Some of these groups have a class of their own, with closed forms: ``Semidirect(SO2())`` is
    :class:`SE2`, ``SO3`` gives :class:`SE3`, ``O2`` and ``O3`` :class:`E2` and :class:`E3`,
    ``ScaledRotations(n)`` :class:`Sim`, ``GL(n)`` :class:`Affine`. Elements are the same matrices.

    Args:
        linear: H, a group that moves n-space by its n x n matrices: SL(2), say.

    Raises:
        ConventionError: The group does not: its elements are no linear maps of space.

    Example:
        >>> from equivariant.groups import SL
        >>> group = Semidirect(SL(2))
        >>> g = group.join(SL(2).identity(), torch.tensor([1.0, 2.0], dtype=torch.float64))
        >>> group.dim, group.split(g @ g)[1]
        (5, tensor([2., 4.], dtype=torch.float64))
    """

    linear: Group
    compact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.linear.space_dim != self.linear.matrix_size:
            raise ConventionError(
                expected="a group of linear maps of n-space, as n x n matrices",
                got=str(self.linear), argument="linear",
                advice="SL(2), GL(3), ScaledRotations(2), SO2() and O3() are such groups.",
            )  # fmt: skip

    @property
    def dim(self) -> int:
        return self.linear.dim + self.space_dim

    @property
    def matrix_size(self) -> int:
        return self.linear.matrix_size + 1

    @property
    def space_dim(self) -> int:
        return self.linear.matrix_size

    @property
    def linear_group(self) -> Group:
        return self.linear

    @property
    def preserves_lengths(self) -> bool:
        return self.linear.preserves_lengths

    @property
    def orthogonal_dim(self) -> int | None:
        return self.linear.orthogonal_dim

    @property
    def turns(self) -> bool:
        return self.linear.turns

    @property
    def direction_names(self) -> tuple[str, ...]:
        shifts = (f"shift {axis}" for axis in axis_names(self.space_dim))
        return (*self.linear.direction_names, *shifts)

    @staticmethod
    def join(linear_part: Float[Tensor, "... d d"], translation: Float[Tensor, "... d"]) -> Matrix:
        """Element from its linear part (..., n, n) and translation (..., n)."""
        return Affine.join(linear_part, translation)

    @staticmethod
    def split(g: Matrix) -> tuple[Float[Tensor, "... d d"], Float[Tensor, "... d"]]:
        """Linear part (..., n, n) and translation (..., n) of an element."""
        return Affine.split(g)

    def basis(self) -> Float[Tensor, "d n n"]:
        n, k = self.space_dim, self.linear.dim
        basis = torch.zeros(self.dim, n + 1, n + 1, dtype=torch.float64)
        basis[:k, :n, :n] = self.linear.basis()
        basis[k:, :n, n] = torch.eye(n, dtype=torch.float64)
        return basis

    def exp(self, coordinates: Coordinates) -> Matrix:
        return at_least_single(torch.linalg.matrix_exp, self.hat(coordinates))

    def log(self, g: Matrix) -> Coordinates:
        """Coordinates: the linear part's logarithm and φ of it applied backwards to t.

        Raises:
            ShapeError: The last two axes are not (n + 1, n + 1).
            ConventionError: The linear part has no logarithm in H, or a matrix is no element.
        """
        self.check_member(g)
        linear, translation = self.split(g)
        x = self.linear.log(linear)

        def velocity(both: Tensor) -> Tensor:
            b, t = both[..., :-1], both[..., -1:]
            eye = torch.eye(self.space_dim, dtype=b.dtype, device=b.device).expand_as(b)
            # expm [[B, I], [0, 0]] = [[expm B, φ(B)], [0, I]]
            top = torch.cat([b, eye], -1)
            block = torch.linalg.matrix_exp(torch.cat([top, torch.zeros_like(top)], -2))
            phi = block[..., : self.space_dim, self.space_dim :]
            solved: Tensor = torch.linalg.solve(phi, t).squeeze(-1)
            return solved

        both = torch.cat([self.linear.hat(x), translation.unsqueeze(-1)], -1)
        return torch.cat([x, at_least_single(velocity, both)], -1)

    def left_haar_log_density(self, g: Matrix) -> Scalar:
        """log of the density of left Haar measure with respect to dt dμ(h): -log |det h|.

        Right Haar measure has density 1, so the exponential of minus this is the modular
        function: 1 everywhere for groups H that keep volume.

        Args:
            g: Elements, shape (..., n + 1, n + 1).

        Returns:
            Shape (...).

        Raises:
            ShapeError: The last two axes are others.
        """
        self.check_element(g)
        return -determinant(g[..., :-1, :-1]).abs().log()

    def defect(self, g: Matrix) -> Scalar:
        return affine_defect(g, self.linear.defect(g[..., :-1, :-1]))

    def distance(self, a: Matrix, b: Matrix) -> Scalar:
        """Norm of log(a⁻¹ b); infinite where no path joins the linear parts."""
        self.check_member(a, "a")
        self.check_member(b, "b")
        relative = self.inverse(a) @ b
        n = self.space_dim
        h = relative.detach()[..., :n, :n]
        eye = self.linear.identity().to(h).expand_as(h)
        apart = self.linear.distance(eye, h).isinf()
        rest = self.identity().to(relative)
        found = super().distance(rest, torch.where(apart[..., None, None], rest, relative))
        return torch.where(apart, torch.inf, found)

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        linear, translation = self.split(g)
        back = self.linear.inverse(linear)
        return self.join(back, -(back @ translation.unsqueeze(-1)).squeeze(-1))

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Linear parts as H draws them; independent normal translations of deviation ``scale``."""
        linear = self.linear.draw(batch, generator=generator, scale=scale)
        shape = (*batch, self.space_dim)
        return self.join(linear, scale * random_normal(shape, generator=generator))

    def project(self, matrix: Matrix) -> Matrix:
        """Nearest element, its linear part as H has it."""
        self.check_element(matrix, "matrix")
        linear, translation = self.split(matrix)
        return self.join(self.linear.project(linear), translation)

    def special_elements(self) -> dict[str, Matrix]:
        """Those of H about the origin."""
        return {name: self._about_origin(h) for name, h in self.linear.special_elements().items()}

    def discrete_generators(self) -> Matrix:
        """Those of H."""
        return self._about_origin(self.linear.discrete_generators())

    def without(self) -> dict[str, Callable[[Matrix], Matrix]]:
        """Without translations; and what H can drop."""

        def dropped(of: Callable[[Matrix], Matrix]) -> Callable[[Matrix], Matrix]:
            return lambda g: self.join(of(g[..., :-1, :-1]), g[..., :-1, -1])

        found = {name: dropped(of) for name, of in self.linear.without().items()}
        return {"translations": lambda g: self.join(g[..., :-1, :-1], 0.0 * g[..., :-1, -1]),
                **found}  # fmt: skip

    def _about_origin(self, h: Tensor) -> Tensor:
        return self.join(h, torch.zeros_like(h[..., 0]))
