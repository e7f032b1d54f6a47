"""Pairs of views of one object, with the element that takes one to the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.elements import ElementConvention
from datasets3d.threediebench import ThreeDIEBench, check_pairs_exist
from equivariant.errors import ConventionError
from equivariant.pairs import PairBatch

HUES = (3, 6)


class TransformPairs:
    """Batches of pairs: two different views of an object, and g between them.

    Which views a pair shows depends on (seed, epoch, object) alone, and which objects a batch
    holds on (seed, epoch, position) alone: neither on workers, nor on order, nor on where a run
    was resumed. One epoch shows every object once, in a fresh order, in whole batches.

    Args:
        dataset: Views and latents.
        convention: How g is written; the default is a rotation in the object's axes.
        seed: Of all draws, at least 0.
        in_memory: Decode all views once and keep them, uint8; else decode each batch when it
            is asked for, in threads, one batch ahead.
        size_px: Resize to this side; None keeps the files' size.
        mean: Of each channel in [0, 1]; None takes the data set's own.
        std: The same.
        images: All views, shape (objects, views, 3, height, width), uint8, if they are decoded
            already.
        threads: That decode at once.

    Raises:
        ConventionError: Objects have fewer than two views.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, build
        >>> root = tempfile.mkdtemp()
        >>> source = ProceduralMeshes(instances=3, classes=["chair", "truck"])
        >>> config = BuildConfig(views=4, size_px=8)
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> pairs = TransformPairs(ThreeDIEBench(root))
        >>> batch = next(pairs.stream(2))
        >>> batch.a.shape, batch.g.shape
        (torch.Size([2, 3, 8, 8]), torch.Size([2, 3, 3]))
        >>> bool(torch.allclose(batch.pose_b, batch.pose_a @ batch.g.double(), atol=1e-6))
        True
    """

    def __init__(
        self,
        dataset: ThreeDIEBench,
        *,
        convention: ElementConvention | None = None,
        seed: int = 0,
        in_memory: bool = True,
        size_px: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        images: Tensor | None = None,
        threads: int = 4,
    ) -> None:
        check_pairs_exist(dataset.views)
        self.dataset, self.seed = dataset, seed
        self.convention = convention or ElementConvention()
        if mean is None or std is None:
            mean, std = (tuple(map(float, s)) for s in dataset.channel_statistics())
        self.mean, self.std = mean, std
        self.size_px, self._threads = size_px, threads
        self.images = images
        if in_memory and images is None:
            self.images = torch.from_numpy(dataset.load_images(size_px=size_px, threads=threads))
        self._rotations = torch.from_numpy(dataset.rotations)
        self._hues = torch.from_numpy(dataset.latents[..., HUES])
        self._labels = torch.from_numpy(dataset.labels)

    def views_of(self, objects: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """The two different views that each object shows in an epoch, shape (N, 2)."""
        views = self.dataset.views
        first = _counter(self.seed, epoch, objects, 0) % np.uint64(views)
        step = _counter(self.seed, epoch, objects, 1) % np.uint64(views - 1)
        second = (first + step + np.uint64(1)) % np.uint64(views)
        return np.stack([first, second], 1).astype(np.int64)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The order of the objects in an epoch, a permutation."""
        objects = np.arange(len(self.dataset), dtype=np.int64)
        return np.argsort(_counter(self.seed, epoch, objects, 2), kind="stable").astype(np.int64)

    def batch(self, rows: NDArray[np.int64]) -> PairBatch:
        """Given pairs.

        Args:
            rows: (object, first view, second view), shape (N, 3).

        Returns:
            Views normalized by channel, float32, channels last in memory; g float32; poses
            float64.
        """
        o, i, j = (torch.from_numpy(column.copy()) for column in rows.T)
        pose_a, pose_b = self._rotations[o, i], self._rotations[o, j]
        shift = self._hues[o, j] - self._hues[o, i]
        g = self.convention.between(pose_a, pose_b, shift)
        return PairBatch(
            a=self._views(rows[:, 0], rows[:, 1]),
            b=self._views(rows[:, 0], rows[:, 2]),
            g=g.float(),
            object_id=o,
            label=self._labels[o],
            pose_a=pose_a,
            pose_b=pose_b,
        )

    def stream(
        self, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[PairBatch]:
        """Batches of steps start, start + 1, ... without end.

        Args:
            batch_size: Pairs per step, over all processes together.
            start: First step.
            rank: Which process's share; the shares together are the batch of one process.
            world: Number of processes.

        Raises:
            ConventionError: A batch is larger than the data set, or not a multiple of world.
        """
        per_epoch = len(self.dataset) // batch_size if batch_size > 0 else 0
        if per_epoch < 1 or batch_size % world:
            raise ConventionError(
                expected=f"a batch of 1 to {len(self.dataset)} pairs, a multiple of {world}",
                got=str(batch_size), argument="batch_size",
                advice="One epoch shows each object once: take smaller batches or more objects.",
            )  # fmt: skip
        with ThreadPoolExecutor(1) as ahead:
            step = start
            upcoming = ahead.submit(self._step, step, batch_size, per_epoch, rank, world)
            while True:
                batch = upcoming.result()
                step += 1
                upcoming = ahead.submit(self._step, step, batch_size, per_epoch, rank, world)
                yield batch

    def _step(self, step: int, batch_size: int, per_epoch: int, rank: int, world: int) -> PairBatch:
        epoch, position = divmod(step, per_epoch)
        objects = self.order(epoch)[position * batch_size : (position + 1) * batch_size]
        objects = objects[rank * batch_size // world : (rank + 1) * batch_size // world]
        return self.batch(np.column_stack([objects, self.views_of(objects, epoch)]))

    def _views(self, objects: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        if self.images is not None:
            pixels = self.images[torch.from_numpy(objects.copy()), torch.from_numpy(views.copy())]
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                decoded = list(pool.map(self._decode, objects, views))
            pixels = torch.from_numpy(np.stack(decoded))
        mean, std = torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.std).view(3, 1, 1)
        return ((pixels / 255.0 - mean) / std).contiguous(memory_format=torch.channels_last)

    def _decode(self, index: int, view: int) -> NDArray[np.uint8]:
        return self.dataset.sized_image(int(index), int(view), size_px=self.size_px)


def _counter(seed: int, epoch: int, objects: NDArray[np.int64], draw: int) -> NDArray[np.uint64]:
    """64 random bits per object that depend on the four arguments alone (SplitMix64)."""
    with np.errstate(over="ignore"):
        state = np.full(objects.shape, np.uint64(seed))
        for word in (np.uint64(epoch), objects.astype(np.uint64), np.uint64(draw)):
            state = _mix(state * np.uint64(0x9E3779B97F4A7C15) + word + np.uint64(1))
    return state


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
