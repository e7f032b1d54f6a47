"""Tasks on a Ray cluster, whose workers and nodes may die."""

from __future__ import annotations

import faulthandler
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from datasets3d.views.engines.limits import Limits
from datasets3d.views.engines.processes import SINGLE_THREADED, Lost
from datasets3d.views.engines.worker import prepare
from equivariant.errors import EquivariantError, MissingExtraError

Item = TypeVar("Item")
Done = TypeVar("Done")
Answer = tuple[bool, Any]

CRASHED = "its process on the cluster died while it was rendered: crashed, killed, or out of memory"
OUT_OF_MEMORY = "Ray stopped it because its node ran out of memory"
MOVES = 8
"""How often the death of a node may send one task elsewhere."""


def run_on_ray(
    function: Callable[[Item], Done],
    items: Sequence[Item],
    *,
    workers: int,
    limits: Limits | None = None,
    chunk: int = 1,
) -> Iterator[Done | Lost[Item]]:
    """Results of tasks from a Ray cluster, as they come.

    A cluster that runs is found as ``ray.init()`` finds it; else one is started on this machine.
    What was on a node that died is given to another one. A task whose process died, or that Ray
    stopped for its memory, is lost, and so are those in its chunk.

    Args:
        function: A module-level function, or an instance that can be called; what it raises is
            raised here.
        items: Its arguments; they and the results pickle.
        workers: 1 gives the cluster one task at a time; more are as many as its cores.
        limits: Of each task; a process is ended where it takes too long.
        chunk: Consecutive tasks that are sent together.

    Raises:
        MissingExtraError: Ray is not installed.
        EquivariantError: The cluster cannot be reached any more.
    """
    if not items:
        return
    ray = _ray()
    if not ray.is_initialized():
        ray.init(runtime_env={"env_vars": SINGLE_THREADED}, log_to_driver=False)
    chunks = [tuple(items[k : k + chunk]) for k in range(0, len(items), max(1, chunk))]
    remote = ray.remote(max_retries=0)(_run_chunk)
    settings = ray.put((function, limits or Limits()))
    yield from _Cluster(ray, remote, settings, deque(chunks), alone=workers == 1).answers()


def _ray() -> Any:
    try:
        import ray  # noqa: PLC0415 (optional engine)
    except ImportError as error:
        raise MissingExtraError.of("ray", extra="ray") from error
    return ray


@dataclass
class _Cluster(Generic[Item, Done]):
    """Chunks of tasks that wait, and those that a cluster was given."""

    ray: Any
    remote: Any
    settings: Any
    waiting: deque[tuple[Item, ...]]
    alone: bool
    pending: dict[Any, tuple[Item, ...]] = field(default_factory=dict)
    moves: Counter[tuple[Item, ...]] = field(default_factory=Counter)

    def answers(self) -> Iterator[Done | Lost[Item]]:
        """Results, until nothing is left to do."""
        while self.waiting or self.pending:
            while self.waiting and len(self.pending) < self._room():
                chunk = self.waiting.popleft()
                self.pending[self.remote.remote(self.settings, chunk)] = chunk
            for reference in self.ray.wait(list(self.pending))[0]:
                yield from self._answer(reference, self.pending.pop(reference))

    def _room(self) -> int:
        """Chunks that the cluster has work with: two for each core that it has now."""
        return 1 if self.alone else max(2, 2 * int(self.ray.cluster_resources().get("CPU", 1)))

    def _answer(self, reference: Any, chunk: tuple[Item, ...]) -> Iterator[Done | Lost[Item]]:
        errors = self.ray.exceptions
        try:
            answers: list[Answer] = self.ray.get(reference)
        except errors.OutOfMemoryError:
            yield from (Lost(item, OUT_OF_MEMORY, True) for item in chunk)
        except errors.WorkerCrashedError:
            yield from (Lost(item, CRASHED, True) for item in chunk)
        except (errors.NodeDiedError, errors.ObjectLostError) as error:
            self._move(chunk, error)
        except (errors.RayError, ConnectionError) as error:
            raise _gone(error) from error
        else:
            for fine, value in answers:
                if not fine:
                    raise value
                yield value

    def _move(self, chunk: tuple[Item, ...], error: Exception) -> None:
        self.moves[chunk] += 1
        if self.moves[chunk] > MOVES:
            raise _gone(error) from error
        self.waiting.appendleft(chunk)


def _run_chunk(
    settings: tuple[Callable[[Any], Any], Limits], chunk: tuple[Any, ...]
) -> list[Answer]:
    """On the cluster: results in order, up to the first that raises."""
    function, limits = settings
    answers: list[Answer] = []
    try:
        prepare(function)
    except Exception as error:
        return [(False, error)]
    for item in chunk:
        try:
            with limits.of_memory(), _time(limits.seconds):
                answers.append((True, function(item)))
        except Exception as error:
            return [*answers, (False, error)]
    return answers


@contextmanager
def _time(seconds: float | None) -> Iterator[None]:
    """End this process when what is done inside takes longer, even inside of compiled code."""
    if seconds is None:
        yield
        return
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _gone(error: Exception) -> EquivariantError:
    return EquivariantError(
        expected="a Ray cluster that does its tasks",
        got=f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}", argument="engine",
        advice="Start the cluster again, with all that this process can import on every node, and "
        "run the same command: it goes on where it was.",
    )  # fmt: skip
