"""All tasks of a build, on an engine that is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, Protocol, TypeVar

from datasets3d.views.engines.limits import Limits
from datasets3d.views.engines.processes import Lost, run_in_processes
from datasets3d.views.engines.ray_cluster import run_on_ray
from equivariant.errors import ConventionError, EquivariantError, check_option

Item = TypeVar("Item")
Done = TypeVar("Done")
Engine = Literal["local", "ray"]


class _Run(Protocol):
    """How an engine is called."""

    def __call__(
        self, function: Callable[[Item], Done], items: Sequence[Item], *, workers: int,
        chunk: int = 1,
    ) -> Iterator[Done | Lost[Item]]: ...  # fmt: skip


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
    limits: Limits | None = None,
    chunk: int = 1,
    lost: Callable[[Item, str], Done] | None = None,
) -> Iterator[Done]:
    """Results of all tasks, in the order in which they finish.

    A task whose process died may be the victim of another one's hunger, so it is tried once more
    when all others are done, by itself. One that took longer than its limit is not.

    Args:
        function: A module-level function, or an instance that can be called; what it raises is
            raised here.
        tasks: Its arguments; they and the results pickle.
        workers: Processes; 1 without limits runs in this process. Ignored by Ray, which has its
            own.
        engine: "local", or "ray" for a cluster that ``ray.init()`` finds.
        limits: Of each task.
        chunk: Consecutive tasks that belong to one process, where they share what it keeps.
        lost: Result of a task that was given up, from it and the reason. None raises instead.

    Raises:
        ConventionError: workers < 1, or the engine is unknown.
        MissingExtraError: Ray is asked for and not installed.
        EquivariantError: A task was given up and ``lost`` is None, or no process can start.
    """
    check_workers(workers)
    check_option(engine, ("local", "ray"), "engine")
    limits = limits or Limits()
    if engine == "local" and workers == 1 and not limits:
        yield from map(function, tasks)
        return
    run: _Run = partial(run_on_ray if engine == "ray" else run_in_processes, limits=limits)
    suspects: list[Item] = []
    for answer in run(function, tasks, workers=workers, chunk=chunk):
        if not isinstance(answer, Lost):
            yield answer
        elif lost is not None and answer.again:
            suspects.append(answer.item)
        else:
            yield _given_up(answer, lost)
    for answer in run(function, suspects, workers=1):
        yield _given_up(answer, lost) if isinstance(answer, Lost) else answer


def _given_up(answer: Lost[Item], lost: Callable[[Item, str], Done] | None) -> Done:
    if lost is None:
        raise EquivariantError(
            expected="workers that live until their task is done",
            got=f"one that did not: {answer.reason}", argument="workers",
            advice="Run the same command again to go on; use fewer workers if memory is short.",
        )  # fmt: skip
    return lost(answer.item, answer.reason)
