"""Commands that were told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """A command was told to stop.

    Args:
        text: What to say.
        status: Exit status.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.text, self.status = text, status


def first_process() -> bool:
    """Whether this process speaks to the user; where training uses several, one does."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


@contextmanager
def interrupts_end_it() -> Iterator[None]:
    """End the process at once, with status 130, when Ctrl-C comes while modules are imported.

    Nothing is written yet, and compiled modules may turn a KeyboardInterrupt into anything.
    Only in the main thread, and where Ctrl-C means what Python makes it mean.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        if first_process():
            os.write(2, b"\nstopped before anything was done\n")
        os._exit(128 + number)

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
