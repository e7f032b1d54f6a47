"""Shuffled epochs of single views: exact resume, several workers and ranks, constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from datasets3d.pairs.streams import counter
from datasets3d.pairs.threediebench import ThreeDIEBench
from equivariant.errors import ConventionError

ROUNDS = 8
_BLOCKS, _WITHIN = 1, 2


def permuted(
    seed: int, epoch: int, positions: NDArray[np.int64], *, size: int, draw: int = 0
) -> NDArray[np.int64]:
    """Where a random permutation of 0 ... size - 1 takes some positions; nothing is stored.

    A Feistel network of eight rounds over the next power of four, (l, r) to (r, l xor f(r)), with
    64 bits of :func:`~datasets3d.pairs.streams.counter` as f; values that are not below ``size``
    are sent through it again, which keeps it a permutation (cycle walking; Black and Rogaway
    2002).

    Args:
        seed: At least 0.
        epoch: At least 0.
        positions: In 0 ... size - 1, any shape, int64.
        size: At least 1.
        draw: Another draw is another permutation.

    Returns:
        Shape of ``positions``, int64.

    Example:
        >>> sorted(permuted(0, 0, np.arange(5), size=5).tolist())
        [0, 1, 2, 3, 4]
    """
    half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    found = positions.astype(np.uint64).ravel()
    walking = np.arange(found.size)
    while walking.size:
        left, right = found[walking] >> half, found[walking] & mask
        for turn in range(ROUNDS):
            bits = counter(seed, epoch, right.astype(np.int64), ROUNDS * draw + turn)
            left, right = right, left ^ (bits >> np.uint64(32) & mask)
        found[walking] = (left << half) | right
        walking = walking[found[walking] >= size]
    return found.astype(np.int64).reshape(positions.shape)


@dataclass(frozen=True)
class ViewBatch:
    """Views, and where their stream goes on after them.

    Args:
        images: Shape (batch, 3, height, width), uint8, sRGB.
        labels: Numbers of the classes, shape (batch,), int64.
        latents: Shape (batch, 7), float64; see ``views.latents.COLUMNS``.
        objects: Places in ``dataset.object_ids``, shape (batch,), int64.
        views: Shape (batch,), int64.
        state: ``{"epoch": ..., "position": ...}``: what a stream that goes on after this batch
            begins with; the position counts views of the epoch, over all processes.
    """

    images: Tensor
    labels: Tensor
    latents: Tensor
    objects: Tensor
    views: Tensor
    state: dict[str, int]


class ViewStream(IterableDataset[ViewBatch]):
    """Every view of a set once in each epoch, in a fresh order, in batches.

    Which views a batch holds is a function of (seed, epoch, position) alone: neither of workers,
    nor of processes, nor of where a run was resumed. The order is computed, not stored. Iterate
    over it, or give it to ``DataLoader(stream, batch_size=None, num_workers=...)``: batches come
    in the same order. Keep ``batch.state`` in a checkpoint and begin again with it; with another
    batch size or number of processes the rest of the epoch is shown as well, each view once.

    "random" takes any view after any other. "windows" reads shards almost in sequence, for disks
    and network file systems where that is faster: views are cut into blocks that stand together,
    blocks into windows at random, the views of a window are mixed, and the system is told to
    fetch the blocks when a window begins, into its page cache, which workers share.

    Args:
        dataset: Views and latents, in folders or shards.
        batch_size: Views per step, over all processes together.
        seed: Of all orders, at least 0.
        order: "random" or "windows".
        epochs: How many, counted from epoch 0; None goes on for ever.
        state: Where to begin, from a batch; None begins at the beginning.
        rank: Which process's share of each batch.
        world: Number of processes.
        whole_batches: Leave out the last batch of an epoch where it is smaller; else it is shown,
            and shares of it may differ by one view.
        block: For "windows": views that stand together.
        window: For "windows": blocks that are mixed.
        threads: That decode at once, in each worker.

    Raises:
        ConventionError: An argument is out of its range, or a batch no multiple of ``world``.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, build
        >>> root = tempfile.mkdtemp()
        >>> source = ProceduralMeshes(instances=3, classes=["chair", "truck"])
        >>> config = BuildConfig(views=4, size_px=8)
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> data = ThreeDIEBench(root)
        >>> first = next(iter(ViewStream(data, 3)))
        >>> first.images.shape, first.state
        (torch.Size([3, 3, 8, 8]), {'epoch': 0, 'position': 3})
        >>> rest = list(ViewStream(data, 5, epochs=1, state=first.state))
        >>> 3 + sum(len(batch.labels) for batch in rest) == 4 * len(data)
        True
    """

    def __init__(
        self,
        dataset: ThreeDIEBench,
        batch_size: int,
        *,
        seed: int = 0,
        order: Literal["random", "windows"] = "random",
        epochs: int | None = None,
        state: Mapping[str, int] | None = None,
        rank: int = 0,
        world: int = 1,
        whole_batches: bool = False,
        block: int = 512,
        window: int = 16,
        threads: int = 1,
    ) -> None:
        self.dataset, self.batch_size, self.seed, self.order = dataset, batch_size, seed, order
        self.epochs, self.rank, self.world = epochs, rank, world
        self.whole_batches, self.block, self.window, self.threads = (
            whole_batches, block, window, threads,
        )  # fmt: skip
        self.size = len(dataset) * dataset.views
        begin = dict(state or {"epoch": 0, "position": 0})
        self._check(begin)
        self.state = begin
        self._objects = _as_they_stand(dataset) if order == "windows" else None
        self._blocks: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None
        self._announced: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[ViewBatch]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for step, (epoch, first, last) in enumerate(self._steps()):
            if step % workers == number:
                yield self.batch(epoch, first, last)

    def batch(self, epoch: int, first: int, last: int) -> ViewBatch:
        """This process's share of the views at positions first to last (excluded) of an epoch."""
        count = last - first
        start, stop = (first + r * count // self.world for r in (self.rank, self.rank + 1))
        objects, views = self.at(epoch, np.arange(start, stop, dtype=np.int64))
        images = self._decoded(objects, views)
        after = (epoch, last) if self._more(last) else (epoch + 1, 0)
        rows = torch.from_numpy(objects)
        return ViewBatch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2),
            labels=torch.from_numpy(self.dataset.labels[objects]),
            latents=torch.from_numpy(np.array(self.dataset.latents[objects, views])),
            objects=rows,
            views=torch.from_numpy(views),
            state=dict(zip(("epoch", "position"), after, strict=True)),
        )

    def at(
        self, epoch: int, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Object and view at some positions of an epoch.

        Args:
            epoch: From 0.
            positions: Below the number of views, shape (N,).

        Returns:
            Two arrays of shape (N,), int64.
        """
        views = self.dataset.views
        if self._objects is None:
            samples = permuted(self.seed, epoch, positions, size=self.size)
            return samples // views, samples % views
        samples = self._in_windows(epoch, positions)
        return self._objects[samples // views], samples % views

    def _in_windows(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of views in the shards, for some positions."""
        order, starts = self._windows(epoch)
        where = np.searchsorted(starts, positions, side="right") - 1
        samples = np.empty_like(positions)
        for index in np.unique(where).tolist():
            # The short block, the last, must come last in its window: hence the sorting.
            blocks = np.sort(order[index * self.window : (index + 1) * self.window])
            self._announce(epoch, index, blocks)
            chosen = where == index
            local = permuted(
                self.seed, epoch, positions[chosen] - starts[index],
                size=int(starts[index + 1] - starts[index]), draw=_WITHIN + index,
            )  # fmt: skip
            samples[chosen] = blocks[local // self.block] * self.block + local % self.block
        return samples

    def _windows(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The blocks of an epoch in their order, and the position at which each window begins."""
        if self._blocks is None or self._blocks[0] != epoch:
            count = -(-self.size // self.block)
            order = permuted(
                self.seed, epoch, np.arange(count, dtype=np.int64), size=count, draw=_BLOCKS
            )
            sizes = np.where(order == count - 1, self.size - (count - 1) * self.block, self.block)
            sums = np.add.reduceat(sizes, np.arange(0, count, self.window))
            self._blocks = epoch, order, np.concatenate([[0], np.cumsum(sums)]).astype(np.int64)
        return self._blocks[1], self._blocks[2]

    def _announce(self, epoch: int, index: int, blocks: NDArray[np.int64]) -> None:
        """Tell the system which parts of shards are wanted, once for each window."""
        shards = self.dataset.shards
        if shards is None or self._objects is None or self._announced == (epoch, index):
            return
        self._announced = epoch, index
        for block in blocks.tolist():
            ends = block * self.block, min((block + 1) * self.block, self.size) - 1
            rows = [
                shards.rows(int(self.dataset.rows[self._objects[k // self.dataset.views]]),
                            k % self.dataset.views) for k in ends
            ]  # fmt: skip
            (first, start), (last, stop) = (
                (int(row[0]["shard"]), int(row["offset"].max())) for row in rows
            )
            if first == last:
                shards.will_read(first, int(rows[0][0]["offset"]), stop)
            else:
                shards.will_read(first, start, shards.about.bytes[first])
                shards.will_read(last, 0, stop)

    def _decoded(self, objects: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures, channels last."""
        pairs = objects.tolist(), views.tolist()
        if not len(objects):
            return self.dataset.image(0, 0)[None][:0]
        if self.threads == 1:
            return np.stack(list(map(self.dataset.image, *pairs)))
        with ThreadPoolExecutor(self.threads) as pool:
            return np.stack(list(pool.map(self.dataset.image, *pairs)))

    def _steps(self) -> Iterator[tuple[int, int, int]]:
        """Epoch, first position and end of every step."""
        epoch, first = self.state["epoch"], self.state["position"]
        while self.epochs is None or epoch < self.epochs:
            while self._more(first):
                last = min(first + self.batch_size, self.size)
                yield epoch, first, last
                first = last
            epoch, first = epoch + 1, 0

    def _more(self, position: int) -> bool:
        """Whether an epoch has another batch from a position on."""
        return position + (self.batch_size if self.whole_batches else 1) <= self.size

    def _check(self, state: dict[str, int]) -> None:
        batch, world = self.batch_size, self.world
        fine = {
            "batch_size": 1 <= batch <= self.size and batch % max(1, world) == 0,
            "seed": self.seed >= 0,
            "order": self.order in ("random", "windows"),
            "epochs": self.epochs is None or self.epochs >= 1,
            "state": set(state) == {"epoch", "position"} and state["epoch"] >= 0
            and 0 <= state["position"] <= self.size,
            "rank": 0 <= self.rank < world,
            "block": self.block >= 1,
            "window": self.window >= 1,
            "threads": self.threads >= 1,
        }  # fmt: skip
        for name, holds in fine.items():
            if not holds:
                raise ConventionError(
                    expected="a value in its range", got=repr(getattr(self, name, state)),
                    argument=name, advice="See the documentation of ViewStream.",
                )  # fmt: skip


def _as_they_stand(dataset: ThreeDIEBench) -> NDArray[np.int64]:
    """Places of objects in the data set, in the order in which they stand on disk."""
    if dataset.shards is None:
        return np.arange(len(dataset), dtype=np.int64)
    return dataset.shards.shard_order(dataset.rows)
