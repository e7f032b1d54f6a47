"""Positive scales of a space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.base import Group
from equivariant.groups.numerics import random_normal
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class Scaling(Group):
    """Matrices e^s I of n-space; the one coordinate is s.

    Args:
        size: n, at least 1.

    Raises:
        ConventionError: n is less than 1.

    Example:
        >>> Scaling(2).exp(torch.tensor([2.0], dtype=torch.float64).log())
        tensor([[2., 0.],
                [0., 2.]], dtype=torch.float64)
    """

    size: int
    compact: ClassVar[bool] = False
    dim: ClassVar[int] = 1
    preserves_lengths: ClassVar[bool] = False
    turns: ClassVar[bool] = False
    direction_names: ClassVar[tuple[str, ...]] = ("grow",)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConventionError(
                expected="at least 1 dimension", got=str(self.size), argument="size",
                advice="Scaling(3) scales space.",
            )  # fmt: skip

    @property
    def matrix_size(self) -> int:
        return self.size

    @property
    def space_dim(self) -> int:
        return self.size

    def basis(self) -> Float[Tensor, "d n n"]:
        return torch.eye(self.size, dtype=torch.float64)[None]

    def exp(self, coordinates: Coordinates) -> Matrix:
        self.check_coordinates(coordinates)
        eye = torch.eye(self.size, dtype=coordinates.dtype, device=coordinates.device)
        return coordinates.exp().unsqueeze(-1) * eye

    def log(self, g: Matrix) -> Coordinates:
        self.check_member(g)
        return self._scale(g).log().unsqueeze(-1)

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return g / self._scale(g).square()[..., None, None]

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Normal s of standard deviation ``scale``."""
        return self.exp(scale * random_normal((*batch, 1), generator=generator))

    def defect(self, g: Matrix) -> Scalar:
        """max |g - (tr g / n) I|, relative to that number; infinite where it is not positive."""
        scale = self._scale(g)
        eye = torch.eye(self.size, dtype=g.dtype, device=g.device)
        off = (g - scale[..., None, None] * eye).abs().amax((-2, -1))
        return torch.where(scale > 0, off / torch.where(scale > 0, scale, 1.0), torch.inf)

    def project(self, matrix: Matrix) -> Matrix:
        """(tr M / n) I; where the trace is not positive, √ε I."""
        self.check_element(matrix, "matrix")
        least = torch.finfo(matrix.dtype).eps ** 0.5
        eye = torch.eye(self.size, dtype=matrix.dtype, device=matrix.device)
        return self._scale(matrix).clamp(min=least)[..., None, None] * eye

    def _scale(self, g: Tensor) -> Tensor:
        """e^s = tr g / n, shape (...)."""
        return g.diagonal(dim1=-2, dim2=-1).mean(-1)
