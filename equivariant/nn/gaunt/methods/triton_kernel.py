"""The sparse contraction as Triton compiles it; imported only where Triton is installed."""

from __future__ import annotations

import inspect
from typing import Any

import triton
import triton.language as tl


def compiled(function: Any) -> Any:
    """Hand a plain function to Triton, without the wrappers of those who check annotations."""
    return triton.jit(inspect.unwrap(function))


@compiled
def contract(  # type: ignore[no-untyped-def]
    x, y, z, starts, first, second, values, outer, inner, x_outer, x_inner, y_outer, y_inner,
    rows, rows_per_program, BLOCK: tl.constexpr,
):  # fmt: skip
    """z_c = Σ_t value_t x_first(t) y_second(t), over the terms of row c, for a block of vectors.

    Vector v of x starts at (v // inner) x_outer + (v % inner) x_inner, that of y likewise; those
    of z lie side by side.
    """
    vector = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = vector < outer * inner
    x_at = x + (vector // inner) * x_outer + (vector % inner) * x_inner
    y_at = y + (vector // inner) * y_outer + (vector % inner) * y_inner
    z_at = z + vector * rows
    row = tl.program_id(1) * rows_per_program
    end = tl.minimum(row + rows_per_program, rows)
    while row < end:
        total = tl.zeros((BLOCK,), z.dtype.element_ty)
        for term in range(tl.load(starts + row), tl.load(starts + row + 1)):
            left = tl.load(x_at + tl.load(first + term), mask=inside, other=0.0)
            right = tl.load(y_at + tl.load(second + term), mask=inside, other=0.0)
            total += tl.load(values + term) * left * right
        tl.store(z_at + row, total, mask=inside)
        row += 1
