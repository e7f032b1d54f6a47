"""Tasks in processes of this machine, each of which may die, take too long or too much."""

from __future__ import annotations

import multiprocessing
import multiprocessing.spawn
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import IO, Any, Generic, TypeVar

from datasets3d.views.engines.limits import Limits
from datasets3d.views.engines.worker import read_frame, write_frame
from equivariant.errors import EquivariantError

Item = TypeVar("Item")
Done = TypeVar("Done")

# One worker per core: a numerical library's own threads would only get in the way.
SINGLE_THREADED = {
    f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "NUMBA", "LP")
}
CRASHED = "its process died while it was rendered: crashed, killed, or out of memory"
# what a worker loads stays: the garbage collector would only look through it again and again
_PROGRAM = "import gc; gc.disable(); from datasets3d.views.engines.worker import serve; serve()"
_PREPARATION = (
    "sys_path",
    "sys_argv",
    "orig_dir",
    "dir",
    "init_main_from_name",
    "init_main_from_path",
)


@dataclass(frozen=True)
class Lost(Generic[Item]):
    """A task without a result.

    Args:
        item: The task.
        reason: What happened.
        again: Whether it may go well when it is tried alone.
    """

    item: Item
    reason: str
    again: bool


def run_in_processes(
    function: Callable[[Item], Done],
    items: Sequence[Item],
    *,
    workers: int,
    limits: Limits | None = None,
    chunk: int = 1,
) -> Iterator[Done | Lost[Item]]:
    """Results of tasks, as they come; tasks whose process ended while it was at them are lost.

    Args:
        function: A module-level function, or an instance that can be called; what it raises is
            raised here.
        items: Its arguments; they and the results pickle.
        workers: Processes, at least 1.
        limits: Of each task.
        chunk: Consecutive tasks that one process is given at a time.

    Raises:
        EquivariantError: A process cannot even start.
    """
    waiting = deque(items)
    crew = _Crew(function, waiting, limits or Limits(), max(1, chunk))
    try:
        for _ in range(min(workers, len(waiting))):
            crew.hire()
        yield from crew.answers()
    finally:
        crew.dismiss()


def seconds_to_start(function: Callable[[Item], Done], item: Item) -> float:
    """Wall time from starting a process to its first result, less that of a second one."""
    started = time.monotonic()
    moments = [
        time.monotonic() - started for _ in run_in_processes(function, [item] * 3, workers=1)
    ]
    return max(0.0, moments[0] - min(moments[1] - moments[0], moments[2] - moments[1]))


class _Crew(Generic[Item, Done]):
    """Processes that take tasks from one queue."""

    def __init__(
        self, function: Callable[[Item], Done], waiting: deque[Item], limits: Limits, chunk: int
    ) -> None:
        self._setup = pickle.dumps((function, limits))
        self._waiting, self._limits, self._chunk = waiting, limits, chunk
        self._events: SimpleQueue[tuple[_Worker[Item], bytes | None]] = SimpleQueue()
        self._workers: list[_Worker[Item]] = []

    def hire(self) -> None:
        """Start one more process and give it work."""
        worker: _Worker[Item] = _Worker(self._setup, self._events)
        self._workers.append(worker)
        self._feed(worker)

    def answers(self) -> Iterator[Done | Lost[Item]]:
        """Results, until nothing is left to do."""
        while self._workers:
            late = self._late()
            if late is not None:
                yield self._replace(late, f"it took longer than {self._limits.seconds:g} s", False)
                continue
            try:
                worker, frame = self._events.get(timeout=self._patience())
            except Empty:
                continue
            if worker not in self._workers:
                continue  # stopped here before
            if frame is None:
                yield from self._after_death(worker)
            else:
                yield from self._after_reply(worker, frame)

    def dismiss(self) -> None:
        """Stop every process that is still there."""
        for worker in self._workers:
            worker.stop()
        self._workers.clear()

    def _after_reply(self, worker: _Worker[Item], frame: bytes) -> Iterator[Done]:
        kind, value = pickle.loads(frame)  # noqa: S301 (from a process that was started here)
        if kind == "unfit":
            raise _no_start(value)
        worker.since = time.monotonic()
        if kind == "ready":
            worker.ready = True
            return
        worker.given.popleft()
        if kind == "raised":
            raise value
        self._feed(worker)
        yield value

    def _after_death(self, worker: _Worker[Item]) -> Iterator[Lost[Item]]:
        if not worker.ready:
            raise _no_start("one that died at once")
        yield self._replace(worker, CRASHED, True)

    def _replace(self, worker: _Worker[Item], reason: str, again: bool) -> Lost[Item]:
        """Take back what a process has not begun; start another one if there is work for it."""
        worker.stop()
        self._workers.remove(worker)
        item = worker.given.popleft()
        self._waiting.extendleft(reversed(worker.given))
        if self._waiting:
            self.hire()
        return Lost(item, reason, again)

    def _feed(self, worker: _Worker[Item]) -> None:
        """Keep one task ahead of a process, so that it need not wait; send it home without any."""
        if len(worker.given) <= 1:
            for _ in range(min(self._chunk + 1 - len(worker.given), len(self._waiting))):
                worker.give(self._waiting.popleft())
        if not worker.given:
            self._workers.remove(worker)
            worker.stop()

    def _late(self) -> _Worker[Item] | None:
        if self._limits.seconds is None:
            return None
        latest = time.monotonic() - self._limits.seconds
        return next((w for w in self._workers if w.ready and w.since < latest), None)

    def _patience(self) -> float | None:
        """Seconds until the first process is late."""
        begun = [worker.since for worker in self._workers if worker.ready]
        if self._limits.seconds is None or not begun:
            return None
        return max(0.0, min(begun) + self._limits.seconds - time.monotonic()) + 1e-3


class _Worker(Generic[Item]):
    """One process, and the tasks that it was given and has not answered."""

    def __init__(
        self, setup: bytes, events: SimpleQueue[tuple[_Worker[Item], bytes | None]]
    ) -> None:
        self.given: deque[Item] = deque()
        self.ready, self.since = False, time.monotonic()
        self._process = _start()
        self._events = events
        self._send(pickle.dumps(_main_module()))
        self._send(setup)
        threading.Thread(target=self._listen, daemon=True).start()

    def give(self, item: Item) -> None:
        """Send a task."""
        self.given.append(item)
        self._send(pickle.dumps(item))

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _send(self, data: bytes) -> None:
        with suppress(OSError):  # its death is seen where it is listened to
            write_frame(_stream(self._process.stdin), data)

    def _listen(self) -> None:
        frame: bytes | None = b""
        while frame is not None:
            try:
                frame = read_frame(_stream(self._process.stdout))
            except (OSError, ValueError):  # closed when it was stopped
                frame = None
            self._events.put((self, frame))


def _start() -> subprocess.Popen[bytes]:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise _no_start("a script that starts them while they import it")
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    with _interrupts_held():
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, **SINGLE_THREADED, "PYTHONPATH": path},
        )  # fmt: skip


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C for what is started inside, for good: its parent hears it, and stops it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _main_module() -> dict[str, Any]:
    """What a process needs to import the main module of this one, if it comes to that."""
    found = multiprocessing.spawn.get_preparation_data("worker")
    return {name: found[name] for name in _PREPARATION if name in found}


def _stream(stream: IO[bytes] | None) -> Any:
    if stream is None:
        raise ValueError("no pipe")
    return stream


def _no_start(got: str) -> EquivariantError:
    return EquivariantError(
        expected="worker processes that start", got=got, argument="workers",
        advice="In a script, call from below `if __name__ == '__main__':`, or use workers=1.",
    )  # fmt: skip
