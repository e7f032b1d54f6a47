"""Where tasks run: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Literal, TypeVar

from equivariant.errors import ConventionError, EquivariantError, MissingExtraError

Task = TypeVar("Task")
Result = TypeVar("Result")
Engine = Literal["local", "ray"]

# One worker per core: a numerical library's own threads would only get in the way.
_THREADS = ("OPENBLAS", "OMP", "MKL", "NUMBA", "LP")
_SINGLE_THREADED = {f"{library}_NUM_THREADS": "1" for library in _THREADS}


def check_workers(workers: int | None) -> int:
    """The number of processes: as asked for, or one for each core that this process may use.

    Raises:
        ConventionError: It is below 1.
    """
    if workers is None:
        return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if workers < 1:
        raise ConventionError(
            expected="at least 1 worker, or None for every core", got=str(workers),
            argument="workers", advice="Leave it out to use every core.",
        )  # fmt: skip
    return workers


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, engine: Engine
) -> Iterator[tuple[Task, Result | None]]:
    """Tasks with their results, in the order in which they finish.

    A result is None where the process that had the task, or one beside it, died: killed, out of
    memory, or crashed in compiled code. The tasks that it could have been are returned so; the
    rest goes on in new processes. An exception of the function is raised here.

    Args:
        function: A module-level function that never returns None.
        tasks: Its arguments; they and the results pickle.
        workers: Processes; 1 runs in this process. Ignored by Ray, which has its own.
        engine: "local", or "ray" for a cluster that ``ray.init()`` finds.

    Raises:
        ConventionError: workers < 1, or the engine is unknown.
        MissingExtraError: Ray is asked for and not installed.
        EquivariantError: Worker processes cannot even start.
    """
    check_workers(workers)
    if engine not in ("local", "ray"):
        raise ConventionError(
            expected="local or ray", got=repr(engine), argument="engine",
            advice="Ray needs the extra of that name.",
        )  # fmt: skip
    if engine == "ray":
        yield from _run_on_ray(function, tasks)
    elif workers == 1:
        for task in tasks:
            yield task, function(task)
    else:
        yield from run_in_processes(function, tasks, workers=workers)


def run_in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int
) -> Iterator[tuple[Task, Result | None]]:
    """:func:`run_tasks` in spawned processes, also with one worker.

    Args:
        function: As there.
        tasks: As there.
        workers: Processes, at least 1.
    """
    waiting = deque(tasks)
    with _environment(_SINGLE_THREADED):
        while waiting:
            yield from _run_until_one_dies(function, waiting, workers)


def _run_until_one_dies(
    function: Callable[[Task], Result], waiting: deque[Task], workers: int
) -> Iterator[tuple[Task, Result | None]]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_end_with_parent)
    pending: dict[Future[Result], Task] = {}
    try:
        _check_start(pool)
        while waiting or pending:
            while waiting and len(pending) < 2 * workers:
                pending[pool.submit(function, waiting[0])] = waiting[0]
                waiting.popleft()
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                result = future.result()
                yield pending.pop(future), result
    except BrokenProcessPool:
        for future, task in pending.items():
            finished = future.done() and future.exception() is None
            yield task, future.result() if finished else None
    finally:
        pool.shutdown(cancel_futures=True)


def _check_start(pool: ProcessPoolExecutor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise EquivariantError(
            expected="worker processes that start", got="one that died at once",
            argument="workers",
            advice="In a script, call from below `if __name__ == '__main__':`, or use workers=1.",
        ) from error  # fmt: skip


def _end_with_parent() -> None:
    """Make this worker end when its parent does, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _run_on_ray(
    function: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[tuple[Task, Result | None]]:
    try:
        import ray  # noqa: PLC0415 (optional engine)
    except ImportError as error:
        raise MissingExtraError.of("ray", extra="ray") from error
    if not ray.is_initialized():
        ray.init(runtime_env={"env_vars": _SINGLE_THREADED}, log_to_driver=False)
    remote = ray.remote(function)
    pending = {remote.remote(task): task for task in tasks}
    while pending:
        done, _ = ray.wait(list(pending))
        for reference in done:
            task = pending.pop(reference)
            try:
                result = ray.get(reference)
            except ray.exceptions.WorkerCrashedError:
                yield task, None
            else:
                yield task, result


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that processes started inside inherit."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
