"""Whether compiled kernels can be used; everything works without them, on other methods."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.nn.gaunt.compiled.edges.nonzero_couplings import EdgeTerms
from equivariant.nn.gaunt.compiled.row_layout import RowLayout
from equivariant.nn.gaunt.multilinear_forms import MultilinearForm
from equivariant.nn.tracing import records_operations

if TYPE_CHECKING:
    from equivariant.nn.gaunt.compiled.edges.kernel import EdgeKernel


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def compiler_works() -> bool:
    """Whether Numba is here and compiles; one warning says why where it is here and does not.

    Returns:
        False where Numba is not installed, cannot be imported, or is switched off by
        ``NUMBA_DISABLE_JIT``. Everything then runs as operations of PyTorch.

    Example:
        >>> compiler_works()
        True
    """
    return _compiler_found()


@lru_cache(maxsize=1)
def _compiler_found() -> bool:
    if find_spec("numba") is None:
        return False
    try:
        numba = import_module("numba")
        import_module("numba.extending")
    except Exception as error:  # a broken installation may raise anything
        reason = f"its import failed ({type(error).__name__}: {error})"
    else:
        if not numba.config.DISABLE_JIT:
            return True
        reason = "NUMBA_DISABLE_JIT switches it off"
    warnings.warn(
        f"Numba is installed, but {reason}: products of functions on the sphere run on PyTorch "
        "alone, several times slower",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def sparse_fits(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether sparse kernels take tensors of a device and dtype.

    Args:
        device: Of the operands.
        dtype: Of the operands.

    Returns:
        True on the CPU in single and double precision, where Numba compiles.

    Example:
        >>> sparse_fits(torch.device("cpu"), torch.float16)
        False
    """
    known = dtype in (torch.float32, torch.float64)
    return known and device.type == "cpu" and compiler_works()


def has_numbers(*tensors: Tensor) -> bool:
    """Whether kernels may look for the numbers of tensors in memory.

    Args:
        tensors: Any.

    Returns:
        False for tensors on the meta device and for subclasses of tensors, which may have none,
        and where torch records operations, see :func:`records_operations`.

    Example:
        >>> has_numbers(torch.ones(2), torch.nn.Parameter(torch.ones(2)))
        True
    """
    if records_operations():
        return False
    return all(type(t) in (Tensor, torch.nn.Parameter) and not t.is_meta for t in tensors)


def check_sparse(x: Tensor) -> None:
    """Refuse operands that sparse kernels cannot take.

    Args:
        x: An operand.

    Raises:
        ConventionError: It is not on the CPU, or Numba does not compile.
    """
    if x.device.type != "cpu" or not compiler_works():
        raise no_kernel(x.device, 'Use method="auto", which takes another one there.')


def no_kernel(device: torch.device, advice: str) -> ConventionError:
    """The error of a method that needs compiled kernels where there are none.

    Args:
        device: Of the operands.
        advice: Which method works there.

    Returns:
        To be raised.
    """
    return ConventionError(
        expected="float32 or float64 on the CPU, and Numba at work, for the sparse method",
        got=f"{device.type}, Numba {'at work' if compiler_works() else 'absent or off'}",
        argument="method",
        advice=advice,
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
    from equivariant.nn.gaunt.compiled.nonzero_coefficients import harmonic_couplings  # noqa: PLC0415
    from equivariant.nn.gaunt.compiled.product.sparse import SparseForm  # noqa: PLC0415
    from equivariant.nn.gaunt.compiled.row_layout import RowLayout  # noqa: PLC0415

    first, second, third = (RowLayout(((L + 1) ** 2,), 1, "mul_ir") for L in (L1, L2, L3))
    terms = harmonic_couplings(L1, L2, L3, kind, normalization)
    return SparseForm(terms, (first, second, third))


def edge_kernel(terms: EdgeTerms, layouts: tuple[RowLayout, RowLayout]) -> EdgeKernel:
    """The form of a convolution over edges, evaluated by compiled kernels.

    Args:
        terms: The coefficients.
        layouts: Of the features before and after.

    Returns:
        What evaluates it; see :class:`EdgeKernel`.
    """
    from equivariant.nn.gaunt.compiled.edges.kernel import EdgeKernel  # noqa: PLC0415

    return EdgeKernel(terms, layouts)


@lru_cache(maxsize=1)
def direction_kernels() -> tuple[Callable[..., None], Callable[..., None]]:
    """What evaluates harmonics of directions, and their gradients.

    Returns:
        See :mod:`direction_sweeps`.
    """
    from equivariant.nn.gaunt.compiled.edges import direction_sweeps as sweeps  # noqa: PLC0415

    return sweeps.evaluate_directions, sweeps.derive_directions
