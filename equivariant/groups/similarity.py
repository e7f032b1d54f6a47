"""Similarities: rotations, translations and one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.affine import Affine
from equivariant.groups.base import Group
from equivariant.groups.membership import affine_defect, determinant, orthogonality_defect
from equivariant.groups.numerics import at_least_single, axis_names, random_normal
from equivariant.groups.scaled_rotations import ScaledRotations
from equivariant.groups.so2 import SO2
from equivariant.groups.so3 import SO3
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class Sim(Group):
    """Similarities x ↦ e^s R x + p of the plane or of space, matrices [[e^s R, p], [0, 1]].

    Coordinates are (w, s, v): those of the rotation in radians, the logarithm of the scale, and
    the translational velocity.

        exp(w, s, v) = expm [[s I + [w], v], [0, 0]],   v = φ(s I + [w])⁻¹ p of an element,
        φ(B) = ∫₀¹ expm(t B) dt

    Args:
        size: 2 or 3.

    Raises:
        ConventionError: The size is another.

    Example:
        >>> x = torch.tensor([torch.pi, 0.5, 1.0, 2.0], dtype=torch.float64)
        >>> bool(torch.allclose(Sim(2).log(Sim(2).exp(x)), x, atol=1e-14))
        True
    """

    size: int
    compact: ClassVar[bool] = False
    preserves_lengths: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.size not in (2, 3):
            raise ConventionError(
                expected="2 or 3", got=str(self.size), argument="size",
                advice="Sim(2) acts on the plane, Sim(3) on space.",
            )  # fmt: skip

    @property
    def linear_group(self) -> Group:
        return ScaledRotations(self.size)

    @property
    def rotations(self) -> Group:
        """SO(2) or SO(3)."""
        return SO2() if self.size == 2 else SO3()

    @property
    def dim(self) -> int:
        return self.rotations.dim + 1 + self.size

    @property
    def matrix_size(self) -> int:
        return self.size + 1

    @property
    def space_dim(self) -> int:
        return self.size

    @property
    def orthogonal_dim(self) -> int:
        return self.size

    @property
    def direction_names(self) -> tuple[str, ...]:
        shifts = (f"shift {axis}" for axis in axis_names(self.size))
        return (*self.rotations.direction_names, "grow", *shifts)

    def basis(self) -> Float[Tensor, "d n n"]:
        n, k = self.size, self.rotations.dim
        basis = torch.zeros(self.dim, n + 1, n + 1, dtype=torch.float64)
        basis[:k, :n, :n] = self.rotations.basis()
        basis[k, :n, :n] = torch.eye(n, dtype=torch.float64)
        basis[k + 1 :, :n, n] = torch.eye(n, dtype=torch.float64)
        return basis

    def exp(self, coordinates: Coordinates) -> Matrix:
        return at_least_single(torch.linalg.matrix_exp, self.hat(coordinates))

    def log(self, g: Matrix) -> Coordinates:
        self.check_member(g)
        return at_least_single(self._log, g)

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        linear = g[..., :-1, :-1]
        back = linear.transpose(-1, -2) / self._scale(g).square()[..., None, None]
        return Affine.join(back, -(back @ g[..., :-1, -1:]).squeeze(-1))

    def defect(self, g: Matrix) -> Scalar:
        """Of the rotation, the linear part over its scale, and of the bottom row."""
        scale = self._scale(g)
        positive = torch.where(scale > 0, scale, 1.0)[..., None, None]
        return affine_defect(g, orthogonality_defect(g[..., :-1, :-1] / positive, special=True))

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Haar-uniform rotations; normal s and translations of deviation ``scale``."""
        rotation = self.rotations.draw(batch, generator=generator)
        grown = (scale * random_normal((*batch, 1, 1), generator=generator)).exp() * rotation
        return Affine.join(grown, scale * random_normal((*batch, self.size), generator=generator))

    def project(self, matrix: Matrix) -> Matrix:
        """Nearest element: R nearest to the linear part M, scale tr(Rᵀ M) / n.

        Where the trace is not positive the nearest point is no element; the scale is then √ε.
        """
        self.check_element(matrix, "matrix")
        linear = matrix[..., :-1, :-1]
        rotation = self.rotations.project(linear)
        scale = (rotation * linear).sum((-2, -1), keepdim=True) / self.size
        least = torch.finfo(matrix.dtype).eps ** 0.5
        return Affine.join(scale.clamp(min=least) * rotation, matrix[..., :-1, -1])

    def _scale(self, g: Tensor) -> Tensor:
        """e^s = det(linear part)^(1/n), shape (...)."""
        return determinant(g[..., :-1, :-1]).abs() ** (1 / self.size)

    def _log(self, g: Tensor) -> Tensor:
        n, scale = self.size, self._scale(g)
        turn = self.rotations.log(g[..., :n, :n] / scale[..., None, None])
        algebra = self.rotations.hat(turn)
        eye = torch.eye(n, dtype=g.dtype, device=g.device)
        grow = scale.log()
        b = algebra + grow[..., None, None] * eye
        # expm [[B, I], [0, 0]] = [[expm B, φ(B)], [0, I]]
        top = torch.cat([b, eye.expand_as(b)], -1)
        phi = torch.linalg.matrix_exp(torch.cat([top, torch.zeros_like(top)], -2))[..., :n, n:]
        v = torch.linalg.solve(phi, g[..., :n, n:]).squeeze(-1)
        return torch.cat([turn, grow.unsqueeze(-1), v], -1)
