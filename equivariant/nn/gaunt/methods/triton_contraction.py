"""The sparse contraction on a GPU: vectors side by side, coefficients from a short table."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from equivariant.errors import ConventionError, MissingExtraError
from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.harmonics.sphere_grid import dense_table
from equivariant.nn.gaunt.multilinear_forms import leading_axes
from equivariant.shapes import Float

BLOCK = 128  # vectors of one program
PROGRAMS = 512  # enough to occupy a GPU: with fewer blocks, rows are divided among programs
TRITON = find_spec("triton") is not None
_NEGLIGIBLE = 1e-12


def triton_contract(
    x1: Float[Tensor, "... first"],
    x2: Float[Tensor, "... second"],
    degrees: tuple[int, int, int],
    *,
    kind: Kind = "even",
    normalization: Normalization = "integral",
) -> Float[Tensor, "... third"]:
    """Sum over the coefficients of a product that are not zero, by a kernel written in Triton.

        z_c = Σ_ab G_abc x1_a x2_b

    Not differentiable by itself: :func:`gaunt_product` makes it so.

    Args:
        x1: Shape (..., (L1+1)²), float32 or float64, on a CUDA device; on any device where the
            environment variable TRITON_INTERPRET is 1, which runs the kernel without compiling.
        x2: Shape (..., (L2+1)²), of the same dtype and device. Leading axes broadcast.
        degrees: Largest degrees L1, L2, L3 of operands and result.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.

    Returns:
        Shape (..., (L3+1)²).

    Raises:
        MissingExtraError: Triton is not installed.
        ConventionError: The tensors are on a device that Triton does not compile for.

    Example:
        >>> x = torch.randn(1000, 64, 9, device="cuda")  # doctest: +SKIP
        >>> triton_contract(x, x, (2, 2, 2)).shape  # doctest: +SKIP
        torch.Size([1000, 64, 9])

    Source: the sums of Luo et al. 2024, contracted directly.
    """
    kernel = _kernel()
    if x1.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ConventionError(
            expected="tensors on a CUDA device", got=str(x1.device), argument="x1",
            advice="On a CPU method='auto' has compiled kernels of its own.",
        )  # fmt: skip
    lead = leading_axes((x1, x2))
    rows = (degrees[2] + 1) ** 2
    z = x1.new_empty(*lead, rows)
    if z.numel() == 0:
        return z
    left, right = _vectors(x1, lead), _vectors(x2, lead)
    outer, inner = left.shape[:2]
    blocks = -(-outer * inner // BLOCK)
    groups = min(rows, max(1, PROGRAMS // blocks))
    per_program = -(-rows // groups)
    terms = term_table(degrees, kind, normalization, x1.dtype, x1.device)
    with torch.cuda.device_of(x1):
        kernel.contract[(blocks, -(-rows // per_program))](
            left, right, z, *terms, outer, inner, left.stride(0), left.stride(1),
            right.stride(0), right.stride(1), rows, per_program, BLOCK=BLOCK,
        )  # fmt: skip
    return z


@lru_cache(maxsize=64)
def term_table(
    degrees: tuple[int, int, int],
    kind: Kind,
    normalization: Normalization,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The coefficients that are not zero, sorted by what they are summed into.

    Args:
        degrees: Largest degrees of operands and result.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.
        dtype: Of the values.
        device: Of all.

    Returns:
        Starts of the rows, shape ((L3+1)² + 1,), int32; of each term the places a and b, int32,
        and the value. They are shared: do not write into them.

    Example:
        >>> settings = ("even", "integral", torch.float64, torch.device("cpu"))
        >>> [len(term_table((n, n, n), *settings)[3]) for n in (1, 2, 3, 4)]
        [10, 83, 353, 1158]
    """
    dense = dense_table(degrees, kind, normalization, torch.float64, torch.device("cpu"))
    by_row = dense.T.reshape((degrees[2] + 1) ** 2, (degrees[0] + 1) ** 2, -1)
    row, first, second = torch.nonzero(by_row.abs() > _NEGLIGIBLE, as_tuple=True)
    starts = torch.searchsorted(row, torch.arange(len(by_row) + 1))
    values = by_row[row, first, second].to(device, dtype)
    starts, first, second = (t.to(device, torch.int32) for t in (starts, first, second))
    return starts, first, second, values


def _vectors(x: Tensor, lead: torch.Size) -> Tensor:
    """Shape (outer, inner, coefficients), coefficients side by side; a view where it can be one."""
    x = x if x.stride(-1) == 1 else x.contiguous()
    x = x.expand(*lead, x.shape[-1])
    while x.dim() < 3:
        x = x.unsqueeze(0)
    return x.flatten(0, -3)


def _kernel() -> ModuleType:
    try:
        from equivariant.nn.gaunt.methods import triton_kernel  # noqa: PLC0415 (optional engine)
    except ImportError as error:
        raise MissingExtraError.of("triton", extra="triton") from error
    return triton_kernel
