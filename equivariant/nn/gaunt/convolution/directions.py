"""Harmonics of the directions of vectors, differentiable to every order and at the poles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd import forward_ad

from equivariant.errors import ConventionError, ShapeError
from equivariant.harmonics.coupling_coefficients import gaunt_coefficients
from equivariant.harmonics.real_harmonics import (
    Normalization,
    check_degree,
    degree_scales,
    real_harmonics,
)
from equivariant.nn.gaunt.accumulation import without_autocast, working_dtype
from equivariant.nn.gaunt.compiled.availability import direction_kernels, has_numbers, sparse_fits
from equivariant.nn.gaunt.constants import Constants
from equivariant.nn.tracing import makes_graph, real_tables
from equivariant.shapes import Float, Vector3


class DirectionHarmonics(nn.Module):
    """Harmonics of the directions of vectors, by coupling a degree with the direction itself.

        Y_{l+1} = k_l Σ G^{l,1,l+1} Y_l ⊗ n,  n = v/|v|

    One small matrix product per degree. There is no largest degree, and no angle that would
    make a pole; the dtype is that of the vectors. On the CPU, with Numba, values and first
    derivatives come from a compiled kernel, which works in float64 inside. It agrees with
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
        with real_tables():
            scales = degree_scales(degree, normalization) / degree_scales(degree, "component")
            steps = {f"step{n}": _step(n) for n in range(1, degree)}
            self._constants = Constants(scales=scales, **steps)
            self._steps = (*_listed(steps), scales.numpy())

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
        vectors = vectors.to(inner)
        if self.degree and _takes_kernel(vectors):
            if not (torch.is_grad_enabled() and vectors.requires_grad):
                return self._evaluated(vectors).to(dtype)
            result: Tensor = _Directions.apply(self, vectors)  # type: ignore[no-untyped-call]
            return result.to(dtype)
        return self._composed(vectors).to(dtype)

    def _composed(self, vectors: Tensor) -> Tensor:
        with without_autocast(vectors.device):
            return self._couple(unit_vectors(vectors))

    def _evaluated(self, vectors: Tensor) -> Tensor:
        """Harmonics by the kernel."""
        result = vectors.new_empty(*vectors.shape[:-1], (self.degree + 1) ** 2)
        evaluate = direction_kernels()[0]
        evaluate(_rows(vectors), _rows(result), *self._steps, torch.finfo(vectors.dtype).tiny)
        return result

    def _derived(self, vectors: Tensor, gradient: Tensor) -> Tensor:
        """Gradient by vectors by the kernel."""
        result = torch.empty_like(vectors, memory_format=torch.contiguous_format)
        rows = _rows(vectors), _rows(gradient), _rows(result)
        direction_kernels()[1](*rows, *self._steps, torch.finfo(vectors.dtype).tiny)
        return result

    def _couple(self, unit: Tensor) -> Tensor:
        constants = self._constants.at(unit.dtype, unit.device)
        parts = [torch.ones_like(unit[..., :1]), math.sqrt(3) * unit][: self.degree + 1]
        for n in range(1, self.degree):
            pairs = parts[-1].unsqueeze(-1) * unit.unsqueeze(-2)
            parts.append(pairs.flatten(-2) @ constants[f"step{n}"])
        return torch.cat(parts, -1) * constants["scales"]


class _Directions(torch.autograd.Function):
    """Harmonics and their first derivatives by kernels; graphs of derivatives by composition."""

    @staticmethod
    def forward(ctx: Any, layer: DirectionHarmonics, vectors: Tensor) -> Tensor:
        ctx.save_for_backward(vectors)
        ctx.layer = layer
        return layer._evaluated(vectors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        (vectors,) = ctx.saved_tensors
        mapped = torch._C._functorch.is_legacy_batchedtensor(gradient)
        mapped = mapped or torch._C._are_functorch_transforms_active()
        graph = torch.is_grad_enabled()
        if not graph and not mapped:
            return None, ctx.layer._derived(vectors, gradient)
        with torch.enable_grad():
            leaf = vectors if graph else vectors.detach().requires_grad_()
            harmonics = ctx.layer._composed(leaf)
        (found,) = torch.autograd.grad(harmonics, leaf, gradient, create_graph=graph)
        return None, found


def _takes_kernel(vectors: Tensor) -> bool:
    if makes_graph() or not sparse_fits(vectors.device, vectors.dtype):
        return False
    if not has_numbers(vectors):
        return False
    return forward_ad._current_level < 0 and not torch._C._are_functorch_transforms_active()


def _rows(tensor: Tensor) -> NDArray[Any]:
    """Numbers of a tensor, row after row of its last axis."""
    plain = tensor.detach()
    if plain.is_neg() or plain._is_zerotensor():
        plain = plain.resolve_neg().clone()
    rows: NDArray[Any] = plain.contiguous().view(-1, plain.shape[-1]).numpy()
    return rows


def _listed(steps: dict[str, Tensor]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Coefficients of all steps that are not zero, sorted by the place above."""
    terms, values = [np.empty((0, 3), np.int64)], [np.empty(0)]
    for degree, table in enumerate(steps.values(), 1):
        below, axis, above = np.nonzero(np.abs(table.view(2 * degree + 1, 3, -1).numpy()) > 1e-10)
        order = np.argsort(above, kind="stable")
        below, axis, above = below[order], axis[order], above[order]
        places = below + degree**2, axis, above + (degree + 1) ** 2
        terms.append(np.stack(places, 1))
        values.append(table.view(2 * degree + 1, 3, -1).numpy()[below, axis, above])
    return np.concatenate(terms), np.concatenate(values)


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
