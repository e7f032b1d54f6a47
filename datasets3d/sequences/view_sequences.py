"""Streams of sequences: views of one object in an order, and the element from each to the next."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.pairs.elements import ElementConvention
from datasets3d.pairs.streams import ViewsOfObjects, counter, uniform_numbers
from datasets3d.pairs.threediebench import ThreeDIEBench
from datasets3d.pairs.view_pairs import HUES, TransformPairs
from equivariant.errors import ConventionError, DataFormatError, check_option
from equivariant.groups import relative_quaternion_xyzw_of_angles
from equivariant.pairs import PairBatch

Order = Literal["recorded", "random"]


@dataclass(frozen=True)
class SequenceBatch:
    """Sequences of T views; ``g[:, t]`` takes view t to view t + 1.

    Args:
        images: Normalized by channel, shape (batch, T, 3, height, width), float32.
        g: Elements of the group as square matrices, shape (batch, T - 1, n, n), float32.
        poses: World from object, shape (batch, T, 3, 3), or (batch, T, 4, 4) for "rigid" and
            "similarity", float64.
        object_id: Which object, shape (batch,), int64.
        label: Its class, shape (batch,), int64.
        views: Which views of it, shape (batch, T), int64.
    """

    images: Tensor
    g: Tensor
    poses: Tensor
    object_id: Tensor
    label: Tensor
    views: Tensor

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def to(
        self, device: torch.device | str | None = None, *, dtype: torch.dtype | None = None
    ) -> SequenceBatch:
        """The same sequences elsewhere; images and elements take the dtype.

        Args:
            device: Where to; None keeps it.
            dtype: Floating dtype of ``images`` and ``g``; None keeps it.
        """
        return replace(self, **{
            field.name: getattr(self, field.name).to(
                device=device, dtype=dtype if field.name in ("images", "g") else None
            )
            for field in fields(self)
        })  # fmt: skip

    def pairs(self) -> PairBatch:
        """All pairs of successive views: those of the first sequence, of the second, ..."""
        steps = self.g.shape[1]
        return PairBatch(
            a=self.images[:, :-1].flatten(0, 1), b=self.images[:, 1:].flatten(0, 1),
            g=self.g.flatten(0, 1), object_id=self.object_id.repeat_interleave(steps),
            label=self.label.repeat_interleave(steps),
            pose_a=self.poses[:, :-1, :3, :3].flatten(0, 1),
            pose_b=self.poses[:, 1:, :3, :3].flatten(0, 1),
        )  # fmt: skip


class ViewSequences(ViewsOfObjects[SequenceBatch]):
    """Batches of sequences of views of one object.

    Of sets that were built with :class:`~datasets3d.ObjectPath`, "recorded" takes windows of
    successive views within one recorded sequence, with uniform starts. "random" takes different
    views of an object in random order, as sequence models of 3DIEBench do.

    Which views a sequence shows depends on (seed, epoch, object, draw) alone, and which sequences
    a batch holds on (seed, epoch, position) alone. One epoch shows ``sequences_per_object`` of
    every object, in a fresh order, in whole batches.

    Args:
        dataset: Views and latents.
        length: Views of a sequence, T, at least 2.
        order: None takes "recorded" where the set has recorded steps, else "random".
        convention: How elements are written; see :class:`~datasets3d.ElementConvention`.
        seed: Of all draws, at least 0.
        sequences_per_object: At least 1.
        **pictures: Of :class:`~datasets3d.TransformPairs`: in_memory, size_px, mean, std, images,
            threads.

    Raises:
        ConventionError: An argument is out of its range, or the views of an object are fewer than
            a sequence's.
        DataFormatError: "recorded", and an object has no recorded sequence of that length.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ObjectPath, ProceduralMeshes, ViewLaw, build
        >>> root = tempfile.mkdtemp()
        >>> source = ProceduralMeshes(instances=2, classes=["chair"], val_fraction=0.0)
        >>> config = BuildConfig(views=8, size_px=8, law=ViewLaw(path=ObjectPath(length=4)))
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> batch = next(ViewSequences(ThreeDIEBench(root), 3).stream(2))
        >>> batch.images.shape, batch.g.shape, bool(torch.allclose(batch.g[:, 0], batch.g[:, 1],
        ...     atol=1e-5))
        (torch.Size([2, 3, 3, 8, 8]), torch.Size([2, 2, 3, 3]), True)

    Source: Ghaemi, Muller, Bakhtiari 2025, seq-JEPA, for random orders.
    """

    def __init__(
        self,
        dataset: ThreeDIEBench,
        length: int,
        *,
        order: Order | None = None,
        convention: ElementConvention | None = None,
        seed: int = 0,
        sequences_per_object: int = 1,
        **pictures: Any,
    ) -> None:
        if order is not None:
            check_option(order, ("recorded", "random"), "order")
        super().__init__(len(dataset), seed=seed, pairs_per_object=sequences_per_object)
        if not 2 <= length <= dataset.views:
            raise ConventionError(
                expected=f"2 to {dataset.views}, the views of an object", got=str(length),
                argument="length", advice="Take shorter sequences, or build more views.",
            )  # fmt: skip
        recorded = any(name.startswith("step_") for name in dataset.columns)
        self.views_order: Order = order or ("recorded" if recorded else "random")
        self.dataset, self.length = dataset, length
        self.pairs = TransformPairs(dataset, convention=convention, seed=seed, **pictures)
        self.convention = self.pairs.convention
        self._starts = _starts(dataset, length) if self.views_order == "recorded" else None
        moves = self.convention.moves
        self._poses = torch.from_numpy(dataset.poses if moves else dataset.rotations)
        self._angles = torch.from_numpy(dataset.latents[..., :3].copy())
        self._hues = torch.from_numpy(dataset.latents[..., HUES])
        self._labels = torch.from_numpy(dataset.labels)

    def views_of(self, objects: NDArray[np.int64], epoch: int, draw: int = 0) -> NDArray[np.int64]:
        """The views that each object shows in an epoch, in order, shape (N, T).

        Args:
            objects: Indices, shape (N,).
            epoch: From 0.
            draw: Which of the ``sequences_per_object``.
        """
        if self._starts is None:
            keys = uniform_numbers(
                self.seed, epoch, objects, draw=3 * draw, count=self.dataset.views
            )
            return np.argsort(keys, axis=1, kind="stable")[:, : self.length].astype(np.int64)
        starts = self._starts[objects]
        numbers = counter(self.seed, epoch, objects, 3 * draw) % starts.sum(1).astype(np.uint64)
        reached = np.cumsum(starts, axis=1) > numbers[:, None]  # the start of that number, from 0
        first = np.argmax(reached, axis=1).astype(np.int64)
        found: NDArray[np.int64] = first[:, None] + np.arange(self.length)
        return found

    def batch(self, rows: NDArray[np.int64]) -> SequenceBatch:
        """Given sequences.

        Args:
            rows: (object, views in their order), shape (N, 1 + T), T at least 2.
        """
        objects, shown = rows[:, 0], rows[:, 1:]
        images = self.pairs.pictures(np.repeat(objects, shown.shape[1]), shown.reshape(-1))
        o, v = torch.from_numpy(objects.copy()), torch.from_numpy(shown.copy())
        poses, angles, hues = (x[o[:, None], v] for x in (self._poses, self._angles, self._hues))
        g = self.convention.between(
            poses[:, :-1], poses[:, 1:], hues[:, 1:] - hues[:, :-1],
            relative_xyzw=relative_quaternion_xyzw_of_angles(angles[:, :-1], angles[:, 1:]),
        )  # fmt: skip
        return SequenceBatch(
            images.unflatten(0, tuple(shown.shape)), g.float(), poses, o, self._labels[o], v
        )


def _starts(dataset: ThreeDIEBench, length: int) -> NDArray[np.bool_]:
    """Which views begin a window within one recorded sequence, shape (objects, views).

    A sequence goes on as long as all columns but the object's rotation and place stay.
    """
    still = [
        place for place, name in enumerate(dataset.columns)
        if place >= 3 and not name.startswith("translation")
    ]  # fmt: skip
    same = (np.diff(dataset.all_latents[..., still], axis=1) == 0.0).all(-1)
    found = np.zeros((len(dataset), dataset.views), np.bool_)
    for start in range(dataset.views - length + 1):
        found[:, start] = same[:, start : start + length - 1].all(1)
    for index in np.flatnonzero(~found.any(1))[:1].tolist():
        raise DataFormatError(
            expected=f"a recorded sequence of {length} views",
            got=f"none of object {dataset.object_ids[index]}",
            argument="length",
            advice="Take shorter sequences, or order='random'.",
        )
    return found
