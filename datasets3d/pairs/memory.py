"""Whether what is to be kept in memory fits."""

from __future__ import annotations

import os
from pathlib import Path

from equivariant.errors import ConventionError

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


class InsufficientMemoryError(ConventionError):
    """Something is to be kept in memory, and does not fit."""


def available_memory() -> int | None:
    """Bytes that this process can still take without swapping; None where nobody says.

    What the system calls available, or what a control group leaves if that is less; where there
    is neither, the pages that are free.
    """
    found = [count for count in (_of_system(), _of_group()) if count is not None]
    return min(found) if found else _free_pages()


def check_memory(needed: int, *, what: str) -> None:
    """Raise InsufficientMemoryError if more is needed than is available.

    Args:
        needed: Bytes.
        what: Needs them, as a noun phrase.
    """
    available = available_memory()
    if available is not None and needed > available:
        raise InsufficientMemoryError(
            expected=f"memory for {what}, {needed / 1e9:.1f} GB",
            got=f"{available / 1e9:.1f} GB available", argument="in_memory",
            advice="Decode them batch by batch (in_memory=False), or take a smaller size_px.",
        )  # fmt: skip


def _of_system() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None


def _of_group() -> int | None:
    """What the control group (version 2) leaves; its cache of files can be given back."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - used + int(stat.get("inactive_file", 0)))


def _free_pages() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
