"""The lock on a set's folder: calls that write into one folder wait for one another."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from equivariant.errors import StorageError
from equivariant.files import HAS_LOCKS, take_lock


@contextmanager
def folder_lock(root: Path, *, shared: bool, progress: bool) -> Iterator[None]:
    """Make a folder and hold a lock on it, waiting for builds that hold one.

    The lock is the operating system's, on the folder itself: no file is left behind, and it ends
    with the process that holds it, and with children that were forked from it meanwhile. File
    systems without such locks, and Windows, do without one.

    Args:
        root: The folder; made if missing.
        shared: Whether others that share it may go on beside this one: shards.
        progress: Say on stderr that it waits.

    Raises:
        StorageError: The folder cannot be made, or something else has its name.

    Example:
        >>> import tempfile
        >>> with folder_lock(Path(tempfile.mkdtemp()) / "data", shared=False, progress=False):
        ...     pass
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root, os.O_RDONLY) if HAS_LOCKS else -1
    except OSError as error:
        raise StorageError(
            expected="a folder, or a place where one can be made", got=str(error),
            argument=str(root), advice="Choose another folder.",
        ) from None  # fmt: skip
    try:
        if HAS_LOCKS:
            _lock(descriptor, root, shared=shared, progress=progress)
        yield
    finally:
        if HAS_LOCKS:
            os.close(descriptor)


def _lock(descriptor: int, root: Path, *, shared: bool, progress: bool) -> None:
    if take_lock(descriptor, shared=shared) is not False:
        return
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        return  # a script without a guard, read again by its own worker: engines say so
    if progress:
        sys.stderr.write(f"waiting for another build of {root}\n")
    take_lock(descriptor, shared=shared, wait=True)
