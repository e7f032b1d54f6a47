"""Streams of triples: the picture, the cloud and the parameters of one view of one object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from datasets3d.modalities.parameters import ParameterCode
from datasets3d.modalities.view_clouds import ViewClouds
from datasets3d.pairs.streams import uniform_numbers
from datasets3d.pairs.view_stream import ViewBatch, ViewStream
from equivariant.errors import ConventionError, DataFormatError, check_option

Which = Literal["whole", "partial"]


@dataclass(frozen=True)
class TripleBatch:
    """Views in three modalities: row i of each shows one object in one pose.

    Args:
        images: Shape (batch, 3, height, width), uint8, sRGB.
        points: Of the posed surface, in the world, shape (batch, points, 3), float32.
        colors: Of the points, linear light without shading, shape (batch, points, 3), float32.
        parameters: See :class:`~datasets3d.ParameterCode`, shape (batch, numbers), float32.
        labels: Numbers of the classes, shape (batch,), int64.
        latents: All columns, shape (batch, columns), float64.
        poses: World from object, shape (batch, 4, 4), float64.
        objects: Places in ``dataset.object_ids``, shape (batch,), int64.
        views: Shape (batch,), int64.
        state: What a stream that goes on after this batch begins with.
    """

    images: Tensor
    points: Tensor
    colors: Tensor
    parameters: Tensor
    labels: Tensor
    latents: Tensor
    poses: Tensor
    objects: Tensor
    views: Tensor
    state: dict[str, int]

    def __len__(self) -> int:
        return int(self.images.shape[0])


class ViewTriples(IterableDataset[TripleBatch]):
    """Every view of a set once in each epoch, as picture, cloud and parameters.

    The order is that of :class:`~datasets3d.ViewStream`, whose further arguments are taken: which
    views a batch holds is a function of (seed, epoch, position) alone, which points of its object
    a view's cloud has one of (seed, epoch, object, view). Iterate over it, or give it to
    ``DataLoader(triples, batch_size=None, num_workers=...)``.

    Args:
        clouds: Of a set of views.
        batch_size: Views per step, over all processes together.
        points: Points of each cloud, at least 1; None takes all that ``clouds`` has, of partial
            ones a quarter.
        of: "whole": points of all the surface, without return. "partial": of what the view's
            camera sees, with return where that is fewer; what every view sees is found at once,
            when the stream is made.
        seed: Of all draws, at least 0.
        **stream: Of ``ViewStream``: order, epochs, state, rank, world, whole_batches, ...

    Attributes:
        code: How parameters are written.

    Raises:
        ConventionError: An argument is out of its range, or a batch no multiple of ``world``.
        DataFormatError: "partial", and a camera sees none of an object's points; names the view.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, ThreeDIEBench, build
        >>> root = tempfile.mkdtemp()
        >>> source = ProceduralMeshes(instances=2, classes=["chair"], val_fraction=0.0)
        >>> _ = build(source, root, config=BuildConfig(views=3, size_px=16), workers=1,
        ...     progress=False)
        >>> triples = ViewTriples(ViewClouds(ThreeDIEBench(root), points=256), 4, of="partial")
        >>> batch = next(iter(triples))
        >>> batch.images.shape, batch.points.shape, batch.parameters.shape
        (torch.Size([4, 3, 16, 16]), torch.Size([4, 64, 3]), torch.Size([4, 15]))
    """

    def __init__(
        self,
        clouds: ViewClouds,
        batch_size: int,
        *,
        points: int | None = None,
        of: Which = "whole",
        seed: int = 0,
        **stream: Any,
    ) -> None:
        check_option(of, ("whole", "partial"), "of")
        default = max(1, clouds.points // 4) if of == "partial" else clouds.points
        self.clouds, self.of, self.points = clouds, of, default if points is None else points
        if not 1 <= self.points <= (clouds.points if of == "whole" else self.points):
            raise ConventionError(
                expected=f"1 to {clouds.points} points, which each object has",
                got=str(points), argument="points", advice="ViewClouds(points=...) draws more.",
            )  # fmt: skip
        self.stream = ViewStream(clouds.dataset, batch_size, seed=seed, **stream)
        self.code = ParameterCode.of(clouds.law)
        if of == "partial":  # here, since Embree's threads do not live on in forked workers
            self._check_seen()

    def __iter__(self) -> Iterator[TripleBatch]:
        return map(self.complete, self.stream)

    def complete(self, batch: ViewBatch) -> TripleBatch:
        """The triples of a batch of views.

        Args:
            batch: Of ``self.stream``.
        """
        pairs = batch.objects.numpy(), batch.views.numpy()
        epoch, position = batch.state["epoch"], batch.state["position"]
        chosen = [
            self._chosen(o, v, epoch if position else epoch - 1)
            for o, v in zip(pairs[0].tolist(), pairs[1].tolist(), strict=True)
        ]
        shape = (len(chosen), self.points, 3)
        rest, colors = np.empty(shape), np.empty(shape, np.float32)
        for k, (o, which) in enumerate(zip(pairs[0].tolist(), chosen, strict=True)):
            sample = self.clouds.sample(o)
            rest[k], colors[k] = sample.points[which], sample.colors[which]
        poses = self.clouds.dataset.poses[pairs]
        points = rest @ np.swapaxes(poses[:, :3, :3], 1, 2) + poses[:, None, :3, 3]
        latents = np.array(self.clouds.dataset.all_latents[pairs])
        return TripleBatch(
            images=batch.images,
            points=torch.from_numpy(points.astype(np.float32)),
            colors=torch.from_numpy(colors),
            parameters=torch.from_numpy(self.code.encode(latents)),
            labels=batch.labels,
            latents=torch.from_numpy(latents),
            poses=torch.from_numpy(poses),
            objects=batch.objects,
            views=batch.views,
            state=batch.state,
        )

    def _chosen(self, index: int, view: int, epoch: int) -> NDArray[np.int64]:
        """Which points of an object's sample the cloud of a view has."""
        total, count = self.clouds.points, self.points
        among = np.arange(total)
        if self.of == "partial":
            among = np.flatnonzero(self.clouds.visible(index)[view])
        elif count == total:
            return among
        u = uniform_numbers(
            self.stream.seed, epoch, np.array([index]), draw=view, count=max(count, len(among))
        )[0]
        order = np.argsort(u[: len(among)], kind="stable")[:count]
        if len(among) < count:
            order = (u[:count] * len(among)).astype(np.int64)
        found: NDArray[np.int64] = among[order]
        return found

    def _check_seen(self) -> None:
        for index in range(len(self.clouds)):
            blind = np.flatnonzero(~self.clouds.visible(index).any(axis=1))
            if len(blind):
                raise DataFormatError(
                    expected="points that the camera sees", got=f"none of {self.clouds.points} of "
                    f"{self.clouds.dataset.object_ids[index]} in view {blind[0]}",
                    argument="clouds", advice="Draw more: ViewClouds(points=...).",
                )  # fmt: skip
