"""Compilation of the inner loops by Numba, cached on disk wherever that is possible."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def kernel(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function when it is first called, to run without the interpreter's lock.

    The machine code is kept beside the source or in the user's cache folder, or in
    ``NUMBA_CACHE_DIR``; where none of them can be written, each process compiles anew.
    """
    plain = inspect.unwrap(function)
    try:
        compiled = numba.njit(plain, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:
        compiled = numba.njit(plain, nogil=True, error_model="numpy")
    return cast("Callable[Parameters, Result]", compiled)
