"""Names of the methods, and the tables behind those that work by values at points."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.nn.gaunt.methods.fourier import fourier
from equivariant.nn.gaunt.methods.grid import grid
from equivariant.nn.gaunt.methods.half_grid import half_grid
from equivariant.nn.gaunt.methods.sampling import Sampling
from equivariant.nn.gaunt.methods.separable import separable

Method = Literal[
    "auto", "grid", "half_grid", "dense", "separable", "sparse", "triton", "fft", "fft_real"
]  # fmt: skip
METHODS: tuple[Method, ...] = get_args(Method)


def sampling_of(
    method: Method,
    degrees: tuple[int, int, int],
    kind: Kind,
    normalization: Normalization,
    like: Tensor,
) -> Sampling:
    """The object behind a method that works by values at points.

    Args:
        method: "grid", "half_grid", "separable", "fft" or "fft_real".
        degrees: Largest degrees of the three functions.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.
        like: An operand, for its dtype and device.

    Returns:
        One object per set of arguments, whatever the order of the degrees.

    Example:
        >>> import torch
        >>> sampling_of("grid", (2, 2, 2), "even", "integral", torch.ones(9)).points
        28
    """
    rest = (kind, normalization, like.dtype, like.device)
    if method in ("fft", "fft_real"):
        return fourier(tuple(sorted(degrees)), *rest, real=method == "fft_real")
    make = {"grid": grid, "half_grid": half_grid, "separable": separable}[method]
    return make(sum(degrees), *rest)
