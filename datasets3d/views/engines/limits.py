"""How long and how large one task may become."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from equivariant.errors import ConventionError

try:
    import resource
except ImportError:  # Windows
    CAN_LIMIT_MEMORY = False
else:
    CAN_LIMIT_MEMORY = sys.platform == "linux"

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Limits:
    """What one task may take; its process is stopped, or told that there is no more memory.

    Args:
        seconds: Wall time, above 0; None for any.
        bytes: Memory beyond what its process had before, above 0; None for any. On Linux alone.

    Raises:
        ConventionError: A limit is not positive, or of memory and this is not Linux.
    """

    seconds: float | None = None
    bytes: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("bytes", self.bytes)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConventionError(
                    expected="a positive number, or None for no limit", got=str(value),
                    argument=f"limits.{name}", advice="Leave it out for no limit.",
                )  # fmt: skip
        if self.bytes is not None and not CAN_LIMIT_MEMORY:
            raise ConventionError(
                expected="no limit of memory on this system", got=f"{self.bytes} bytes",
                argument="limits.bytes", advice="Only Linux keeps such a limit.",
            )  # fmt: skip

    def __bool__(self) -> bool:
        return self.seconds is not None or self.bytes is not None

    @contextmanager
    def of_memory(self) -> Iterator[None]:
        """Let this process have so much more memory than now; allocations beyond it fail."""
        if self.bytes is None:
            yield
            return
        before = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = _data_bytes() + self.bytes
        if before[1] != resource.RLIM_INFINITY:
            wanted = min(wanted, before[1])
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, before)


def _data_bytes() -> int:
    """What the kernel counts against a limit of data: heap and private mappings."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
