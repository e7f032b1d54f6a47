"""Lorentz transformations that keep the orientations of time and space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.groups.base import Group
from equivariant.groups.membership import determinant
from equivariant.groups.numerics import at_least_single, random_normal
from equivariant.groups.so3 import SO3
from equivariant.shapes import Coordinates, Float, Matrix, Scalar

_SO3 = SO3()
# 2 arcsin(s) / s in t = s².
_ASINC = (2.0, 1 / 3, 3 / 20, 5 / 56, 35 / 576, 63 / 1408, 231 / 6656)
_METRIC = (-1.0, 1.0, 1.0, 1.0)
_EPSILON = {(0, 1): 2, (1, 2): 0, (2, 0): 1}


@dataclass(frozen=True)
class Lorentz(Group):
    """SO⁺(1,3): 4x4 matrices with Λᵀ η Λ = η, det Λ = 1 and Λ₀₀ >= 1, on vectors (t, x, y, z).

    η = diag(-1, 1, 1, 1), with t in units of length. Coordinates are (w, ζ): the rotation vector
    in radians and the rapidities, so that exp(0, ζ) is the boost with velocity tanh |ζ| along ζ.

    The logarithm goes through the complex rotation Q that Λ makes of E + i B, a member of
    SO(3, C) with the rotation vector w + i ζ, and through its complex quaternion; half turns
    are reached.

    Example:
        >>> x = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
        >>> Lorentz().exp(x)[:2, :2]
        tensor([[1.5431, 1.1752],
                [1.1752, 1.5431]], dtype=torch.float64)
    """

    compact: ClassVar[bool] = False
    dim: ClassVar[int] = 6
    matrix_size: ClassVar[int] = 4
    space_dim: ClassVar[int] = 4
    orthogonal_dim: ClassVar[None] = None
    preserves_lengths: ClassVar[bool] = False
    direction_names: ClassVar[tuple[str, ...]] = (
        "turn x", "turn y", "turn z", "boost x", "boost y", "boost z",
    )  # fmt: skip

    def basis(self) -> Float[Tensor, "d n n"]:
        basis = torch.zeros(6, 4, 4, dtype=torch.float64)
        basis[:3, 1:, 1:] = _SO3.basis()
        for k in range(3):
            basis[3 + k, 0, k + 1] = basis[3 + k, k + 1, 0] = 1.0
        return basis

    def exp(self, coordinates: Coordinates) -> Matrix:
        return at_least_single(torch.linalg.matrix_exp, self.hat(coordinates))

    def log(self, g: Matrix) -> Coordinates:
        self.check_member(g)
        return at_least_single(_log, g)

    def inverse(self, g: Matrix) -> Matrix:
        """η Λᵀ η."""
        self.check_element(g)
        signs = torch.tensor(_METRIC, dtype=g.dtype, device=g.device)
        return signs[:, None] * g.transpose(-1, -2) * signs

    def defect(self, g: Matrix) -> Scalar:
        """max |Λᵀ η Λ - η| over max Λ²; infinite where time or space is reversed."""
        eye = torch.eye(4, dtype=g.dtype, device=g.device)
        size = g.abs().amax((-2, -1)).clamp(min=1.0).square()
        found = (self.inverse(g) @ g - eye).abs().amax((-2, -1)) / size
        kept = (g[..., 0, 0] > 0) & (determinant(g) > 0)
        return torch.where(kept, found, torch.inf)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """A Haar-uniform rotation, then a boost with normal rapidities of deviation ``scale``."""
        rotation = _SO3.draw(batch, generator=generator)
        rapidity = scale * random_normal((*batch, 3), generator=generator)
        boost = self.exp(torch.cat([torch.zeros_like(rapidity), rapidity], -1))
        return boost @ _space(rotation)

    def project(self, matrix: Matrix) -> Matrix:
        """An element made of a matrix: the boost that its first column names, times a rotation.

        The column's space part gives the boost B; the rotation is the one nearest to the space
        part of B⁻¹ M. Elements are unchanged up to rounding. This is not the nearest element in
        the Frobenius norm, for which there is no closed form.
        """
        self.check_element(matrix, "matrix")
        return at_least_single(self._project, matrix)

    def _project(self, matrix: Tensor) -> Tensor:
        u = matrix[..., 1:, 0]
        time = (1 + u.square().sum(-1)).sqrt()[..., None, None]
        column, eye = u.unsqueeze(-1), torch.eye(3, dtype=u.dtype, device=u.device)
        row = column.transpose(-1, -2)
        block = eye + column @ row / (1 + time)
        boost = torch.cat([torch.cat([time, row], -1), torch.cat([column, block], -1)], -2)
        rest = (self.inverse(boost) @ matrix)[..., 1:, 1:]
        return boost @ _space(_SO3.project(rest))


def _space(rotation: Tensor) -> Tensor:
    """Rotations of space as elements, shape (..., 4, 4)."""
    padded = torch.nn.functional.pad(rotation, (1, 0, 1, 0))
    corner = torch.zeros(4, 4, dtype=rotation.dtype, device=rotation.device)
    corner[0, 0] = 1.0
    return padded + corner


def _log(g: Tensor) -> Tensor:
    """Coordinates by the complex quaternion (v, a) of Q, with Re a >= 0."""
    q = _quaternion(_complex_rotation(g))
    v, a = q[..., :3], q[..., 3]
    t = v.square().sum(-1)
    near = (t.abs() < 1e-2) & (a.real > 0)
    zero, one = torch.zeros_like(t), torch.ones_like(t)
    small, series = torch.where(near, t, zero), torch.zeros_like(t)
    for coefficient in reversed(_ASINC):
        series = series * small + coefficient
    # 2 arcsin(s) / s with sin² = t, in the half plane Re a >= 0: even in s.
    s = torch.where(near, one, torch.where(t == 0, one, t)).sqrt()
    factor = torch.where(near, series, -2j * (torch.where(near, zero, a) + 1j * s).log() / s)
    z = factor.unsqueeze(-1) * v
    return torch.cat([z.real, z.imag], -1)


def _complex_rotation(g: Tensor) -> Tensor:
    """Q with E + i B ↦ Q (E + i B), shape (..., 3, 3): the action on self-dual 2-forms."""
    dtype = torch.promote_types(g.dtype, torch.complex64)
    form = torch.zeros(3, 4, 4, dtype=dtype, device=g.device)
    for k in range(3):
        form[k, 0, k + 1], form[k, k + 1, 0] = 1.0, -1.0
    for (i, j), k in _EPSILON.items():
        form[k, i + 1, j + 1] = torch.tensor(-1j)
        form[k, j + 1, i + 1] = torch.tensor(1j)
    wide = g.to(dtype).unsqueeze(-3)
    moved = wide @ form @ wide.transpose(-1, -2)
    return moved[..., 0, 1:].transpose(-1, -2)


def _quaternion(q: Tensor) -> Tensor:
    """Unit quaternion x, y, z, w of a complex rotation, Re w >= 0, shape (..., 4)."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in q.unbind(-2))
    rows = [
        torch.stack([1 + a - e - i, b + d, c + g, h - f], -1),
        torch.stack([b + d, 1 - a + e - i, f + h, c - g], -1),
        torch.stack([c + g, f + h, 1 - a - e + i, d - b], -1),
        torch.stack([h - f, c - g, d - b, 1 + a + e + i], -1),
    ]
    outer = torch.stack(rows, -2)
    largest = outer.detach().diagonal(dim1=-2, dim2=-1).abs().argmax(-1)
    row = torch.take_along_dim(outer, largest[..., None, None], -2).squeeze(-2)
    unit = row / row.square().sum(-1, keepdim=True).sqrt()
    return unit * torch.where(unit[..., 3:].real.detach() < 0, -1.0, 1.0)
