"""Pairs of views of one object, with the element that takes one to the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.pairs.elements import ElementConvention
from datasets3d.pairs.streams import ViewsOfObjects, counter
from datasets3d.pairs.threediebench import ThreeDIEBench, check_pairs_exist
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import relative_quaternion_xyzw_of_angles
from equivariant.pairs import PairBatch

HUES = (3, 6)


class TransformPairs(ViewsOfObjects[PairBatch]):
    """Batches of pairs: two different views of an object, and g between them.

    Which views a pair shows depends on (seed, epoch, object, draw) alone, and which pairs a
    batch holds on (seed, epoch, position) alone: neither on workers, nor on order, nor on where
    a run was resumed. One epoch shows ``pairs_per_object`` pairs of every object, in a fresh
    order, in whole batches.

    Args:
        dataset: Views and latents.
        convention: How g is written; the default is a rotation in the object's axes. "rigid" and
            "similarity" hold the translations and scales of sets that have them.
        seed: Of all draws, at least 0.
        pairs_per_object: Pairs of each object in an epoch, at least 1; more allow batches that
            are larger than the number of objects.
        in_memory: Decode all views once and keep them, uint8; else decode each batch when it
            is asked for, in threads, one batch ahead.
        size_px: Resize to this side; None keeps the files' size.
        mean: Of each channel in [0, 1]; None takes the data set's own.
        std: The same.
        images: All views, shape (objects, views, 3, height, width), uint8, if they are decoded
            already.
        threads: That decode at once.

    Raises:
        ConventionError: Objects have fewer than two views, or an argument is out of its range.

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
        pairs_per_object: int = 1,
        in_memory: bool = True,
        size_px: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        images: Tensor | None = None,
        threads: int = 4,
    ) -> None:
        check_pairs_exist(dataset.views)
        super().__init__(len(dataset), seed=seed, pairs_per_object=pairs_per_object)
        self.dataset, self.convention = dataset, convention or ElementConvention()
        if threads < 1:
            raise ConventionError(
                expected="at least 1", got=str(threads), argument="threads",
                advice="One thread decodes one picture at a time.",
            )  # fmt: skip
        if mean is None or std is None:
            own_mean, own_std = (tuple(map(float, s)) for s in dataset.channel_statistics())
            mean, std = mean or own_mean, std or own_std
        self.mean, self.std = mean, std
        self.size_px, self._threads = size_px, threads
        if in_memory and images is None:
            images = torch.from_numpy(dataset.load_images(size_px=size_px, threads=threads))
        self.images: Tensor | None = None
        self._flat: NDArray[np.uint8] | None = None
        if images is not None:
            last = _channels_last(images, len(dataset), dataset.views)
            self.images, self._flat = last.permute(0, 1, 4, 2, 3), last.flatten(0, 1).numpy()
        self._angles = torch.from_numpy(dataset.latents[..., :3].copy())
        self._rotations = torch.from_numpy(dataset.rotations)
        self._poses = torch.from_numpy(dataset.poses) if self.convention.moves else self._rotations
        self._hues = torch.from_numpy(dataset.latents[..., HUES])
        self._labels = torch.from_numpy(dataset.labels)

    def views_of(self, objects: NDArray[np.int64], epoch: int, draw: int = 0) -> NDArray[np.int64]:
        """The two different views that each object shows in an epoch, shape (N, 2).

        Args:
            objects: Indices, shape (N,).
            epoch: From 0.
            draw: Which of the ``pairs_per_object`` pairs.
        """
        views = self.dataset.views
        first = counter(self.seed, epoch, objects, 3 * draw) % np.uint64(views)
        step = counter(self.seed, epoch, objects, 3 * draw + 1) % np.uint64(views - 1)
        second = (first + step + np.uint64(1)) % np.uint64(views)
        return np.stack([first, second], 1).astype(np.int64)

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
        relative = relative_quaternion_xyzw_of_angles(self._angles[o, i], self._angles[o, j])
        g = self.convention.between(
            self._poses[o, i], self._poses[o, j], shift, relative_xyzw=relative
        )
        return PairBatch(
            a=self.pictures(rows[:, 0], rows[:, 1]),
            b=self.pictures(rows[:, 0], rows[:, 2]),
            g=g.float(),
            object_id=o,
            label=self._labels[o],
            pose_a=pose_a,
            pose_b=pose_b,
            relative_xyzw=relative,
        )

    def pictures(self, objects: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Given views, normalized by channel.

        Args:
            objects: Indices, shape (N,).
            views: Of each object one, shape (N,).

        Returns:
            Shape (N, 3, height, width), float32, channels last in memory.
        """
        if self._flat is not None:
            pixels = self._flat[objects * self.dataset.views + views]
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                decoded = list(pool.map(self._decode, objects.tolist(), views.tolist()))
            pixels = np.stack([np.moveaxis(image, 0, -1) for image in decoded])
        number, height, width, _ = pixels.shape
        center = 255.0 * torch.tensor(self.mean).repeat(width)
        scale = 1.0 / (255.0 * torch.tensor(self.std)).repeat(width)
        floats = torch.from_numpy(pixels).view(number, height, 3 * width).float()
        normalized = floats.sub_(center).mul_(scale).view(number, height, width, 3)
        return normalized.permute(0, 3, 1, 2)

    def _decode(self, index: int, view: int) -> NDArray[np.uint8]:
        return self.dataset.sized_image(index, view, size_px=self.size_px)


def _channels_last(images: Tensor, objects: int, views: int) -> Tensor:
    """The same views, shape (objects, views, height, width, 3); copied only if laid out else."""
    if images.ndim != 5 or tuple(images.shape[:3]) != (objects, views, 3):
        raise ShapeError(
            expected=f"shape ({objects}, {views}, 3, height, width)",
            got=f"shape {tuple(images.shape)}", argument="images",
            advice="Pass what load_images of the same data set returned.",
        )  # fmt: skip
    return images.permute(0, 1, 3, 4, 2).contiguous()
