"""Files that are only read where reading ends, and locks between processes."""

from __future__ import annotations

import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    HAS_LOCKS = False
else:
    HAS_LOCKS = True


def open_file(path: Path | str) -> BufferedReader:
    """Open a file to read its bytes, unless it is a pipe, device or folder: these may never end.

    Raises:
        OSError: It cannot be opened, or is none.

    Example:
        >>> open_file("/dev/null")
        Traceback (most recent call last):
        OSError: [Errno 22] a pipe or device, not a file: '/dev/null'
    """
    # without waiting for someone who writes into a pipe; files do not heed it
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    number = os.open(path, flags)
    try:
        mode = os.fstat(number).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(22, "a pipe or device, not a file", str(path))
        return os.fdopen(number, "rb")  # refuses folders
    except BaseException:
        os.close(number)
        raise


def read_file(path: Path | str) -> bytes:
    """Contents of a file.

    Raises:
        OSError: As of :func:`open_file`.
    """
    with open_file(path) as file:
        return file.read()


def checksum(path: Path | str) -> str:
    """Checksum of a file's content, 32 hexadecimal digits (BLAKE2b), in little memory.

    Raises:
        OSError: As of :func:`open_file`.
    """
    with open_file(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def take_lock(number: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Take the operating system's lock on an open file or folder; it ends with the descriptor.

    Args:
        number: Its descriptor.
        shared: Whether others that share it may hold it too.
        wait: Wait for those who hold it.

    Returns:
        Whether it was taken; None where there are no locks: on Windows and some file systems.

    Example:
        >>> import tempfile
        >>> folder = os.open(tempfile.mkdtemp(), os.O_RDONLY)
        >>> take_lock(folder)
        True
    """
    if not HAS_LOCKS:
        return None
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(number, kind)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
