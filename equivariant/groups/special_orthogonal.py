"""Rotations of a space of any number of dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import schur
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.base import Group
from equivariant.groups.membership import orthogonality_defect
from equivariant.groups.nearest_orthogonal import nearest_orthogonal
from equivariant.groups.numerics import at_least_single, random_normal
from equivariant.groups.reductive import Reductive
from equivariant.shapes import Coordinates, Float, Matrix, Scalar


@dataclass(frozen=True)
class SO(Reductive):
    """Orthogonal n x n matrices of determinant 1; coordinates are the angles of the planes ij.

    Planes stand in the order 01, 02, ..., 12, ...; the positive turn of plane ij takes axis i to
    axis j. :class:`SO2` and :class:`SO3` are the same groups with closed forms (SO3 with the
    coordinates of rotation vectors).

        exp(x) = expm(hat x),   log R = V (θ J ⊕ ...) Vᵀ of the real Schur form R = V (R_θ ⊕ ...) Vᵀ

    Args:
        size: n, at least 2.

    Raises:
        ConventionError: n is less than 2.

    Example:
        >>> quarter = SO(4).exp(torch.tensor([torch.pi / 2, 0, 0, 0, 0, 0], dtype=torch.float64))
        >>> (quarter @ torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)).round(decimals=9) + 0.0
        tensor([0., 1., 0., 0.], dtype=torch.float64)
    """

    size: int
    compact: ClassVar[bool] = True
    preserves_lengths: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ConventionError(
                expected="at least 2 dimensions", got=str(self.size), argument="size",
                advice="SO(1) has one element: TrivialGroup(1).",
            )  # fmt: skip

    @property
    def dim(self) -> int:
        return self.size * (self.size - 1) // 2

    @property
    def matrix_size(self) -> int:
        return self.size

    @property
    def space_dim(self) -> int:
        return self.size

    @property
    def orthogonal_dim(self) -> int:
        return self.size

    @property
    def direction_names(self) -> tuple[str, ...]:
        return tuple(f"turn {i}{j}" for i, j in combinations(range(self.size), 2))

    @property
    def orthogonal_subgroup(self) -> Group:
        return self

    def stretches(self) -> Float[Tensor, "k n"]:
        return torch.zeros(0, self.size, dtype=torch.float64)

    def basis(self) -> Float[Tensor, "d n n"]:
        basis = torch.zeros(self.dim, self.size, self.size, dtype=torch.float64)
        for k, (i, j) in enumerate(combinations(range(self.size), 2)):
            basis[k, j, i], basis[k, i, j] = 1.0, -1.0
        return basis

    def exp(self, coordinates: Coordinates) -> Matrix:
        return at_least_single(torch.linalg.matrix_exp, self.hat(coordinates))

    def log(self, g: Matrix) -> Coordinates:
        """Coordinates of the logarithm whose angles lie in [-π, π].

        Raises:
            ShapeError: The last two axes are not (n, n).
            ConventionError: A matrix is no element.
        """
        self.check_member(g)
        skew = _log_of_rotation(g.double()).to(g.dtype)
        return self.vee(skew)

    def defect(self, g: Matrix) -> Scalar:
        return orthogonality_defect(g, special=True)

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return g.transpose(-1, -2)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        """Haar-uniform: the nearest rotation to a matrix of independent normal numbers."""
        normal = random_normal((*batch, self.size, self.size), generator=generator)
        return nearest_orthogonal(normal, special=True)

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        return nearest_orthogonal(matrix, special=True)


@torch.library.custom_op(
    "equivariant::log_of_rotation", mutates_args=(), schema="(Tensor g) -> Tensor"
)
def _log_of_rotation(g: Tensor) -> Tensor:
    """Skew logarithms of rotations, shape (..., n, n), float64."""
    flat = g.detach().cpu().reshape(-1, *g.shape[-2:]).numpy()
    found = np.stack([_eigen(one)[2] for one in flat]) if len(flat) else np.zeros(flat.shape)
    return torch.from_numpy(found).reshape(g.shape).to(g)


@_log_of_rotation.register_fake
def _(g: Tensor) -> Tensor:
    return torch.empty_like(g)


@_log_of_rotation.register_vmap
def _(info: Any, in_dims: tuple[int | None], g: Tensor) -> tuple[Tensor, int]:
    return _log_of_rotation(g.movedim(in_dims[0] or 0, 0)), 0


@torch.library.custom_op(
    "equivariant::log_of_rotation_gradient",
    mutates_args=(),
    schema="(Tensor g, Tensor slopes) -> Tensor",
)
def _gradient(g: Tensor, slopes: Tensor) -> Tensor:
    """The derivative of the logarithm, transposed, applied to slopes, shape (..., n, n).

    In the unitary eigenbasis of g the derivative multiplies entry ij by the divided difference
    (log λ_i - log λ_j) / (λ_i - λ_j). Where that is infinite (the two logarithms ±iπ of a pair of
    eigenvalues -1, the cut locus) 1/λ stands for it.
    """
    shape = g.shape
    rotations = g.detach().cpu().reshape(-1, *shape[-2:]).numpy()
    given = slopes.detach().cpu().reshape(-1, *shape[-2:]).numpy()
    found = np.zeros(rotations.shape)
    for out, one, slope in zip(found, rotations, given, strict=True):
        vectors, angles, _ = _eigen(one)
        values = np.exp(1j * angles)
        apart = values[:, None] - values[None, :]
        same = abs(apart) < 1e-7
        means = np.exp(-0.5j * (angles[:, None] + angles[None, :]))
        means = np.where(abs(angles[:, None] - angles[None, :]) > np.pi, -means, means)
        ratio = 1j * (angles[:, None] - angles[None, :]) / np.where(same, 1.0, apart)
        table = np.where(same, means, ratio)
        out[:] = (vectors @ (table.conj() * (vectors.conj().T @ slope @ vectors))
                  @ vectors.conj().T).real  # fmt: skip
    return torch.from_numpy(found).reshape(shape).to(g)


@_gradient.register_fake
def _(g: Tensor, slopes: Tensor) -> Tensor:
    return torch.empty_like(g)


def _setup(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])


def _backward(ctx: Any, slopes: Tensor) -> Tensor:
    found: Tensor = _gradient(ctx.saved_tensors[0], slopes.contiguous())
    return found


_log_of_rotation.register_autograd(_backward, setup_context=_setup)


def _eigen(
    rotation: NDArray[np.float64],
) -> tuple[NDArray[np.complex128], NDArray[np.float64], NDArray[np.float64]]:
    """Orthonormal eigenvectors, angles in [-π, π] and the skew logarithm of one rotation.

    The real Schur form of a normal matrix is block-diagonal: rotations of planes, 1 and -1. The
    entries -1, an even number, are taken two by two as half turns.
    """
    n = len(rotation)
    form, vectors = schur(rotation, output="real")
    angles = np.zeros(n)
    mixed = np.eye(n, dtype=complex)
    half: list[int] = []
    planes: list[tuple[int, int, float]] = []
    k = 0
    while k < n:
        if k + 1 < n and abs(form[k + 1, k]) > 1e-14:
            sine = 0.5 * (form[k + 1, k] - form[k, k + 1])
            planes.append((k, k + 1, np.arctan2(sine, 0.5 * (form[k, k] + form[k + 1, k + 1]))))
            k += 2
            continue
        if form[k, k] < 0:
            half.append(k)
        k += 1
    planes += [(a, b, np.pi) for a, b in zip(half[::2], half[1::2], strict=False)]
    logarithm = np.zeros((n, n))
    for a, b, angle in planes:
        angles[a], angles[b] = angle, -angle
        mixed[a, a], mixed[b, a], mixed[a, b], mixed[b, b] = 1, -1j, 1, 1j
        mixed[:, [a, b]] /= np.sqrt(2)
        logarithm[b, a], logarithm[a, b] = angle, -angle
    return vectors @ mixed, angles, vectors @ logarithm @ vectors.T
