"""Uniform numbers and rotations that are spread more evenly than independent ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from equivariant.groups.so3 import SO3, matrix_from_quaternion_xyzw
from equivariant.shapes import Float, Rotation

_PSI = 1.533751168755204288118041  # the positive root of ψ⁴ = ψ + 4


def uniform(batch: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
    """Independent uniform numbers in [0, 1), shape (*batch, count), float64."""
    return torch.rand((*batch, count), generator=generator, dtype=torch.float64)


def scrambled_sobol(
    batch: tuple[int, ...], count: int, generator: torch.Generator
) -> Float[Tensor, ...]:
    """Points of the unit cube, each uniform, those along the last batch axis of low discrepancy.

    Every set along the last axis is a Sobol sequence with a random scrambling of its own.

    Args:
        batch: Leading shape; the last axis runs over the points of a set.
        count: Dimension of the cube.
        generator: Source of the seeds of the scramblings.

    Returns:
        Shape (*batch, count), float64, in [0, 1).

    Source: Owen 1998, Scrambling Sobol' and Niederreiter-Xing points.
    """
    size, sets = batch[-1], math.prod(batch[:-1])
    if not size or not sets:
        return torch.zeros(*batch, count, dtype=torch.float64)
    seeds = torch.randint(2**62, (sets,), generator=generator).tolist()
    points = [
        SobolEngine(count, scramble=True, seed=s).draw(size, dtype=torch.float64) for s in seeds
    ]
    return torch.stack(points).reshape(*batch, count)


def strata(batch: tuple[int, ...], count: int, generator: torch.Generator) -> Float[Tensor, ...]:
    """A Latin hypercube: along the last batch axis each coordinate has one point in each cell.

    Args:
        batch: Leading shape; the last axis runs over the N points of a set.
        count: Dimension of the cube.
        generator: Source of randomness.

    Returns:
        Shape (*batch, count), float64, each point uniform in [0, 1).

    Source: McKay, Beckman and Conover 1979.
    """
    place = _shuffled(batch, count, generator)
    return (place + uniform(batch, count, generator)) / max(batch[-1], 1)


def evenly_spaced(
    batch: tuple[int, ...], count: int, generator: torch.Generator
) -> Float[Tensor, ...]:
    """As :func:`strata`, each coordinate a regular grid of N numbers with one random offset."""
    place = _shuffled(batch, count, generator)
    offset = uniform((*batch[:-1], 1), count, generator)
    return (place + offset) / max(batch[-1], 1)


def spread_rotations(batch: tuple[int, ...], generator: torch.Generator) -> Rotation:
    """Rotations of space, each Haar-uniform, those along the last batch axis well spread.

    A super-Fibonacci spiral on the unit quaternions, turned from the left and from the right by
    random rotations, in random order.

    Args:
        batch: Leading shape; the last axis runs over a set.
        generator: Source of randomness.

    Returns:
        Shape (*batch, 3, 3), float64.

    Source: Alexa 2022, Super-Fibonacci Spirals.
    """
    size = batch[-1]
    s = torch.arange(size, dtype=torch.float64) + 0.5
    inner, outer = (s / max(size, 1)).sqrt(), (1 - s / max(size, 1)).sqrt()
    alpha, beta = 2 * math.pi * s / math.sqrt(2.0), 2 * math.pi * s / _PSI
    q = torch.stack(
        [inner * alpha.sin(), inner * alpha.cos(), outer * beta.sin(), outer * beta.cos()], -1
    )
    order = _shuffled(batch, 1, generator).squeeze(-1).long()
    turned = [SO3().draw((*batch[:-1], 1), generator=generator) for _ in range(2)]
    return turned[0] @ matrix_from_quaternion_xyzw(q)[order] @ turned[1]


def rotation_from_uniform(u: Float[Tensor, "... 3"]) -> Rotation:
    """Haar-uniform rotation of space from three uniform numbers in [0, 1], shape (..., 3, 3).

    Source: Shoemake 1992, Uniform random rotations.
    """
    inner, outer = u[..., 0].sqrt(), (1 - u[..., 0]).sqrt()
    alpha, beta = (2 * math.pi * u[..., 1:]).unbind(-1)
    q = [outer * alpha.sin(), outer * alpha.cos(), inner * beta.sin(), inner * beta.cos()]
    return matrix_from_quaternion_xyzw(torch.stack(q, -1))


def _shuffled(batch: tuple[int, ...], count: int, generator: torch.Generator) -> Tensor:
    """0 to N - 1 in random order along the last batch axis, shape (*batch, count), float64."""
    order = uniform((*batch[:-1], count), batch[-1], generator).argsort(-1)
    return order.transpose(-1, -2).double()
