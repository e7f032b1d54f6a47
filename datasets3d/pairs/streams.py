"""Endless streams of batches in which every batch is a function of the number of its step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from equivariant.errors import ConventionError

Batch = TypeVar("Batch")
Made = TypeVar("Made", covariant=True)


@runtime_checkable
class Epochs(Protocol[Made]):
    """Pairs in epochs: which pairs an epoch shows in which order, and what a batch of them is."""

    @property
    def pairs_per_epoch(self) -> int:
        """Pairs in every epoch, at least 1."""

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """All pairs of an epoch in their order, one row each; a function of the epoch alone."""

    def batch(self, rows: NDArray[np.int64]) -> Made:
        """Given pairs; a function of the rows alone."""


class PairsOfObjects(ABC, Generic[Batch]):
    """A stream that shows the same number of pairs of every object in every epoch, in fresh orders.

    Which pairs a batch holds depends on (seed, epoch, position) and the number of objects alone.

    Args:
        objects: Number of objects, at least 1 for a stream.
        seed: Of all draws, at least 0.
        pairs_per_object: Pairs of each object in an epoch, at least 1; more allow batches that
            are larger than the number of objects.

    Raises:
        ConventionError: A number is out of its range.
    """

    def __init__(self, objects: int, *, seed: int, pairs_per_object: int) -> None:
        for name, value, least in (("seed", seed, 0), ("pairs_per_object", pairs_per_object, 1)):
            if value < least:
                raise ConventionError(
                    expected=f"at least {least}", got=str(value), argument=name,
                    advice=f"See the documentation of {type(self).__name__}.",
                )  # fmt: skip
        self.objects, self.seed, self.pairs_per_object = objects, seed, pairs_per_object
        self._epoch: tuple[int, NDArray[np.int64]] | None = None

    @property
    def pairs_per_epoch(self) -> int:
        """Pairs in every epoch."""
        return self.objects * self.pairs_per_object

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The order of an epoch's pairs, a permutation; pair k is draw k // N of object k % N."""
        return epoch_order(self.seed, epoch, self.objects, self.pairs_per_object)

    def rows(self, epoch: int) -> NDArray[np.int64]:
        """All pairs of an epoch in their order, as :meth:`listed` writes them."""
        kept = self._epoch
        if kept is None or kept[0] != epoch:
            order = self.order(epoch)
            rows = self.listed(epoch, order % self.objects, order // self.objects)
            kept = self._epoch = epoch, rows
        return kept[1]

    def listed(
        self, epoch: int, objects: NDArray[np.int64], draws: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """What tells pairs of an epoch apart, one row each: (object, epoch, draw), shape (N, 3).

        Args:
            epoch: From 0.
            objects: Shape (N,).
            draws: Which of its object's pairs each is, shape (N,).
        """
        return np.stack([objects, np.full_like(objects, epoch), draws], 1)

    @abstractmethod
    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Given pairs.

        Args:
            rows: Of :meth:`rows`.
        """

    def stream(
        self,
        batch_size: int,
        *,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Batches of steps start, start + 1, ... without end.

        Args:
            batch_size: Pairs per step, over all processes together.
            start: First step.
            rank: Which process's share; the shares together are the batch of one process.
            world: Number of processes.
            workers: Processes that prepare batches; 0 makes them in this process, one ahead,
                which suffices for what is in memory. The batches are the same.

        Raises:
            ConventionError: A batch is larger than an epoch, or not a multiple of world; rank,
                start or workers is out of range.
        """
        return stream_batches(
            self, batch_size, start=start, rank=rank, world=world, workers=workers
        )


class ViewsOfObjects(PairsOfObjects[Batch]):
    """A stream whose rows name the views that are shown: (object, views ...)."""

    @abstractmethod
    def views_of(self, objects: NDArray[np.int64], epoch: int, draw: int = 0) -> NDArray[np.int64]:
        """The views that each object shows in an epoch, shape (N, views).

        Args:
            objects: Indices, shape (N,).
            epoch: From 0.
            draw: Which of an object's pairs.
        """

    def listed(
        self, epoch: int, objects: NDArray[np.int64], draws: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(object, views ...), one row each."""
        everything = np.arange(self.objects, dtype=np.int64)
        views = [self.views_of(everything, epoch, draw) for draw in range(self.pairs_per_object)]
        shown: NDArray[np.int64] = np.stack(views)[draws, objects]
        return np.column_stack([objects, shown])


def stream_batches(
    pairs: Epochs[Batch],
    batch_size: int,
    *,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
) -> Iterator[Batch]:
    """Batches of steps start, start + 1, ... without end, in whole batches of each epoch.

    Args:
        pairs: Where they come from.
        batch_size: Pairs per step, over all processes together.
        start: First step.
        rank: Which process's share; the shares together are the batch of one process.
        world: Number of processes.
        workers: Processes that prepare batches ahead; 0 makes them in this process, one ahead.
            The batches are the same.

    Raises:
        ConventionError: A batch is larger than an epoch, or not a multiple of world; rank,
            start or workers is out of range.
    """
    if not (start >= 0 and 0 <= rank < world and workers >= 0):
        raise ConventionError(
            expected="start >= 0, 0 <= rank < world and workers >= 0",
            got=f"start {start}, rank {rank}, world {world}, workers {workers}",
            argument="rank", advice="Number steps and processes from 0.",
        )  # fmt: skip
    if not 1 <= batch_size <= pairs.pairs_per_epoch or batch_size % world:
        raise ConventionError(
            expected=f"a batch of 1 to {pairs.pairs_per_epoch} pairs, a multiple of {world}",
            got=str(batch_size), argument="batch_size",
            advice="Take smaller batches, or more objects or pairs_per_object.",
        )  # fmt: skip
    steps = _Steps(pairs, batch_size, rank, world)
    return _one_ahead(steps, start) if workers == 0 else _by_workers(steps, start, workers)


def counter(seed: int, epoch: int, objects: NDArray[np.int64], draw: int) -> NDArray[np.uint64]:
    """64 random bits per object that depend on the four arguments alone (SplitMix64).

    Args:
        seed: At least 0.
        epoch: At least 0.
        objects: Indices, any shape, int64.
        draw: Which of an object's draws, at least 0.

    Returns:
        Shape of ``objects``, uint64.

    Example:
        >>> bool(counter(0, 0, np.arange(3), 0)[1] == counter(0, 0, np.array([1]), 0)[0])
        True
    """
    with np.errstate(over="ignore"):
        state = np.full(objects.shape, np.uint64(seed))
        for word in (np.uint64(epoch), objects.astype(np.uint64), np.uint64(draw)):
            state = _mix(state * np.uint64(0x9E3779B97F4A7C15) + word + np.uint64(1))
    return state


def uniform_numbers(
    seed: int, epoch: int, objects: NDArray[np.int64], *, draw: int, count: int
) -> NDArray[np.float64]:
    """Independent uniform numbers per object that depend on the arguments alone.

    Args:
        seed: At least 0.
        epoch: At least 0.
        objects: Indices, shape (N,).
        draw: Which of an object's draws, at least 0.
        count: Numbers per object; the first ones do not depend on it.

    Returns:
        Multiples of 2⁻⁵³ in (0, 1), shape (N, count), float64.

    Example:
        >>> numbers = uniform_numbers(0, 0, np.arange(3), draw=0, count=2)
        >>> numbers.shape, bool(((0 < numbers) & (numbers < 1)).all())
        ((3, 2), True)
    """
    keys = counter(seed, epoch, objects, draw).view(np.int64)
    bits = [counter(place, 0, keys, 0) for place in range(count)]
    columns = [((b >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52 for b in bits]
    return np.stack(columns, 1) if columns else np.zeros((len(objects), 0))


def epoch_order(seed: int, epoch: int, objects: int, pairs_per_object: int) -> NDArray[np.int64]:
    """The order of an epoch's pairs, a permutation; pair k is draw k // N of object k % N.

    Args:
        seed: At least 0.
        epoch: At least 0.
        objects: N, at least 1.
        pairs_per_object: At least 1.

    Returns:
        Shape (N · pairs_per_object,), int64.

    Example:
        >>> sorted(epoch_order(0, 0, 2, 2).tolist())
        [0, 1, 2, 3]
    """
    indices = np.arange(objects, dtype=np.int64)
    keys = [counter(seed, epoch, indices, 3 * draw + 2) for draw in range(pairs_per_object)]
    return np.argsort(np.concatenate(keys), kind="stable").astype(np.int64)


@dataclass(frozen=True)
class _Steps(Generic[Batch]):
    """The batch of every step, by its number."""

    pairs: Epochs[Batch]
    batch_size: int
    rank: int
    world: int

    def __getitem__(self, step: int) -> Batch:
        size = self.batch_size
        epoch, position = divmod(step, self.pairs.pairs_per_epoch // size)
        rows = self.pairs.rows(epoch)[position * size : (position + 1) * size]
        share = slice(self.rank * size // self.world, (self.rank + 1) * size // self.world)
        return self.pairs.batch(rows[share])


def _one_ahead(steps: _Steps[Batch], step: int) -> Iterator[Batch]:
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(steps.__getitem__, step)
        while True:
            batch = upcoming.result()
            step += 1
            upcoming = ahead.submit(steps.__getitem__, step)
            yield batch


def _by_workers(steps: _Steps[Batch], start: int, workers: int) -> Iterator[Batch]:
    loader: DataLoader[Batch] = DataLoader(
        cast("Dataset[Batch]", steps),
        batch_size=None,
        sampler=count(start),
        num_workers=workers,
        collate_fn=_as_it_is,
    )
    return iter(loader)


def _as_it_is(batch: Any) -> Any:
    return batch


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
