"""Whether compiled kernels can be used; everything works without them, on other methods."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.nn.gaunt.forms import MultilinearForm
from equivariant.nn.gaunt.kernels.edge_terms import EdgeTerms
from equivariant.nn.gaunt.kernels.layouts import Layout
from equivariant.nn.gaunt.tables import Kind, Normalization

if TYPE_CHECKING:
    from equivariant.nn.gaunt.kernels.edge_kernel import EdgeKernel

COMPILER = find_spec("numba") is not None


def sparse_fits(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether sparse kernels take tensors of a device and dtype.

    Args:
        device: Of the operands.
        dtype: Of the operands.

    Returns:
        True on the CPU in single and double precision, with Numba installed.

    Example:
        >>> sparse_fits(torch.device("cpu"), torch.float16)
        False
    """
    known = dtype in (torch.float32, torch.float64)
    return known and device.type == "cpu" and COMPILER


def has_numbers(*tensors: Tensor) -> bool:
    """Whether kernels may look for the numbers of tensors in memory.

    Args:
        tensors: Any.

    Returns:
        False where a subclass of tensors, which may have none, or a mode that wants to see every
        operation of torch is at work.

    Example:
        >>> has_numbers(torch.ones(2), torch.nn.Parameter(torch.ones(2)))
        True
    """
    if torch._C._len_torch_dispatch_stack():
        return False
    return all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)


def check_sparse(x: Tensor) -> None:
    """Refuse operands that sparse kernels cannot take.

    Args:
        x: An operand.

    Raises:
        ConventionError: It is not on the CPU, or Numba is not installed.
    """
    if x.device.type != "cpu" or not COMPILER:
        raise ConventionError(
            expected="tensors on the CPU, and Numba installed, for the sparse method",
            got=f"{x.device.type}, Numba {'present' if COMPILER else 'absent'}",
            argument="method",
            advice='Use method="auto", which takes another one there.',
        )


@lru_cache(maxsize=64)
def sparse_product(
    L1: int, L2: int, L3: int, kind: Kind, normalization: Normalization
) -> MultilinearForm:
    """The trilinear form of functions on the sphere, evaluated by compiled kernels.

    Args:
        L1: Largest degree of the first function.
        L2: Of the second.
        L3: Of the third.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.

    Returns:
        A form whose operands are rows of coefficients.
    """
    from equivariant.nn.gaunt.kernels.couplings import harmonic_couplings  # noqa: PLC0415
    from equivariant.nn.gaunt.kernels.layouts import Layout  # noqa: PLC0415
    from equivariant.nn.gaunt.kernels.sparse import SparseForm  # noqa: PLC0415

    first, second, third = (Layout(((L + 1) ** 2,), 1, "mul_ir") for L in (L1, L2, L3))
    terms = harmonic_couplings(L1, L2, L3, kind, normalization)
    return SparseForm(terms, (first, second, third))


def edge_kernel(terms: EdgeTerms, layouts: tuple[Layout, Layout]) -> EdgeKernel:
    """The form of a convolution over edges, evaluated by compiled kernels.

    Args:
        terms: The coefficients.
        layouts: Of the features before and after.

    Returns:
        What evaluates it; see :class:`EdgeKernel`.
    """
    from equivariant.nn.gaunt.kernels.edge_kernel import EdgeKernel  # noqa: PLC0415

    return EdgeKernel(terms, layouts)


@lru_cache(maxsize=1)
def direction_kernels() -> tuple[Callable[..., None], Callable[..., None]]:
    """What evaluates harmonics of directions, and their gradients.

    Returns:
        See :mod:`direction_sweeps`.
    """
    from equivariant.nn.gaunt.kernels import direction_sweeps as sweeps  # noqa: PLC0415

    return sweeps.evaluate_directions, sweeps.derive_directions
