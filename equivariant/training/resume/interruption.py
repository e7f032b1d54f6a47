"""Stopping well: a signal ends a run after the step in progress, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingStopped(KeyboardInterrupt):
    """A run was told to stop, and has a checkpoint to go on from.

    Args:
        step: Steps done.
        run: Its folder.
        number: The signal.
    """

    def __init__(self, step: int, run: Path, number: int) -> None:
        super().__init__(f"stopped at step {step}; training in the folder {run} again goes on")
        self.step, self.run, self.number = step, run, number


class StopRequest:
    """Which signal asked the run to stop; 0 for none."""

    def __init__(self) -> None:
        self.number = 0


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Note SIGINT and SIGTERM instead of ending at once; the second one ends at once.

    Outside the main thread, where Python allows no handlers, signals do what they did.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        request.number = number
        for each in _SIGNALS:
            signal.signal(each, before[each])

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number in _SIGNALS:
            signal.signal(number, before[number])
