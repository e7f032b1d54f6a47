"""Rigid motions of space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.groups.base import Group
from equivariant.groups.membership import affine_defect, orthogonality_defect
from equivariant.groups.numerics import near_zero, random_normal
from equivariant.groups.so3 import SO3, skew
from equivariant.shapes import Coordinates, Float, Matrix, Rotation, Scalar, Vector3

_SO3 = SO3()
# Power series in t = θ²: (1 - cos θ)/θ², (θ - sin θ)/θ³, (1 - (θ/2) cot(θ/2))/θ².
_B = (1 / 2, -1 / 24, 1 / 720, -1 / 40320, 1 / 3628800)
_C = (1 / 6, -1 / 120, 1 / 5040, -1 / 362880, 1 / 39916800)
_D = (1 / 12, 1 / 720, 1 / 30240, 1 / 1209600, 1 / 47900160)


@dataclass(frozen=True)
class SE3(Group):
    """Rigid motions x ↦ R x + p as 4x4 matrices [[R, p], [0, 1]].

    Coordinates are (w, v): the rotation vector in radians, then the translational velocity in
    the unit of length.

        exp(w, v) = [[exp w, J v], [0, 1]],   J = I + B [w]× + C [w]×²,
        B = (1 - cos θ)/θ²,   C = (θ - sin θ)/θ³

    Example:
        >>> x = torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 3.0], dtype=torch.float64)
        >>> bool(torch.allclose(SE3().log(SE3().exp(x)), x, atol=1e-14))
        True
    """

    compact: ClassVar[bool] = False
    dim: ClassVar[int] = 6
    matrix_size: ClassVar[int] = 4
    space_dim: ClassVar[int] = 3
    orthogonal_dim: ClassVar[int] = 3
    preserves_lengths: ClassVar[bool] = True
    direction_names: ClassVar[tuple[str, ...]] = (
        "turn x", "turn y", "turn z", "shift x", "shift y", "shift z",
    )  # fmt: skip

    @staticmethod
    def join(rotation: Rotation, translation: Vector3) -> Matrix:
        """Element from its rotation (..., 3, 3) and translation (..., 3)."""
        top = torch.cat([rotation, translation.unsqueeze(-1)], -1)
        bottom = torch.zeros_like(top[..., :1, :])
        bottom[..., -1] = 1.0
        return torch.cat([top, bottom], -2)

    @staticmethod
    def split(g: Matrix) -> tuple[Rotation, Vector3]:
        """Rotation (..., 3, 3) and translation (..., 3) of an element."""
        return g[..., :3, :3], g[..., :3, 3]

    @property
    def linear_group(self) -> Group:
        return _SO3

    def basis(self) -> Float[Tensor, "d n n"]:
        basis = torch.zeros(6, 4, 4, dtype=torch.float64)
        basis[:3, :3, :3] = _SO3.basis()
        basis[3:, :3, 3] = torch.eye(3, dtype=torch.float64)
        return basis

    def exp(self, coordinates: Coordinates) -> Matrix:
        self.check_coordinates(coordinates)
        w, v = coordinates[..., :3], coordinates[..., 3:]
        t = w.square().sum(-1)[..., None, None]
        b = near_zero(t, threshold=0.01, series=_B, otherwise=lambda t: (1 - t.sqrt().cos()) / t)
        c = near_zero(
            t, threshold=0.01, series=_C, otherwise=lambda t: (1 - t.sqrt().sin() / t.sqrt()) / t
        )
        k = skew(w)
        jacobian = torch.eye(3, dtype=k.dtype, device=k.device) + b * k + c * (k @ k)
        return self.join(_SO3.exp(w), (jacobian @ v.unsqueeze(-1)).squeeze(-1))

    def log(self, g: Matrix) -> Coordinates:
        self.check_member(g)
        rotation, translation = self.split(g)
        w = _SO3.log(rotation)
        t = w.square().sum(-1)[..., None, None]
        d = near_zero(
            t,
            threshold=0.01,
            series=_D,
            otherwise=lambda t: (1 - 0.5 * t.sqrt() / (0.5 * t.sqrt()).tan()) / t,
        )
        k = skew(w)
        inverse_jacobian = torch.eye(3, dtype=k.dtype, device=k.device) - 0.5 * k + d * (k @ k)
        return torch.cat([w, (inverse_jacobian @ translation.unsqueeze(-1)).squeeze(-1)], -1)

    def without(self) -> dict[str, Callable[[Matrix], Matrix]]:
        """Without translations: the rotation about the origin."""
        return {"translations": lambda g: self.join(g[..., :3, :3], 0.0 * g[..., :3, 3])}

    def defect(self, g: Matrix) -> Scalar:
        return affine_defect(g, orthogonality_defect(g[..., :3, :3], special=True))

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        rotation, translation = self.split(g)
        back = rotation.transpose(-1, -2)
        return self.join(back, -(back @ translation.unsqueeze(-1)).squeeze(-1))

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Haar-uniform rotations and independent normal translations of deviation ``scale``."""
        rotation = _SO3.draw(batch, generator=generator)
        translation = scale * random_normal((*batch, 3), generator=generator)
        return self.join(rotation, translation)

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        rotation, translation = self.split(matrix)
        return self.join(_SO3.project(rotation), translation)
