"""A group that moves some axes of a larger space and leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.base import Group
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class Embedded(Group):
    """Elements of a group as the block on given axes of a larger identity matrix.

    ``Embedded(SO2(), 3, (0, 1))`` are the turns of space about z: a subgroup of SO(3) with the
    matrices of SO(3), so that both act on the same vectors.

    Args:
        group: Group of k x k matrices.
        size: Side of the larger matrix, at least k.
        axes: Where the group's axes go: k different numbers below size, in order.

    Raises:
        ConventionError: The axes do not fit.

    Example:
        >>> from equivariant.groups import SO2
        >>> turn = torch.tensor([torch.pi / 2], dtype=torch.float64)
        >>> Embedded(SO2(), 3, (1, 2)).exp(turn).round(decimals=9) + 0.0
        tensor([[ 1.,  0.,  0.],
                [ 0.,  0., -1.],
                [ 0.,  1.,  0.]], dtype=torch.float64)
    """

    group: Group
    size: int
    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        fits = len(set(self.axes)) == len(self.axes) == self.group.matrix_size
        if not fits or not all(0 <= axis < self.size for axis in self.axes):
            raise ConventionError(
                expected=f"{self.group.matrix_size} different axes from 0 to {self.size - 1}",
                got=str(self.axes), argument="axes",
                advice="Embedded(SO2(), 3, (0, 1)) turns about the last of three axes.",
            )  # fmt: skip

    @property
    def compact(self) -> bool:  # type: ignore[override]
        return self.group.compact

    @property
    def dim(self) -> int:
        return self.group.dim

    @property
    def matrix_size(self) -> int:
        return self.size

    @property
    def injectivity_radius(self) -> float:
        return self.group.injectivity_radius

    @property
    def space_dim(self) -> int | None:
        """The larger space, if the group moves points by matrices without translations."""
        return self.size if self.group.space_dim == self.group.matrix_size else None

    @property
    def preserves_lengths(self) -> bool:
        return self.space_dim is not None and self.group.preserves_lengths

    @property
    def orthogonal_dim(self) -> int | None:
        return self.size if self.preserves_lengths else None

    @property
    def turns(self) -> bool:
        return self.group.turns

    @property
    def direction_names(self) -> tuple[str, ...]:
        return self.group.direction_names

    def basis(self) -> Float[Tensor, "d n n"]:
        return self._placed(self.group.basis(), 0.0)

    def exp(self, coordinates: Coordinates) -> Matrix:
        return self._placed(self.group.exp(coordinates), 1.0)

    def log(self, g: Matrix) -> Coordinates:
        self.check_member(g)
        return self.group.log(self._block(g))

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return self._placed(self.group.inverse(self._block(g)), 1.0)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        return self._placed(self.group.draw(batch, generator=generator, scale=scale), 1.0)

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        return self._placed(self.group.project(self._block(matrix)), 1.0)

    def defect(self, g: Matrix) -> Scalar:
        """The larger of the block's defect and of what differs from the identity around it."""
        block = self._block(g)
        around = (g - self._placed(block, 1.0)).abs().amax((-2, -1))
        return torch.maximum(around, self.group.defect(block))

    def distance(self, a: Matrix, b: Matrix) -> Scalar:
        self.check_member(a, "a")
        self.check_member(b, "b")
        return self.group.distance(self._block(a), self._block(b))

    def special_elements(self) -> dict[str, Matrix]:
        found = self.group.special_elements()
        return {name: self._placed(g, 1.0) for name, g in found.items()}

    def discrete_generators(self) -> Matrix:
        return self._placed(self.group.discrete_generators(), 1.0)

    def without(self) -> dict[str, Callable[[Matrix], Matrix]]:
        def placed(drop: Callable[[Matrix], Matrix]) -> Callable[[Matrix], Matrix]:
            return lambda g: self._placed(drop(self._block(g)), 1.0)

        return {name: placed(drop) for name, drop in self.group.without().items()}

    def _block(self, g: Tensor) -> Tensor:
        axes = torch.tensor(self.axes, device=g.device)
        return g.index_select(-2, axes).index_select(-1, axes)

    def _placed(self, block: Tensor, diagonal: float) -> Tensor:
        """The block on its axes, ``diagonal`` on the rest of the diagonal, shape (..., n, n)."""
        place = torch.zeros(self.size, len(self.axes), dtype=block.dtype, device=block.device)
        place[list(self.axes), range(len(self.axes))] = 1.0
        rest = diagonal * (torch.eye(self.size).to(place) - place @ place.T)
        return place @ block @ place.T + rest
