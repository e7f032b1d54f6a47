"""Harmonics of the directions of vectors, differentiable to every order and at the poles."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.gaunt.coefficients import gaunt_coefficients
from equivariant.nn.gaunt.constants import Constants
from equivariant.nn.gaunt.precision import without_autocast, working_dtype
from equivariant.nn.gaunt.tables import (
    Normalization,
    check_degree,
    degree_scales,
    real_harmonics,
)
from equivariant.shapes import Float, Vector3


class DirectionHarmonics(nn.Module):
    """Harmonics of the directions of vectors, by coupling a degree with the direction itself.

        Y_{l+1} = k_l Σ G^{l,1,l+1} Y_l ⊗ n,  n = v/|v|

    One small matrix product per degree. There is no largest degree, and no angle that would
    make a pole; the dtype is that of the vectors. It agrees with
    ``e3nn.o3.spherical_harmonics(normalize=True)`` and with :func:`real_harmonics`.

    A vector of length 0, or with components below the smallest normal number, has no direction:
    degree 0 keeps its value there, all higher degrees are 0, and so is the gradient. No other
    choice commutes with rotations; a limit does not exist.

    Args:
        degree: Largest l, at least 0.
        normalization: See :func:`real_harmonics`.

    Raises:
        ConventionError: The degree is negative or the normalization unknown.

    Example:
        >>> vectors = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
        >>> DirectionHarmonics(1, normalization="norm")(vectors).round(decimals=4)
        tensor([[1., 0., 1., 0.],
                [1., 0., 0., 0.]])
    """

    def __init__(self, degree: int, *, normalization: Normalization = "component") -> None:
        super().__init__()
        check_degree(degree, "degree")
        self.degree = degree
        self.normalization: Normalization = normalization
        scales = degree_scales(degree, normalization) / degree_scales(degree, "component")
        steps = {f"step{n}": _step(n) for n in range(1, degree)}
        self._constants = Constants(scales=scales, **steps)

    def forward(self, vectors: Vector3) -> Float[Tensor, "... coefficients"]:
        """Harmonics of directions.

        Args:
            vectors: Shape (..., 3), floating point, any unit.

        Returns:
            Shape (..., (degree+1)²), of the same dtype (half precision is evaluated in float32).

        Raises:
            ShapeError: The last axis is not 3.
            ConventionError: Vectors are not floating point.
        """
        if vectors.dim() == 0 or vectors.shape[-1] != 3:
            raise ShapeError(
                expected="(..., 3)",
                got=str(tuple(vectors.shape)),
                argument="vectors",
                advice="One vector x, y, z per row.",
            )
        if not vectors.is_floating_point():
            raise ConventionError(
                expected="real floating point numbers",
                got=str(vectors.dtype),
                argument="vectors",
                advice="Directions are differentiated.",
            )
        dtype, inner = working_dtype(vectors.dtype)
        with without_autocast(vectors.device):
            return self._couple(unit_vectors(vectors.to(inner))).to(dtype)

    def _couple(self, unit: Tensor) -> Tensor:
        constants = self._constants.at(unit.dtype, unit.device)
        parts = [torch.ones_like(unit[..., :1]), math.sqrt(3) * unit][: self.degree + 1]
        for n in range(1, self.degree):
            pairs = parts[-1].unsqueeze(-1) * unit.unsqueeze(-2)
            parts.append(pairs.flatten(-2) @ constants[f"step{n}"])
        return torch.cat(parts, -1) * constants["scales"]


def unit_vectors(vectors: Vector3) -> Vector3:
    """Vectors divided by their lengths; those without direction become 0, with gradient 0.

    Args:
        vectors: Shape (..., 3), float32 or float64.

    Returns:
        The same shape and dtype. Squares neither overflow nor underflow.

    Example:
        >>> unit_vectors(torch.tensor([[3e-30, 4e-30, 0.0], [0.0, 0.0, 0.0]])).round(decimals=4)
        tensor([[0.6000, 0.8000, 0.0000],
                [0.0000, 0.0000, 0.0000]])
    """
    largest = vectors.detach().abs().amax(-1, keepdim=True)
    present = largest >= torch.finfo(vectors.dtype).tiny
    scaled = torch.where(present, vectors, 1.0) / torch.where(present, largest, 1.0)
    unit = scaled / scaled.square().sum(-1, keepdim=True).sqrt()
    return torch.where(present, unit, 0.0)


def _step(degree: int) -> Tensor:
    """Matrix from Y_l ⊗ n to Y_{l+1}, both with Σ_m Y² = 2l+1, shape (3(2l+1), 2l+3)."""
    table = gaunt_coefficients(degree, 1, degree + 1).flatten(0, 1)
    point = torch.tensor([0.48, 0.6, 0.64], dtype=torch.float64, device="cpu")
    harmonics = real_harmonics(degree + 1, point, "component")
    here, above = harmonics[degree**2 : (degree + 1) ** 2], harmonics[(degree + 1) ** 2 :]
    coupled = (here[:, None] * point).flatten() @ table
    factor = (coupled @ above) / (coupled @ coupled)
    return factor * table
