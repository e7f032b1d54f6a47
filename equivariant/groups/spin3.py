"""Unit quaternions, the double cover of the rotations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.groups.base import Group
from equivariant.groups.numerics import near_zero, random_normal
from equivariant.groups.so3 import (
    matrix_from_quaternion_xyzw,
    rotation_vector_from_quaternion_xyzw,
)
from equivariant.shapes import Coordinates, Float, Matrix, Quaternion, Rotation

# sin(√t / 2) / √t and cos(√t / 2) in t.
_HALF_SINC = (1 / 2, -1 / 48, 1 / 3840, -1 / 645120, 1 / 185794560)
_HALF_COS = (1.0, -1 / 8, 1 / 384, -1 / 46080, 1 / 10321920)


@dataclass(frozen=True)
class Spin3(Group):
    """Unit quaternions as 4x4 matrices of left multiplication; coordinates as for SO(3).

    Two elements, q and -q, lie over each rotation. The relative quaternion of two views in
    3DIEBench's published code is such an element: its sign is that of the product of the two
    single-view quaternions. Components are ordered x, y, z, w, so the last column of an element
    is the quaternion itself.

    Example:
        >>> g = Spin3().exp(torch.tensor([0.0, 0.0, torch.pi]))
        >>> Spin3.quaternion_xyzw(g).abs().round(decimals=6)
        tensor([0., 0., 1., 0.])
    """

    compact: ClassVar[bool] = True
    dim: ClassVar[int] = 3
    matrix_size: ClassVar[int] = 4
    injectivity_radius: ClassVar[float] = 2 * math.pi

    @staticmethod
    def from_quaternion_xyzw(quaternion: Quaternion) -> Matrix:
        """Element ``p ↦ q p`` of a unit quaternion, shape (..., 4, 4)."""
        x, y, z, w = quaternion.unbind(-1)
        return torch.stack([w, -z, y, x, z, w, -x, y, -y, x, w, z, -x, -y, -z, w], -1).reshape(
            *x.shape, 4, 4
        )

    @staticmethod
    def quaternion_xyzw(g: Matrix) -> Quaternion:
        """Quaternion of an element, its sign kept, shape (..., 4)."""
        return g[..., :, 3]

    @staticmethod
    def rotation(g: Matrix) -> Rotation:
        """The covering map onto SO(3), shape (..., 3, 3)."""
        return matrix_from_quaternion_xyzw(Spin3.quaternion_xyzw(g))

    space_dim: ClassVar[None] = None
    orthogonal_dim: ClassVar[int] = 3
    preserves_lengths: ClassVar[bool] = True
    direction_names: ClassVar[tuple[str, ...]] = ("turn x", "turn y", "turn z")

    def orthogonal_part(self, g: Matrix) -> Float[Tensor, "... d d"]:
        """The rotation that an element lies over, shape (..., 3, 3)."""
        return self.rotation(g)

    def basis(self) -> Float[Tensor, "d n n"]:
        half = torch.cat([0.5 * torch.eye(3), torch.zeros(3, 1)], -1).double()
        return self.from_quaternion_xyzw(half)

    def exp(self, coordinates: Coordinates) -> Matrix:
        self.check_coordinates(coordinates)
        t = coordinates.square().sum(-1, keepdim=True)
        factor = near_zero(
            t,
            threshold=0.01,
            series=_HALF_SINC,
            otherwise=lambda t: (t.sqrt() / 2).sin() / t.sqrt(),
        )
        scalar = near_zero(
            t, threshold=0.01, series=_HALF_COS, otherwise=lambda t: (t.sqrt() / 2).cos()
        )
        return self.from_quaternion_xyzw(torch.cat([factor * coordinates, scalar], -1))

    def log(self, g: Matrix) -> Coordinates:
        """Rotation vector of length in [0, 2π]; at -1, where every direction serves, zero."""
        self.check_member(g)
        return rotation_vector_from_quaternion_xyzw(self.quaternion_xyzw(g))

    def special_elements(self) -> dict[str, Matrix]:
        """Half turns of space (the quaternions i, j, k), and -1, over the whole turn."""
        units = self.from_quaternion_xyzw(torch.eye(4, dtype=torch.float64))[:3]
        turns = {f"half turn {k}": unit for k, unit in enumerate(units)}
        return {**turns, "minus one": -self.identity()}

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return g.transpose(-1, -2)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        q = random_normal((*batch, 4), generator=generator)
        q = q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)
        return self.from_quaternion_xyzw(q)

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        flat = self.from_quaternion_xyzw(torch.eye(4).to(matrix))
        q = torch.einsum("...ij,kij->...k", matrix, flat) / 4
        return self.from_quaternion_xyzw(q / torch.linalg.vector_norm(q, dim=-1, keepdim=True))
