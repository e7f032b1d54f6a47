"""The other end of :mod:`processes`: a process that answers one task after another.

It imports what the function needs and nothing else: not the main module of its parent, and what
that imports (torch, say), unless something of it is asked for.
"""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.spawn
import os
import pickle
import struct
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, BinaryIO

_SIZE = struct.Struct("<Q")
_OF_MAIN = b"__main__"


def write_frame(stream: BinaryIO, data: bytes) -> None:
    """Write bytes behind their number, at once."""
    stream.write(_SIZE.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame; None where the stream ends, also in the middle of one."""
    head = stream.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    size = _SIZE.unpack(head)[0]
    data = stream.read(size)
    return data if len(data) == size else None


def serve() -> None:
    """Answer frames of the standard input until it ends, as it does when the parent is killed.

    The first frame holds what is needed to import the parent's main module, the second one the
    function and its limits, every further one a task. What tasks print goes to stderr. A function
    with a method ``prepare`` is prepared before limits hold. Until then no garbage is collected,
    and what was loaded is never looked through for any.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    inbox: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, inbox), daemon=True).start()
    main = _Main(pickle.loads(inbox.get()))  # noqa: S301 (from the process that started this one)
    try:
        function, limits = main.unpickle(inbox.get())
    except BaseException as error:
        _reply(replies, "unfit", f"{type(error).__name__}: {error}")
        os._exit(1)  # at once: a thread is still reading
    try:
        prepare(function)
    except BaseException as error:
        _reply(replies, "raised", error)
        os._exit(1)
    gc.freeze()
    gc.enable()
    _reply(replies, "ready", None)
    while True:
        task = main.unpickle(inbox.get())
        try:
            with limits.of_memory():
                result = function(task)
        except BaseException as error:
            _reply(replies, "raised", error)
        else:
            _reply(replies, "done", result)


def prepare(function: Callable[[Any], Any]) -> None:
    """Load what every task needs, where the function knows how: no task is to pay for it."""
    getattr(function, "prepare", lambda: None)()


def _reply(replies: BinaryIO, kind: str, value: Any) -> None:
    try:
        data = pickle.dumps((kind, value))
    except Exception:  # an error that does not travel
        data = pickle.dumps((kind, RuntimeError(f"{type(value).__name__}: {value}")))
    try:
        write_frame(replies, data)
    except OSError:  # nobody listens any more: the parent was killed
        os._exit(0)


def _receive(stream: BinaryIO, inbox: SimpleQueue[bytes]) -> None:
    """Take what comes; end this process, whatever it is doing, when nothing can come any more."""
    while (frame := read_frame(stream)) is not None:
        inbox.put(frame)
    os._exit(0)


class _Main:
    """The main module of the parent, imported when something of it is asked for."""

    def __init__(self, preparation: dict[str, Any]) -> None:
        self._preparation: dict[str, Any] | None = preparation

    def unpickle(self, frame: bytes) -> Any:
        if _OF_MAIN in frame and self._preparation is not None:
            self._prepare(self._preparation)
            self._preparation = None
        return pickle.loads(frame)  # noqa: S301 (from the process that started this one)

    def _prepare(self, preparation: dict[str, Any]) -> None:
        """As spawned processes do; a script without a guard is told by the mark it leaves."""
        process = multiprocessing.current_process()
        process._inheriting = True  # type: ignore[attr-defined]
        try:
            prepare: Callable[[dict[str, Any]], None] = multiprocessing.spawn.prepare
            prepare(preparation)
        finally:
            del process._inheriting  # type: ignore[attr-defined]
