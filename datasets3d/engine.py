"""Where tasks run: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
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


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, engine: Engine
) -> Iterator[Result]:
    """Results of all tasks, in the order in which they finish.

    Args:
        function: A module-level function.
        tasks: Its arguments; they and the results pickle.
        workers: Processes; 1 runs in this process. Ignored by Ray, which has its own.
        engine: "local", or "ray" for a cluster that ``ray.init()`` finds.

    Raises:
        ConventionError: workers < 1, or the engine is unknown.
        MissingExtraError: Ray is asked for and not installed.
        EquivariantError: A worker died (out of memory, killed).
    """
    if workers < 1 or engine not in ("local", "ray"):
        raise ConventionError(
            expected="at least 1 worker, engine local or ray", got=f"{workers}, {engine!r}",
            argument="workers", advice="Leave workers out to use every core.",
        )  # fmt: skip
    if engine == "ray":
        yield from _run_on_ray(function, tasks)
    elif workers == 1 or len(tasks) <= 1:
        yield from map(function, tasks)
    else:
        yield from _run_in_processes(function, tasks, workers)


def _run_in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    context = multiprocessing.get_context("spawn")
    with _environment(_SINGLE_THREADED), ProcessPoolExecutor(workers, context) as pool:
        waiting = iter(tasks)
        pending = {
            pool.submit(function, task)
            for _, task in zip(range(2 * workers), waiting, strict=False)
        }
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    following = next(waiting, None)
                    if following is not None:
                        pending.add(pool.submit(function, following))
        except BrokenProcessPool as error:
            raise EquivariantError(
                expected="workers that live until their task is done", got="one that died",
                argument="workers",
                advice="Run the same command again to go on; use fewer workers if memory is short.",
            ) from error  # fmt: skip
        finally:
            pool.shutdown(cancel_futures=True)


def _run_on_ray(function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    try:
        import ray  # noqa: PLC0415 (optional engine)
    except ImportError as error:
        raise MissingExtraError.of("ray", extra="ray") from error
    if not ray.is_initialized():
        ray.init(runtime_env={"env_vars": _SINGLE_THREADED}, log_to_driver=False)
    remote = ray.remote(function)
    pending = [remote.remote(task) for task in tasks]
    while pending:
        done, pending = ray.wait(pending)
        yield from ray.get(done)


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
