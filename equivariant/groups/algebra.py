"""The Lie algebra of a group: structure constants, and Haar measure in exponential coordinates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from equivariant.groups.base import Group
from equivariant.groups.numerics import numbers
from equivariant.shapes import Coordinates, Float, Scalar


def structure_constants(group: Group) -> Float[Tensor, "d d d"]:
    """Numbers c with ``[B_i, B_j] = Σ_k c_ijk B_k`` for the basis B of the Lie algebra.

    Args:
        group: Any group.

    Returns:
        Shape (dim, dim, dim), float64.

    Example:
        >>> from equivariant.groups import SO3
        >>> structure_constants(SO3())[0, 1]
        tensor([0., 0., 1.], dtype=torch.float64)
    """
    basis = group.basis()
    product = basis[:, None] @ basis[None, :]
    return group.vee(product - product.transpose(0, 1))


def haar_density(group: Group, coordinates: Coordinates) -> Scalar:
    """Density of left Haar measure in exponential coordinates, 1 at zero.

        w(x) = |det φ(ad x)|,   φ(z) = (1 - exp(-z)) / z = ∫₀¹ exp(-s z) ds,

    where ad comes from the structure constants and φ(A) is a block of one matrix exponential,
    exp [[-A, I], [0, 0]] = [[exp(-A), φ(A)], [0, I]], so zero is no special case.
    Right Haar measure has w(-x); the two agree on unimodular groups (all compact ones, SE(3),
    GL(n)).

    Args:
        group: Any group.
        coordinates: Shape (..., dim).

    Returns:
        Shape (...), in the dtype of the coordinates.

    Raises:
        ShapeError: The last axis is not ``dim``.

    Example:
        >>> from equivariant.groups import SO3
        >>> half_turn = torch.tensor([0.0, torch.pi, 0.0], dtype=torch.float64)
        >>> round(float(haar_density(SO3(), half_turn)) * torch.pi**2, 9)
        4.0
    """
    group.check_coordinates(coordinates)
    constants = structure_constants(group).to(coordinates)
    adjoint = torch.einsum("...i,ijk->...kj", coordinates, constants)
    eye = torch.eye(group.dim, dtype=adjoint.dtype, device=adjoint.device).expand_as(adjoint)
    top = torch.cat([-adjoint, eye], -1)
    block = torch.cat([top, torch.zeros_like(top)], -2)
    phi: Tensor = torch.linalg.matrix_exp(block)[..., : group.dim, group.dim :]
    density: Tensor = torch.linalg.det(phi).abs()
    return density


def has_orthogonal_matrices(group: Group) -> bool:
    """Whether all elements are orthogonal: the algebra skew, discrete generators orthogonal.

    Args:
        group: Any group.

    Example:
        >>> from equivariant.groups import SE3, SO3
        >>> has_orthogonal_matrices(SO3()), has_orthogonal_matrices(SE3())
        (True, False)
    """
    basis, discrete = numbers(group.basis), numbers(group.discrete_generators)
    skew = (abs(basis + basis.swapaxes(1, 2)) < 1e-12).all()
    eye = np.eye(group.matrix_size)
    return bool(skew and (abs(discrete @ discrete.swapaxes(1, 2) - eye) < 1e-9).all())
