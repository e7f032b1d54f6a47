"""Temporary folders that end with who asked for them, and those that killed processes left."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final

from equivariant.errors import StorageError
from equivariant.files import HAS_LOCKS, take_lock

PREFIX: Final = "equivariant-meshes-"
YOUNG_S: Final = 60.0  # a folder that was made just now may not be locked yet


def temporary_folder(owner: object) -> Path:
    """A new folder among the system's temporary files, removed when its owner is gone, or when
    this process ends.

    A lock on it says that its process lives. Folders of processes that were killed, which nobody
    locks any more, are removed first.

    Args:
        owner: Anything that can be referred to weakly.

    Raises:
        StorageError: No folder can be made.
    """
    try:
        _remove_left_over(Path(tempfile.gettempdir()))
        place = Path(tempfile.mkdtemp(prefix=PREFIX))
    except OSError as error:
        raise StorageError.of(error, tempfile.gettempdir()) from None
    lock = os.open(place, os.O_RDONLY) if HAS_LOCKS else -1
    take_lock(lock)
    weakref.finalize(owner, _remove, place, lock, os.getpid())
    return place


def _remove_left_over(among: Path) -> None:
    """Remove folders of this user that no process holds a lock on."""
    if not HAS_LOCKS:
        return
    for path in among.glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = path.lstat()
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < YOUNG_S:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if take_lock(lock):  # where there are no locks nobody is known to be gone
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _remove(place: Path, lock: int, process: int) -> None:
    if os.getpid() != process:
        return  # forked from it
    shutil.rmtree(place, ignore_errors=True)
    if lock >= 0:
        os.close(lock)
