"""Which method is fastest: a table of rules, and measurements where someone made them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from equivariant.harmonics.real_harmonics import Kind
from equivariant.nn.gaunt.compiled.availability import sparse_fits
from equivariant.nn.gaunt.methods.registry import Method

# Sums of all three degrees, where methods took equal time on one core in single precision.
SPARSE_UP_TO = 33
HALF_GRID_FROM = 27
SEPARABLE_FROM = 36
# Degrees of features up to which kernels raise to a power sooner than the grid, for all sizes
# of the result, in the sum of forward and backward.
POWERS_UP_TO = {2: 12, 3: 9}


class Case(NamedTuple):
    """What a choice may depend on; ``vectors`` is a power of 4."""

    degrees: tuple[int, int, int]
    kind: Kind
    vectors: int
    dtype: torch.dtype
    device: str


MEASURED: dict[Case, Method] = {}


def case_of(degrees: tuple[int, int, int], kind: Kind, vectors: int, like: torch.Tensor) -> Case:
    """The case that operands belong to.

    Args:
        degrees: L1, L2 and L3; their order plays no part.
        kind: "even" or "odd".
        vectors: Number of products, of the batch and of channels.
        like: An operand, for its dtype and device.

    Returns:
        The case.

    Example:
        >>> case_of((3, 1, 2), "even", 6400, torch.ones(1)).vectors
        4096
    """
    first, second, third = sorted(degrees)
    rounded = 4 ** max(0, (max(vectors, 1).bit_length() - 1) // 2)
    return Case((first, second, third), kind, rounded, like.dtype, like.device.type)


def choose(case: Case) -> Method:
    """The method for a case: what was measured, or else what rules say.

    Args:
        case: See :func:`case_of`.

    Returns:
        A method other than "auto". The same for the same case, until someone measures.

    Example:
        >>> choose(case_of((14, 14, 28), "even", 100, torch.ones(1)))
        'separable'
    """
    if case in MEASURED:
        return MEASURED[case]
    total = sum(case.degrees)
    if total <= SPARSE_UP_TO and sparse_fits(torch.device(case.device), case.dtype):
        return "sparse"
    if total >= SEPARABLE_FROM:
        return "separable"
    return "half_grid" if total >= HALF_GRID_FROM else "grid"


def prefers_sparse(degrees: tuple[int, int, int], vectors: int, like: torch.Tensor) -> bool:
    """Whether "auto" takes compiled kernels for a product of functions, at the least cost.

    Args:
        degrees: L1, L2 and L3.
        vectors: Number of products.
        like: An operand.

    Returns:
        Whether :func:`choose` says "sparse".

    Example:
        >>> prefers_sparse((20, 20, 20), 100, torch.ones(1))
        False
    """
    if MEASURED:
        return choose(case_of(degrees, "even", vectors, like)) == "sparse"
    return sum(degrees) <= SPARSE_UP_TO and sparse_fits(like.device, like.dtype)


def prefers_sparse_powers(degree: int, correlation: int, like: torch.Tensor) -> bool:
    """Whether compiled kernels raise functions to powers in less time than the grid.

    Args:
        degree: Largest degree of the functions.
        correlation: Largest power.
        like: An operand, for its dtype and device.

    Returns:
        Whether there are kernels for the power, they fit, and they are faster.

    Example:
        >>> prefers_sparse_powers(2, 4, torch.ones(1))
        False
    """
    return degree <= POWERS_UP_TO.get(correlation, -1) and sparse_fits(like.device, like.dtype)


def prefers_edges(like: torch.Tensor) -> bool:
    """Whether a convolution over edges takes the compiled kernel, and not matrix products.

    On one core in single precision, with 1 to 128 channels, degrees up to 10 and 8 to 5,000 edges,
    the kernel was 1.4 to 7 times as fast nearly everywhere; with 2 to 4 channels and degree 3,
    5,000 edges took it 1.2 times as long.

    Args:
        like: An operand.

    Returns:
        True in single and double precision on the CPU, with Numba.

    Example:
        >>> prefers_edges(torch.ones(1, dtype=torch.float16))
        False
    """
    return sparse_fits(like.device, like.dtype)


def measure(case: Case, candidates: dict[Method, Callable[[], object]]) -> dict[Method, float]:
    """Time candidates one after another, and keep the fastest as the choice for a case.

    Args:
        case: What they were made for.
        candidates: What to call, by method.

    Returns:
        Seconds of the fastest of several calls, by method.
    """
    seconds = dict.fromkeys(candidates, float("inf"))
    for trial in range(6):
        for method, call in candidates.items():
            started = time.perf_counter()
            call()
            if case.device != "cpu":
                torch.cuda.synchronize()
            if trial:
                seconds[method] = min(seconds[method], time.perf_counter() - started)
    MEASURED[case] = min(seconds, key=lambda method: seconds[method])
    return seconds
