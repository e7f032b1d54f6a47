"""Compilation by Numba, cached on disk wherever that is possible."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
import torch
from numba.extending import intrinsic

NUMPY_DTYPES: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Numba looks at the file of a function only, not at those of the functions that it calls.
_SOURCES = sorted(Path(__file__).parent.glob("*.py"))
FINGERPRINT = sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:12]


def kernel(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function when it is first called, to run without the interpreter's lock.

    The machine code is kept beside the source or in the user's cache folder, or in
    ``NUMBA_CACHE_DIR``; where none of them can be written, each process compiles anew. Its name
    contains a hash of all kernels' sources, so that none is used after a change.

    Args:
        function: In the subset of Python that Numba compiles.

    Returns:
        The compiled function.

    Example:
        >>> kernel(lambda a: a + 1)(2)
        3
    """
    plain = inspect.unwrap(function)
    plain.__qualname__ = f"{plain.__qualname__}_{FINGERPRINT}"
    try:
        compiled = numba.njit(plain, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:
        compiled = numba.njit(plain, nogil=True, error_model="numpy")
    return cast("Callable[Parameters, Result]", compiled)


def instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that writes machine code in place of its call in a kernel.

    Args:
        function: Numba's type inference and code generation, see ``numba.extending.intrinsic``.

    Returns:
        What kernels call.
    """
    return cast("Callable[..., Any]", intrinsic(inspect.unwrap(function)))
