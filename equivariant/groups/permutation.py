"""Permutations of n things."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.base import Group
from equivariant.groups.membership import numbers_are_known
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class Permutation(Group):
    """Permutation matrices P: row i of P z is the row of z where P's row i has its 1.

    A finite group, as a Lie group of dimension 0: coordinates have shape (..., 0), exp gives
    the identity, and only the identity has a logarithm.

    Args:
        size: n, at least 1.

    Raises:
        ConventionError: n is less than 1.

    Example:
        >>> g = Permutation(4).sample(generator=torch.Generator().manual_seed(0))
        >>> g.sum(0).tolist(), g.sum(1).tolist()
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0])
    """

    size: int
    compact: ClassVar[bool] = True
    dim: ClassVar[int] = 0
    injectivity_radius: ClassVar[float] = math.inf

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConventionError(
                expected="at least 1 thing to permute",
                got=str(self.size),
                argument="size",
                advice="Pass the number of points, particles or nodes.",
            )

    @property
    def matrix_size(self) -> int:
        return self.size

    def basis(self) -> Float[Tensor, "d n n"]:
        return torch.zeros(0, self.size, self.size, dtype=torch.float64)

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
        self.check_element(g)
        if numbers_are_known(g) and not torch.equal(g, torch.eye(self.size).to(g).expand_as(g)):
            raise ConventionError(
                expected="the identity, the only permutation that has a logarithm",
                got="another permutation",
                argument="g",
                advice="Permutations are no continuous motions; compare them by distance.",
            )
        return g.new_zeros(*g.shape[:-2], 0)

    def special_elements(self) -> dict[str, Matrix]:
        """A swap of the first two, the reversal, and the cycle through all."""
        eye = self.identity()
        swap = torch.arange(self.size)
        swap[:2] = swap[:2].flip(0)
        candidates = {"swap": eye[swap], "reversal": eye.flip(0), "cycle": eye.roll(1, 0)}
        found: dict[str, Matrix] = {}
        for name, g in candidates.items():
            if not any(torch.equal(g, other) for other in (eye, *found.values())):
                found[name] = g
        return found

    def discrete_generators(self) -> Matrix:
        """The swap of the first two and the cycle through all, as far as they differ."""
        found = [g for name, g in self.special_elements().items() if name != "reversal"]
        return torch.stack(found) if found else super().discrete_generators()

    space_dim: ClassVar[None] = None
    preserves_lengths: ClassVar[bool] = True

    def defect(self, g: Matrix) -> Scalar:
        sums = torch.stack([g.sum(-1), g.sum(-2)], -1)
        return torch.maximum((g * (1 - g)).abs().amax((-2, -1)), (sums - 1).abs().amax((-2, -1)))

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return g.transpose(-1, -2)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Uniform permutations; ``scale`` is not used."""
        keys = torch.rand((*batch, self.size), generator=generator, dtype=torch.float64)
        return torch.eye(self.size, dtype=torch.float64)[keys.argsort(-1)]

    def project(self, matrix: Matrix) -> Matrix:
        """Nearest permutation, ``max_P Σ_ij P_ij M_ij``, an assignment solved exactly.

        It is locally constant in the matrix and carries no gradient.
        """
        self.check_element(matrix, "matrix")
        nearest: Tensor = _assignment(matrix.detach())
        return nearest

    def distance(self, a: Matrix, b: Matrix) -> Scalar:
        """Share of things that a and b send to different places (Hamming), in [0, 1].

        Invariant from the left and the right; locally constant, so it carries no gradient.

        Returns:
            Shape (...).
        """
        self.check_member(a, "a")
        self.check_member(b, "b")
        return (a != b).any(-1).to(a.dtype).mean(-1)


@torch.library.custom_op(
    "equivariant::assignment", mutates_args=(), schema="(Tensor scores) -> Tensor"
)
def _assignment(scores: Tensor) -> Tensor:
    """Permutation matrices of largest Σ_ij P_ij S_ij, shape (..., n, n)."""
    flat = scores.double().cpu().reshape(-1, *scores.shape[-2:]).numpy()
    nearest = np.zeros(flat.shape)
    for permutation, own in zip(nearest, flat, strict=True):
        permutation[linear_sum_assignment(own, maximize=True)] = 1.0
    return torch.from_numpy(nearest).reshape(scores.shape).to(scores)


@_assignment.register_fake
def _(scores: Tensor) -> Tensor:
    return torch.empty_like(scores)


@_assignment.register_vmap
def _(info: Any, in_dims: tuple[int | None], scores: Tensor) -> tuple[Tensor, int]:
    return _assignment(scores.movedim(in_dims[0] or 0, 0)), 0
