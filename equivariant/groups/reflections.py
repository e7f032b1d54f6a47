"""Groups with reflections: O(n), E(2) and E(3), each two copies of the group of rotations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.affine import Affine
from equivariant.groups.base import Group
from equivariant.groups.membership import (
    affine_defect,
    determinant,
    numbers_are_known,
    orthogonality_defect,
)
from equivariant.groups.nearest_orthogonal import nearest_orthogonal
from equivariant.groups.o3 import O3
from equivariant.groups.reductive import Reductive
from equivariant.groups.se2 import SE2
from equivariant.groups.se3 import SE3
from equivariant.groups.so2 import SO2
from equivariant.groups.special_orthogonal import SO
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


class _WithReflections(Group):
    """A group of orthogonal linear parts over its subgroup of determinant 1.

    The Lie algebra is that of the subgroup; its exponential reaches the subgroup only. Random
    elements are reflected with probability 1/2.
    """

    preserves_lengths: ClassVar[bool] = True

    @property
    @abstractmethod
    def proper(self) -> Group:
        """The subgroup of determinant 1."""

    @property
    def dim(self) -> int:
        return self.proper.dim

    @property
    def matrix_size(self) -> int:
        return self.proper.matrix_size

    @property
    def space_dim(self) -> int | None:
        return self.proper.space_dim

    @property
    def orthogonal_dim(self) -> int | None:
        return self.proper.space_dim

    @property
    def direction_names(self) -> tuple[str, ...]:
        return self.proper.direction_names

    def basis(self) -> Float[Tensor, "d n n"]:
        return self.proper.basis()

    def exp(self, coordinates: Coordinates) -> Matrix:
        return self.proper.exp(coordinates)

    def log(self, g: Matrix) -> Coordinates:
        """Coordinates of an element of determinant 1.

        Raises:
            ConventionError: An element reverses orientation, so that it has no logarithm, or a
                matrix is no element.
        """
        self.check_member(g)
        if numbers_are_known(g) and bool((determinant(self._linear(g.detach())) < 0).any()):
            raise ConventionError(
                expected="elements of determinant +1", got="an element that reverses orientation",
                argument="g",
                advice="Split off a reflection first: what is left has a logarithm.",
            )  # fmt: skip
        return self.proper.log(g)

    def inverse(self, g: Matrix) -> Matrix:
        return self.proper.inverse(g)

    def defect(self, g: Matrix) -> Scalar:
        linear = orthogonality_defect(self._linear(g), special=False)
        return linear if self.matrix_size == self.space_dim else affine_defect(g, linear)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        proper = self.proper.draw(batch, generator=generator, scale=scale)
        flip = torch.randint(2, (*batch, 1, 1), generator=generator).bool()
        return torch.where(flip, proper @ self._mirror(0).to(proper), proper)

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        linear = nearest_orthogonal(self._linear(matrix), special=False)
        if self.matrix_size == self.space_dim:
            return linear
        return Affine.join(linear, matrix[..., :-1, -1])

    def distance(self, a: Matrix, b: Matrix) -> Scalar:
        """Norm of log(a⁻¹ b); infinite between elements of different orientation."""
        self.check_member(a, "a")
        self.check_member(b, "b")
        relative = self.inverse(a) @ b
        proper = determinant(self._linear(relative.detach())) > 0
        mirror = self._mirror(0).to(relative)
        found = self.proper.distance(
            self.proper.identity().to(relative),
            torch.where(proper[..., None, None], relative, relative @ mirror),
        )
        return torch.where(proper, found, torch.inf)

    def special_elements(self) -> dict[str, Matrix]:
        """Half turns, the mirrors of the coordinate axes, and in space the inversion."""
        d = self._linear(self.identity()).shape[-1]
        found = super().special_elements()
        found.update({f"mirror {k}": self._mirror(k) for k in range(d)})
        if d % 2:
            inversion = self.identity()
            inversion[:d, :d] *= -1.0
            found["inversion"] = inversion + 0.0
        return found

    def discrete_generators(self) -> Matrix:
        """One mirror: rotations and translations give the others."""
        return self._mirror(0)[None]

    def without(self) -> dict[str, Callable[[Matrix], Matrix]]:
        """Without reflections, by a mirror where there is one; and what the subgroup can drop."""

        def proper(g: Matrix) -> Matrix:
            kept = (determinant(self._linear(g)) > 0)[..., None, None]
            return torch.where(kept, g, g @ self._mirror(0).to(g))

        return {"reflections": proper, **self.proper.without()}

    def _linear(self, g: Tensor) -> Tensor:
        d = self.space_dim
        return g[..., :d, :d]

    def _mirror(self, axis: int) -> Tensor:
        mirror = self.identity()
        mirror[axis, axis] = -1.0
        return mirror


@dataclass(frozen=True)
class O2(_WithReflections, Reductive):
    """Rotations and reflections of the plane; the one coordinate is the angle in radians.

    Example:
        >>> g = O2().sample(1000, generator=torch.Generator().manual_seed(0))
        >>> 0.4 < float((torch.linalg.det(g) > 0).double().mean()) < 0.6
        True
    """

    compact: ClassVar[bool] = True

    @property
    def proper(self) -> Group:
        return SO2()

    @property
    def orthogonal_subgroup(self) -> Group:
        return self

    def stretches(self) -> Float[Tensor, "k n"]:
        return torch.zeros(0, 2, dtype=torch.float64)


@dataclass(frozen=True)
class O(_WithReflections, Reductive):  # noqa: E742
    """Orthogonal n x n matrices; coordinates are those of :class:`SO`.

    :class:`O2` and :class:`O3` are the same groups with closed forms.

    Args:
        size: n, at least 2.

    Raises:
        ConventionError: n is less than 2.

    Example:
        >>> bool(O(4).contains(-torch.eye(4))), O(4).dim
        (True, 6)
    """

    size: int
    compact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        SO(self.size)

    @property
    def proper(self) -> Group:
        return SO(self.size)

    @property
    def orthogonal_subgroup(self) -> Group:
        return self

    def stretches(self) -> Float[Tensor, "k n"]:
        return torch.zeros(0, self.size, dtype=torch.float64)


@dataclass(frozen=True)
class E2(_WithReflections):
    """Isometries x ↦ Q x + p of the plane, Q orthogonal; coordinates as for :class:`SE2`.

    Example:
        >>> E2().matrix_size, list(E2().special_elements())
        (3, ['half turn 0', 'mirror 0', 'mirror 1'])
    """

    compact: ClassVar[bool] = False

    @property
    def proper(self) -> Group:
        return SE2()

    @property
    def linear_group(self) -> Group:
        return O2()


@dataclass(frozen=True)
class E3(_WithReflections):
    """Isometries x ↦ Q x + p of space, Q orthogonal; coordinates as for :class:`SE3`.

    Example:
        >>> g = E3().sample(4, generator=torch.Generator().manual_seed(0))
        >>> E3().orthogonal_part(g).shape
        torch.Size([4, 3, 3])
    """

    compact: ClassVar[bool] = False

    @property
    def proper(self) -> Group:
        return SE3()

    @property
    def linear_group(self) -> Group:
        return O3()
