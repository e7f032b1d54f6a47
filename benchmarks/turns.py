"""What benchmarks share: turns of several ways, and the memory that one way takes."""

from __future__ import annotations

import ctypes
import math
import sys
import time
from pathlib import Path


def keep_freed_memory():
    """Let the process keep what is freed, as allocators for training do.

    Otherwise the C library gives results of a few hundred kilobytes back to the kernel or not, by
    what was allocated before, and the next call pays for fresh pages, up to as much as for a whole
    product. All ways that are timed gain.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        trim_threshold, map_threshold = -1, -3
        library.mallopt(trim_threshold, 1 << 30)
        library.mallopt(map_threshold, 1 << 25)


def seconds(calls, *, least):
    """Shortest time of each call; in turns, three at least.

    A turn of a way is five calls, more where they take less than 5 ms in all, so that a fast way
    finds its caches as warm as a slow one does, and one where a call takes 50 ms.

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
            for _ in range(_calls_in_a_turn(best[name])):
                before = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - before)
        turn += 1
    return best


def _calls_in_a_turn(each):
    if each >= 0.05:
        return 1
    return max(5, round(0.005 / each))


def forget_peak():
    """Let the peak of the resident set start anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes():
    """Peak of the resident set since it was last forgotten."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
