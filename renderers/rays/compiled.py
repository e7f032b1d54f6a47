"""Compilation of the inner loops by Numba, cached on disk wherever that is possible."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba

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
    """
    plain = inspect.unwrap(function)
    plain.__qualname__ = f"{plain.__qualname__}_{FINGERPRINT}"
    try:
        compiled = numba.njit(plain, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:
        compiled = numba.njit(plain, nogil=True, error_model="numpy")
    return cast("Callable[Parameters, Result]", compiled)
