"""What benchmarks share: turns of several ways, and the memory that one way takes."""

from __future__ import annotations

import math
import time
from pathlib import Path


def seconds(calls, *, least):
    """Shortest time of each call; in turns of five calls (one where slow), three at least.

    Args:
        calls: What to time, by name.
        least: Seconds that turns go on for, unless 200 of them are done before.
    """
    for call in calls.values():
        for _ in range(2):
            call()
    best = dict.fromkeys(calls, math.inf)
    started, turn = time.perf_counter(), 0
    while turn < 3 or (time.perf_counter() - started < least and turn < 200):
        for name, call in calls.items():
            for _ in range(5 if best[name] < 0.05 else 1):
                before = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - before)
        turn += 1
    return best


def forget_peak():
    """Let the peak of the resident set start anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes():
    """Peak of the resident set since it was last forgotten."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
