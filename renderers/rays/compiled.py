"""Compilation of the inner loops by Numba, cached on disk wherever that is possible."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Numba looks at the file of a function only, not at those of the functions that it calls.
_SOURCES = sorted(Path(__file__).parent.glob("*.py"))
FINGERPRINT = sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:12]


def kernel(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function when it is first called, to run without the interpreter's lock.

    The machine code is kept beside the source or in the user's cache folder, or in
    ``NUMBA_CACHE_DIR``; where none of them can be written, or the disk is full, each process
    compiles anew. Its name contains a hash of all kernels' sources, so that none is used after a
    change.
    """
    plain = inspect.unwrap(function)
    plain.__qualname__ = f"{plain.__qualname__}_{FINGERPRINT}"
    try:
        compiled = numba.njit(plain, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:
        compiled = numba.njit(plain, nogil=True, error_model="numpy")
    else:
        _keep_where_possible(compiled)
    return cast("Callable[Parameters, Result]", compiled)


def _keep_where_possible(compiled: Any) -> None:
    """Let a compiled function work on where its code cannot be written to the disk."""
    save = compiled._cache.save_overload

    def save_if_possible(*code: Any) -> None:
        with suppress(OSError):
            save(*code)

    compiled._cache.save_overload = save_if_possible
