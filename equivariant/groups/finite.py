"""Finite groups of matrices, from the elements that generate them."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups.algebra import has_orthogonal_matrices
from equivariant.groups.base import Group
from equivariant.groups.membership import numbers_are_known
from equivariant.groups.numerics import inverse_matrix, numbers
from equivariant.shapes import Coordinates, Float, Matrix, Scalar

_MOST = 20_000  # elements that are listed


class Finite(Group):
    """A finite group of n x n matrices, as a Lie group of dimension 0.

    Coordinates have shape (..., 0), exp gives the identity, and only the identity has a
    logarithm. All elements are listed once: products of generators until nothing new appears.
    """

    compact: ClassVar[bool] = True
    dim: ClassVar[int] = 0
    injectivity_radius: ClassVar[float] = math.inf

    @abstractmethod
    def discrete_generators(self) -> Matrix:
        """Elements that generate the group, shape (k, n, n), float64; none for the trivial one."""

    @property
    def matrix_size(self) -> int:
        return int(self.discrete_generators().shape[-1])

    @property
    def space_dim(self) -> int:
        return self.matrix_size

    @property
    def preserves_lengths(self) -> bool:
        """Whether the generators are orthogonal."""
        return has_orthogonal_matrices(self)

    @property
    def orthogonal_dim(self) -> int | None:
        return self.matrix_size if self.preserves_lengths else None

    def elements(self) -> Float[Tensor, "elements n n"]:
        """All elements, the identity first, float64.

        Raises:
            ConventionError: There are more than 20 000.
        """
        found: Tensor = torch.tensor(self._listed().tolist(), dtype=torch.float64)
        return found

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self._listed())

    def _listed(self) -> NDArray[np.float64]:
        g = numbers(self.discrete_generators)
        return _products(g.tobytes(), len(g), self.matrix_size)

    def basis(self) -> Float[Tensor, "d n n"]:
        return torch.zeros(0, self.matrix_size, self.matrix_size, dtype=torch.float64)

    def exp(self, coordinates: Coordinates) -> Matrix:
        self.check_coordinates(coordinates)
        batch = coordinates.shape[:-1]
        return self.identity(*batch, dtype=coordinates.dtype, device=coordinates.device)

    def log(self, g: Matrix) -> Coordinates:
        """No coordinates, shape (..., 0), of the identity.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: An element is not the identity.
        """
        self.check_member(g)
        eye = torch.eye(self.matrix_size).to(g)
        if numbers_are_known(g) and bool(((g - eye).abs() > 1e-4).any()):
            raise ConventionError(
                expected="the identity, the only element of a finite group that has a logarithm",
                got="another element", argument="g",
                advice="A finite group has no continuous motions; compare elements by distance.",
            )  # fmt: skip
        return g.new_zeros(*g.shape[:-2], 0)

    def special_elements(self) -> dict[str, Matrix]:
        """The generators."""
        eye = self.identity()
        found = (g for g in self.discrete_generators() if not torch.equal(g, eye))
        return {f"generator {k}": g for k, g in enumerate(found)}

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return inverse_matrix(g, orthogonal=self.preserves_lengths)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Uniform elements; ``scale`` is not used."""
        elements = self.elements()
        return elements[torch.randint(len(elements), batch, generator=generator)]

    def project(self, matrix: Matrix) -> Matrix:
        """Nearest element, from the list; locally constant, so it carries no gradient."""
        self.check_element(matrix, "matrix")
        elements = self.elements().to(matrix)
        flat = matrix.detach().flatten(-2)
        score = flat @ elements.flatten(1).T - 0.5 * elements.flatten(1).square().sum(-1)
        nearest: Tensor = elements[score.argmax(-1)]
        return nearest

    def distance(self, a: Matrix, b: Matrix) -> Scalar:
        """|a - b| in the Frobenius norm over 2 √n: in [0, 1] for orthogonal elements, shape (...).

        Left-invariant for these; locally constant, so it carries no gradient.
        """
        self.check_member(a, "a")
        self.check_member(b, "b")
        apart: Tensor = torch.linalg.matrix_norm((a - b).detach())
        share: Tensor = apart / (2 * self.matrix_size**0.5)
        return share


class Generated(Finite):
    """The finite group that given matrices generate.

    Args:
        generators: Shape (k, n, n), floating point, at least one.

    Raises:
        ShapeError: They have another shape.
        ConventionError: One is singular, or they generate more than 20 000 elements.

    Example:
        >>> turn = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> Generated(turn).order
        4
    """

    def __init__(self, generators: Float[Tensor, "k n n"]) -> None:
        if generators.ndim != 3 or len(generators) < 1 or len(set(generators.shape[1:])) != 1:
            raise ShapeError(
                expected="at least one generator as a matrix, shape (k, n, n)",
                got=f"shape {tuple(generators.shape)}", argument="generators",
                advice="torch.stack the matrices.",
            )  # fmt: skip
        wide = generators.detach().cpu().double()
        if bool((torch.linalg.det(wide).abs() < 1e-9).any()):
            raise ConventionError(
                expected="invertible matrices", got="a singular one", argument="generators",
                advice="Elements of a group have inverses.",
            )  # fmt: skip
        self._generators = wide
        _products(wide.numpy().tobytes(), len(wide), wide.shape[-1])

    def discrete_generators(self) -> Matrix:
        return self._generators.clone()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Generated) and torch.equal(self._generators, other._generators)

    def __hash__(self) -> int:
        return hash(self._generators.numpy().tobytes())

    def __repr__(self) -> str:
        return f"Generated({self.order} elements of size {self.matrix_size})"


@dataclass(frozen=True)
class Cyclic(Finite):
    """Z_n: cyclic shifts of n numbers, as permutation matrices.

    Args:
        size: n, at least 1.

    Example:
        >>> Cyclic(3).discrete_generators()[0] @ torch.tensor([1.0, 2.0, 3.0]).double()
        tensor([3., 1., 2.], dtype=torch.float64)
    """

    size: int

    def __post_init__(self) -> None:
        _check_size(self.size)

    def discrete_generators(self) -> Matrix:
        return torch.eye(self.size, dtype=torch.float64).roll(1, 0)[None]


@dataclass(frozen=True)
class Dihedral(Finite):
    """Turns of the plane by 2π/n, with a mirror or without: the symmetries of a regular n-gon.

    Args:
        size: n, at least 1.
        mirrored: Whether the mirror y ↦ -y belongs to it; without it the group is that of the
            turns alone, cyclic of order n.

    Example:
        >>> Dihedral(4).order, Dihedral(4, mirrored=False).order
        (8, 4)
    """

    size: int
    mirrored: bool = True

    def __post_init__(self) -> None:
        _check_size(self.size)

    @property
    def matrix_size(self) -> int:
        return 2

    def discrete_generators(self) -> Matrix:
        angle = 2 * math.pi / self.size
        cos, sin = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        mirror = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
        return _whole(torch.stack([turn, mirror] if self.mirrored else [turn]))


@dataclass(frozen=True)
class Octahedral(Finite):
    """The 24 turns of space that take a cube to itself, as 3 x 3 matrices of 0, 1 and -1.

    Args:
        mirrored: Whether the inversion -I belongs to it: 48 elements.

    Example:
        >>> Octahedral().order, Octahedral(mirrored=True).order
        (24, 48)
    """

    mirrored: bool = False

    @property
    def matrix_size(self) -> int:
        return 3

    def discrete_generators(self) -> Matrix:
        about_z = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
        about_x = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
        inversion = -torch.eye(3, dtype=torch.float64)
        return torch.stack([about_z, about_x, inversion][: 3 if self.mirrored else 2])


@dataclass(frozen=True)
class CubeFaces(Finite):
    """The 24 turns of a cube as permutations of its faces +x, -x, +y, -y, +z, -z.

    Example:
        >>> CubeFaces().order, CubeFaces().matrix_size
        (24, 6)
    """

    def discrete_generators(self) -> Matrix:
        faces = torch.eye(3, dtype=torch.float64).repeat_interleave(2, 0)
        faces = faces * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(3)[:, None]
        moved = faces @ Octahedral().discrete_generators().transpose(-1, -2)
        return (moved.unsqueeze(-3) - faces.unsqueeze(-2)).abs().sum(-1).eq(0).double()


@dataclass(frozen=True)
class TrivialGroup(Finite):
    """The identity alone, on n numbers: nothing is asked of what is equivariant under it.

    Args:
        size: n, at least 1.

    Example:
        >>> TrivialGroup(3).order
        1
    """

    size: int

    def __post_init__(self) -> None:
        _check_size(self.size)

    def discrete_generators(self) -> Matrix:
        return torch.zeros(0, self.size, self.size, dtype=torch.float64)


def _check_size(size: int) -> None:
    if size < 1:
        raise ConventionError(
            expected="a size of at least 1", got=str(size), argument="size",
            advice="The size is the number of things that are moved, or of turns.",
        )  # fmt: skip


def _whole(g: Tensor) -> Tensor:
    """Entries within rounding of a whole number, made whole."""
    return torch.where((g - g.round()).abs() < 1e-14, g.round() + 0.0, g)


@lru_cache(maxsize=64)
def _products(generators: bytes, count: int, size: int) -> NDArray[np.float64]:
    """All products of generators, the identity first, shape (elements, size, size)."""
    given = np.frombuffer(generators).reshape(count, size, size)
    found = [np.eye(size)]
    seen = {_key(found[0])}
    at = 0
    while at < len(found):
        for g in given:
            product = g @ found[at]
            key = _key(product)
            if key not in seen:
                seen.add(key)
                found.append(product)
        if len(found) > _MOST or not np.isfinite(found[-1]).all():
            raise ConventionError(
                expected=f"generators of at most {_MOST} elements", got="more",
                argument="generators",
                advice="Permutation(n) is the group of all permutations; continuous groups have "
                "classes of their own.",
            )  # fmt: skip
        at += 1
    return np.stack(found)


def _key(g: NDArray[np.float64]) -> bytes:
    return (np.round(g, 6) + 0.0).tobytes()
