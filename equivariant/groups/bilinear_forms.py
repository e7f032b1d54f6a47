"""Groups of the matrices that keep a bilinear form: O(p, q) and Sp(2m)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError, check_option
from equivariant.groups.base import Group
from equivariant.groups.logarithm import principal_log
from equivariant.groups.membership import determinant
from equivariant.groups.numerics import at_least_single, random_normal
from equivariant.shapes import Coordinates, Float, Matrix, Scalar

Components = Literal["all", "special", "connected"]

_NEWTON = 8  # steps; from within a percent of the group, four reach rounding


class PreservesForm(Group):
    """Matrices with gᵀ B g = B for a form B with B² = ±I, B⁻¹ = ±B: an inverse without solving.

    The Lie algebra is XᵀB + BX = 0. The exponential is not onto; elements with an eigenvalue on
    the closed negative real axis are refused by :meth:`log`.
    """

    compact: ClassVar[bool] = False
    symmetric: ClassVar[bool]
    """Whether B is symmetric; otherwise it is antisymmetric."""

    @abstractmethod
    def form(self) -> Float[Tensor, "n n"]:
        """B, symmetric or antisymmetric, of entries 0, 1 and -1, float64."""

    @property
    def dim(self) -> int:
        n = self.matrix_size
        return n * (n - 1) // 2 if self.symmetric else n * (n + 1) // 2

    def basis(self) -> Float[Tensor, "d n n"]:
        form, n = self.form(), self.matrix_size
        sign = -1.0 if self.symmetric else 1.0
        found = []
        for i in range(n):
            for j in range(i, n):
                entry = torch.zeros(n, n, dtype=torch.float64)
                entry[i, j] = 1.0
                if i != j:
                    entry = entry + sign * entry.T
                elif sign < 0:
                    continue
                found.append(form.T @ entry)
        return torch.stack(found)

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

    def inverse(self, g: Matrix) -> Matrix:
        """B⁻¹ gᵀ B."""
        self.check_element(g)
        form = self.form().to(g)
        return form.T @ g.transpose(-1, -2) @ form

    def defect(self, g: Matrix) -> Scalar:
        """max |B⁻¹ gᵀ B g - I| over max g² and 1."""
        eye = torch.eye(self.matrix_size, dtype=g.dtype, device=g.device)
        size = g.abs().amax((-2, -1)).clamp(min=1.0).square()
        return (self.inverse(g) @ g - eye).abs().amax((-2, -1)) / size

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """exp of normal coordinates of standard deviation ``scale``."""
        return self.exp(scale * random_normal((*batch, self.dim), generator=generator))

    def project(self, matrix: Matrix) -> Matrix:
        """An element made of a matrix near the group: the Newton iteration of its polar factor.

            g ← (g + (B⁻¹ gᵀ B)⁻¹) / 2

        Elements are unchanged up to rounding, and the iteration converges for matrices nearby.
        It is not the nearest element in the Frobenius norm, for which there is no closed form.
        """
        self.check_element(matrix, "matrix")

        def polar(m: Tensor) -> Tensor:
            for _ in range(_NEWTON):
                m = 0.5 * (m + torch.linalg.inv(self.inverse(m)))
            return m

        return at_least_single(polar, matrix)


@dataclass(frozen=True)
class IndefiniteOrthogonal(PreservesForm):
    """O(p, q): matrices that keep x₁² + ... + x_p² - ... - x_{p+q}².

    Args:
        positive: p, at least 1.
        negative: q, at least 1.
        components: Which of the four components: "all", O(p, q); "special", the two of
            determinant 1, SO(p, q); "connected", that of the identity, SO⁺(p, q).
            :class:`Lorentz` is SO⁺(1, 3) with coordinates and a logarithm of its own.

    Raises:
        ConventionError: A number is below 1, or the word is another.

    Example:
        >>> boost = IndefiniteOrthogonal(1, 1).exp(torch.tensor([1.0], dtype=torch.float64))
        >>> boost.abs()
        tensor([[1.5431, 1.1752],
                [1.1752, 1.5431]], dtype=torch.float64)
    """

    symmetric: ClassVar[bool] = True
    positive: int
    negative: int
    components: Components = "all"

    def __post_init__(self) -> None:
        check_option(self.components, ("all", "special", "connected"), "components")
        if min(self.positive, self.negative) < 1:
            raise ConventionError(
                expected="at least one square of each sign",
                got=f"{self.positive} and {self.negative}", argument="positive",
                advice="O(n) keeps a sum of n squares.",
            )  # fmt: skip

    @property
    def matrix_size(self) -> int:
        return self.positive + self.negative

    @property
    def space_dim(self) -> int:
        return self.matrix_size

    orthogonal_dim: ClassVar[None] = None
    preserves_lengths: ClassVar[bool] = False

    def form(self) -> Float[Tensor, "n n"]:
        signs = torch.ones(self.matrix_size, dtype=torch.float64)
        signs[self.positive :] = -1.0
        return torch.diag(signs)

    def defect(self, g: Matrix) -> Scalar:
        """That of the form; infinite in another component."""
        p, found = self.positive, super().defect(g)
        first, last = determinant(g[..., :p, :p]), determinant(g[..., p:, p:])
        if self.components == "all":
            return found
        kept = first * last > 0
        if self.components == "connected":
            kept = kept & (first > 0)
        return torch.where(kept, found, torch.inf)

    def discrete_generators(self) -> Matrix:
        """Mirrors of one axis of each sign; of "special" both at once."""
        mirrors = torch.ones(2, self.matrix_size, dtype=torch.float64)
        mirrors[0, 0] = mirrors[1, -1] = -1.0
        if self.components == "special":
            mirrors = mirrors.prod(0, keepdim=True)
        return torch.diag_embed(mirrors[: 0 if self.components == "connected" else None])

    def special_elements(self) -> dict[str, Matrix]:
        """Half turns, and mirrors where they belong."""
        mirrors = {f"mirror {k}": g for k, g in enumerate(self.discrete_generators())}
        return {**super().special_elements(), **mirrors}

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """exp of normal coordinates of standard deviation ``scale``, in a random component."""
        g = super().draw(batch, generator=generator, scale=scale)
        for mirror in self.discrete_generators():
            flip = torch.randint(2, (*batch, 1, 1), generator=generator).bool()
            g = torch.where(flip, g @ mirror, g)
        return g


@dataclass(frozen=True)
class Symplectic(PreservesForm):
    """Sp(2m): real matrices that keep J = [[0, I], [-I, 0]], the linear maps of phase space (q, p).

    Args:
        half: m, the number of coordinates, at least 1; matrices are 2m x 2m.

    Raises:
        ConventionError: m is less than 1.

    Example:
        >>> g = Symplectic(2).sample(generator=torch.Generator().manual_seed(0), scale=0.3)
        >>> bool(Symplectic(2).contains(g)), bool(Symplectic(2).contains(2 * g))
        (True, False)
    """

    symmetric: ClassVar[bool] = False
    half: int

    def __post_init__(self) -> None:
        if self.half < 1:
            raise ConventionError(
                expected="at least 1 coordinate", got=str(self.half), argument="half",
                advice="Symplectic(1) is SL(2): matrices of phase space (q, p).",
            )  # fmt: skip

    @property
    def matrix_size(self) -> int:
        return 2 * self.half

    @property
    def space_dim(self) -> int:
        return self.matrix_size

    orthogonal_dim: ClassVar[None] = None
    preserves_lengths: ClassVar[bool] = False

    def form(self) -> Float[Tensor, "n n"]:
        eye, zero = torch.eye(self.half), torch.zeros(self.half, self.half)
        return torch.cat([torch.cat([zero, eye], 1), torch.cat([-eye, zero], 1)]).double()
