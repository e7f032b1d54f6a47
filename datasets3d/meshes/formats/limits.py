"""Limits of time and memory within which one mesh must be read."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from equivariant.errors import ConventionError

try:
    import resource
except ImportError:  # Windows
    HAS_LIMITS = False
else:
    HAS_LIMITS = True
AGAIN_S: Final = 1.0  # a library may swallow the first exception: raised again after so long


@dataclass(frozen=True)
class ReadingLimits:
    """How much one mesh may take to be read and converted before it is set aside.

    Args:
        seconds: Of wall time, above 0. Kept in the main thread of a process, where no other
            alarm is set, on Unix.
        memory_bytes: Of address space beyond what the process has, above 0. Kept on Linux.

    Raises:
        ConventionError: One is not above 0.
    """

    seconds: float = 120.0
    memory_bytes: int = 8 << 30

    def __post_init__(self) -> None:
        for name in ("seconds", "memory_bytes"):
            if not getattr(self, name) > 0:
                raise ConventionError(
                    expected="a limit above 0", got=repr(getattr(self, name)),
                    argument=f"limits.{name}", advice="Pass limits=None to read without limits.",
                )  # fmt: skip


@contextmanager
def limited(limits: ReadingLimits | None) -> Iterator[None]:
    """Raise TimeoutError or MemoryError where what is inside takes too much.

    Compiled code is stopped when it comes back to Python.

    Args:
        limits: How much; None for as much as it takes.

    Example:
        >>> with limited(ReadingLimits(seconds=0.01)):
        ...     while True:
        ...         pass
        Traceback (most recent call last):
        ...
        TimeoutError: more than 0.01 s
    """
    if limits is None:
        yield
        return
    with limited_memory(limits.memory_bytes), _of_time(limits.seconds):
        yield


@contextmanager
def limited_memory(size: int) -> Iterator[None]:
    """Raise MemoryError where what is inside takes more; on Linux.

    Args:
        size: Bytes of address space beyond what the process has.
    """
    pages = Path("/proc/self/statm")
    if not HAS_LIMITS or not pages.is_file():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(pages.read_text().split()[0]) * resource.getpagesize()
    soft, hard = before
    wanted = used + size
    if soft != resource.RLIM_INFINITY and soft <= wanted:
        yield  # the process has a narrower limit of its own
        return
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def _of_time(seconds: float) -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    if not hasattr(signal, "setitimer") or not main or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return
    running = True

    def stop(number: int, frame: FrameType | None) -> None:
        if running:
            raise TimeoutError(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
