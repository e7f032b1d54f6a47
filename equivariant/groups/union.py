"""The group that several groups of one space generate together."""

from __future__ import annotations

from functools import cached_property
from itertools import combinations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.algebra import has_orthogonal_matrices
from equivariant.groups.base import Group
from equivariant.groups.logarithm import principal_log
from equivariant.groups.membership import numbers_are_known
from equivariant.groups.numerics import at_least_single, inverse_matrix, numbers
from equivariant.groups.special_orthogonal import SO
from equivariant.shapes import Coordinates, Float, Matrix, Scalar

_SAME = 1e-9  # of a matrix of norm 1: what is left beside a span and counts as rounding
_ROUNDS = 24  # of a random word, every group once in each


class Union(Group):
    """The smallest closed group that contains several groups of matrices of one size.

    A map commutes with it where it commutes with each of them: the conditions are stacked, and
    no element is listed. Its Lie algebra is the smallest one that holds those of the members and
    is mapped to itself by their discrete elements,

        [X, Y] and h X h⁻¹ belong to it with X, Y, for every discrete generator h,

    so turns about two axes have all three directions of SO(3). What discrete elements alone
    approach is not in it: mirrors in two planes at an irrational angle count as two elements.

    Which matrices are products of elements of the members is in general not decided, so
    ``contains`` and ``project`` refuse; ``log`` takes the elements whose principal logarithm is
    in the algebra.

    Args:
        *groups: At least one, of one matrix size; unions among them are taken apart.

    Raises:
        ConventionError: No group, or of two sizes.

    Example:
        >>> from equivariant.groups import SO2, Embedded
        >>> about_z, about_x = Embedded(SO2(), 3, (0, 1)), Embedded(SO2(), 3, (1, 2))
        >>> Union(about_z, about_x).dim
        3
    """

    def __init__(self, *groups: Group) -> None:
        flat: list[Group] = []
        for group in groups:
            if not isinstance(group, Group):
                raise ConventionError(
                    expected="groups of matrices", got=repr(group), argument="groups",
                    advice="For example Union(Permutation(4), Lorentz()).",
                )  # fmt: skip
            members: tuple[Group, ...] = group.groups if isinstance(group, Union) else (group,)
            flat.extend(members)
        if len({group.matrix_size for group in flat}) != 1:
            raise ConventionError(
                expected="at least one group, all of matrices of one size",
                got=", ".join(map(str, flat)) or "none", argument="groups",
                advice="Embedded(group, size, axes) lets a group act on some axes of a larger one.",
            )  # fmt: skip
        self.groups: tuple[Group, ...] = tuple(flat)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Union) and self.groups == other.groups

    def __hash__(self) -> int:
        return hash(("union", self.groups))

    def __repr__(self) -> str:
        return f"Union({', '.join(map(repr, self.groups))})"

    @property
    def compact(self) -> bool:  # type: ignore[override]
        """Whether all elements are orthogonal matrices: two compact groups that are not
        orthogonal in one basis may generate one that is not compact."""
        return all(has_orthogonal_matrices(group) for group in self.groups)

    @property
    def dim(self) -> int:
        return len(self._algebra)

    @property
    def matrix_size(self) -> int:
        return self.groups[0].matrix_size

    @property
    def space_dim(self) -> int | None:
        """That of the members, where it is one."""
        found = {group.space_dim for group in self.groups}
        return found.pop() if len(found) == 1 else None

    @property
    def preserves_lengths(self) -> bool:
        return self.space_dim is not None and all(g.preserves_lengths for g in self.groups)

    @property
    def orthogonal_dim(self) -> int | None:
        """That of the members, where it is one."""
        found = {group.orthogonal_dim for group in self.groups}
        return found.pop() if len(found) == 1 and self.space_dim is not None else None

    @property
    def turns(self) -> bool:
        return any(group.turns for group in self.groups)

    def basis(self) -> Float[Tensor, "d n n"]:
        """Basis of the algebra that the members generate, float64, orthogonal: those of the
        members as they are as far as they are orthogonal to one another."""
        found: Tensor = torch.tensor(self._algebra.tolist(), dtype=torch.float64)
        return found.reshape(-1, self.matrix_size, self.matrix_size)

    def discrete_generators(self) -> Matrix:
        """Those of all members, one after another."""
        return torch.cat([group.discrete_generators() for group in self.groups])

    def exp(self, coordinates: Coordinates) -> Matrix:
        moved: Tensor = torch.linalg.matrix_exp(self.hat(coordinates))
        return moved

    def log(self, g: Matrix) -> Coordinates:
        """Coordinates of the principal logarithm, of orthogonal matrices also at half turns.

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: There is none, or it is not in the algebra: a matrix of another
                component, or no element.
        """
        self.check_element(g)
        if self.compact:  # rotations, whose logarithm reaches half turns
            turns = SO(self.matrix_size)
            logarithm = turns.hat(turns.log(g))
        else:
            logarithm = at_least_single(principal_log, g)
        found = self.vee(logarithm)
        if not numbers_are_known(g):
            return found
        size = torch.linalg.matrix_norm(logarithm.detach())
        left = torch.linalg.matrix_norm((logarithm - self.hat(found)).detach())
        if bool((left > 1e-4 * (1.0 + size)).any()):
            raise ConventionError(
                expected="elements whose principal logarithm is in the algebra",
                got=f"one that is {float(left.max()):.1e} beside it", argument="g",
                advice="Elements of other components have no coordinates.",
            )  # fmt: skip
        return found

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return inverse_matrix(g, orthogonal=self.compact)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Random words in elements of the members, each drawn by its own law.

        Words of compact groups tend to Haar measure exponentially in their length of 24 rounds.
        Where groups are not compact, ``scale`` is that of a word: theirs is ``scale`` / √24.
        """
        word = self.identity(*batch)
        for _ in range(_ROUNDS):
            for group in self.groups:
                step = group.draw(batch, generator=generator, scale=scale / _ROUNDS**0.5)
                word = word @ step
        return word

    def special_elements(self) -> dict[str, Matrix]:
        """Those of each member: ``"half turn 0 of group 1"``."""
        return {
            f"{name} of group {k}": g
            for k, group in enumerate(self.groups)
            for name, g in group.special_elements().items()
        }

    def distance(self, a: Matrix, b: Matrix) -> Scalar:
        """|a⁻¹ b - 1| in the Frobenius norm, shape (...): left-invariant, 0 for equal elements."""
        self.check_element(a, "a")
        self.check_element(b, "b")
        apart: Tensor = torch.linalg.matrix_norm(self.inverse(a) @ b - self.identity().to(a))
        return apart

    def project(self, matrix: Matrix) -> Matrix:
        """Refused.

        Raises:
            ConventionError: Always.
        """
        raise self._undecided("matrix")

    def defect(self, g: Matrix) -> Scalar:
        """Refused, and ``contains`` with it.

        Raises:
            ConventionError: Always.
        """
        raise self._undecided("g")

    @cached_property
    def _algebra(self) -> NDArray[np.float64]:
        return _generated_algebra(self)

    def _undecided(self, argument: str) -> ConventionError:
        return ConventionError(
            expected="a group whose elements can be told from other matrices", got=str(self),
            argument=argument,
            advice="Name the group if it has a class; Generated(matrices) lists a finite one.",
        )  # fmt: skip


def _generated_algebra(union: Union) -> NDArray[np.float64]:
    """Orthogonal basis of the generated algebra, shape (dim, n, n).

    Directions are added until brackets and discrete elements give nothing new.
    """
    n = union.matrix_size
    kept: list[NDArray[np.float64]] = []
    for group in union.groups:
        for X in numbers(group.basis):
            _add(kept, X, length=float(np.linalg.norm(X)))
    discrete = numbers(union.discrete_generators)
    inverses = np.linalg.inv(discrete) if len(discrete) else discrete
    done = 0
    while done != len(kept):
        done = len(kept)
        brackets = [X @ Y - Y @ X for X, Y in combinations(kept, 2)]
        moved = [h @ X @ k for X, (h, k) in product(kept, zip(discrete, inverses, strict=True))]
        for Z in (*brackets, *moved):
            _add(kept, Z, length=float(np.linalg.norm(kept[0])))
    return np.stack(kept) if kept else np.zeros((0, n, n))


def _add(kept: list[NDArray[np.float64]], X: NDArray[np.float64], *, length: float) -> None:
    """Append what X adds to the span, made as long as given, unless it is rounding."""
    size = float(np.linalg.norm(X))
    if size < _SAME:
        return
    rest = X / size
    for _ in range(2):
        for Y in kept:
            rest = rest - Y * (np.sum(Y * rest) / np.sum(Y * Y))
    left = float(np.linalg.norm(rest))
    if left > 1e-7:
        clean = rest * (length / left)
        kept.append(np.where(abs(clean - np.round(clean)) < 1e-13, np.round(clean) + 0.0, clean))
