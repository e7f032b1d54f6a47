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

Item = TypeVar("Item")
Done = TypeVar("Done")
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
    function: Callable[[Item], Done],
    tasks: Sequence[Item],
    *,
    workers: int,
    engine: Engine,
    died: Callable[[Item], Done] | None = None,
) -> Iterator[Done]:
    """Results of all tasks, in the order in which they finish.

    Args:
        function: A module-level function; what it raises is raised here.
        tasks: Its arguments; they and the results pickle.
        workers: Processes; 1 runs in this process. Ignored by Ray, which has its own.
        engine: "local", or "ray" for a cluster that ``ray.init()`` finds.
        died: Result of a task whose process, or one beside it, died: killed, out of memory, or
            crashed in compiled code; the rest goes on in new processes. None raises instead.

    Raises:
        ConventionError: workers < 1, or the engine is unknown.
        MissingExtraError: Ray is asked for and not installed.
        EquivariantError: A worker died and ``died`` is None, or none can even start.
    """
    check_workers(workers)
    if engine not in ("local", "ray"):
        raise ConventionError(
            expected="local or ray", got=repr(engine), argument="engine",
            advice="Ray needs the extra of that name.",
        )  # fmt: skip
    if engine == "ray":
        yield from _run_on_ray(function, tasks, died)
    elif workers == 1:
        yield from map(function, tasks)
    else:
        yield from run_in_processes(function, tasks, workers=workers, died=died)


def run_in_processes(
    function: Callable[[Item], Done],
    tasks: Sequence[Item],
    *,
    workers: int,
    ahead: int = 1,
    died: Callable[[Item], Done] | None = None,
) -> Iterator[Done]:
    """:func:`run_tasks` in spawned processes, also with one worker.

    Args:
        function: As there.
        tasks: As there.
        workers: Processes, at least 1.
        ahead: Tasks that wait, for each worker; when one dies, they count as its victims.
        died: As there.
    """
    waiting = deque(tasks)
    with _environment(_SINGLE_THREADED):
        while waiting:
            yield from _run_until_one_dies(function, waiting, workers, ahead, died)


def _run_until_one_dies(
    function: Callable[[Item], Done],
    waiting: deque[Item],
    workers: int,
    ahead: int,
    died: Callable[[Item], Done] | None,
) -> Iterator[Done]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_end_with_parent)
    pending: dict[Future[Done], Item] = {}
    try:
        _check_start(pool)
        while waiting or pending:
            while waiting and len(pending) < (1 + ahead) * workers:
                pending[pool.submit(function, waiting[0])] = waiting[0]
                waiting.popleft()
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                result = future.result()
                del pending[future]
                yield result
    except BrokenProcessPool as error:
        if died is None:
            raise _death() from error
        for future, task in pending.items():
            finished = future.done() and future.exception() is None
            yield future.result() if finished else died(task)
    finally:
        pool.shutdown(cancel_futures=True)


def _death() -> EquivariantError:
    return EquivariantError(
        expected="workers that live until their task is done",
        got="one that died",
        argument="workers",
        advice="Run the same command again to go on; use fewer workers if memory is short.",
    )


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
    function: Callable[[Item], Done],
    tasks: Sequence[Item],
    died: Callable[[Item], Done] | None,
) -> Iterator[Done]:
    try:
        import ray  # noqa: PLC0415 (optional engine)
    except ImportError as error:
        raise MissingExtraError.of("ray", extra="ray") from error
    if not ray.is_initialized():
        ray.init(runtime_env={"env_vars": _SINGLE_THREADED}, log_to_driver=False)
    remote = ray.remote(function)
    pending = {remote.remote(task): task for task in tasks}
    while pending:
        for reference in ray.wait(list(pending))[0]:
            task = pending.pop(reference)
            try:
                yield ray.get(reference)
            except ray.exceptions.WorkerCrashedError as error:
                if died is None:
                    raise _death() from error
                yield died(task)


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
