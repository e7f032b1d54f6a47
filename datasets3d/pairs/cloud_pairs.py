"""Pairs of clouds of one object, with the motion that takes one to the other."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.clouds.surface_points import PointClouds
from datasets3d.pairs.streams import PairsOfObjects, counter
from equivariant.actions import Points
from equivariant.errors import ConventionError
from equivariant.groups import SE3, SO3, Group
from equivariant.pairs import PairBatch


class PointPairs(PairsOfObjects[PairBatch]):
    """Batches of pairs (x_a, x_b, g) of clouds with x_b = g · x_a, point by point.

    x_a is the object's cloud in a random pose, x_a = h · x with h uniform over rotations; g is a
    random element of the group, acting on points of space: ``Points(group)(g, a)`` is b up to
    rounding. So pose_b = R_g pose_a with the rotation R_g of g.

    What a pair shows depends on (seed, epoch, object, draw) and the number of objects alone, and
    which pairs a batch holds on (seed, epoch, position) alone: neither on workers, nor on order,
    nor on where a run was resumed. One epoch shows ``pairs_per_object`` pairs of every object, in
    a fresh order, in whole batches.

    Args:
        dataset: Clouds and labels.
        group: SO3(), uniform, or SE3(), whose translations are normal.
        seed: Of all draws, at least 0.
        pairs_per_object: Pairs of each object in an epoch, at least 1; more allow batches that
            are larger than the number of objects.
        random_pose: Turn x_a by h; False leaves it as its file has it.
        translation_scale: Standard deviation of each coordinate of SE3's translations, at least
            0, in the unit of the clouds, whose radius is 1.

    Raises:
        ConventionError: Another group, or an argument is out of its range.

    Example:
        >>> from datasets3d import PointClouds, ProceduralMeshes
        >>> source = ProceduralMeshes(instances=3, classes=["chair", "truck"], val_fraction=0.0)
        >>> pairs = PointPairs(PointClouds(source, points=32), group=SE3())
        >>> batch = next(pairs.stream(4))
        >>> batch.a.shape, batch.g.shape
        (torch.Size([4, 32, 3]), torch.Size([4, 4, 4]))
        >>> bool(torch.allclose(Points(SE3())(batch.g, batch.a), batch.b, atol=1e-5))
        True
    """

    def __init__(
        self,
        dataset: PointClouds,
        *,
        group: Group | None = None,
        seed: int = 0,
        pairs_per_object: int = 1,
        random_pose: bool = True,
        translation_scale: float = 0.5,
    ) -> None:
        group = SO3() if group is None else group
        _check(group, translation_scale)
        super().__init__(len(dataset), seed=seed, pairs_per_object=pairs_per_object)
        self.dataset, self.group, self.random_pose = dataset, group, random_pose
        self.translation_scale = translation_scale
        self._action = Points(group)
        self._elements: tuple[int, Tensor, Tensor] | None = None

    def elements(self, epoch: int) -> tuple[Tensor, Tensor]:
        """What an epoch draws: the first poses h and the motions g.

        Args:
            epoch: From 0.

        Returns:
            Shapes (pairs_per_object, objects, 3, 3) and (pairs_per_object, objects, n, n),
            float64.
        """
        kept = self._elements
        if kept is None or kept[0] != epoch:
            draws = [self._draw(epoch, draw) for draw in range(self.pairs_per_object)]
            poses, motions = zip(*draws, strict=True)
            kept = self._elements = epoch, torch.stack(poses), torch.stack(motions)
        return kept[1], kept[2]

    def batch(self, rows: NDArray[np.int64]) -> PairBatch:
        """Given pairs.

        Args:
            rows: (object, epoch, draw), shape (N, 3).

        Returns:
            Clouds (N, points, 3) and g, float32; poses, the rotations that take the stored cloud
            to each view, float64.
        """
        index = torch.from_numpy(rows[:, 0].copy())
        n = self.group.matrix_size
        pose_a = torch.empty(len(rows), 3, 3, dtype=torch.float64)
        g = torch.empty(len(rows), n, n, dtype=torch.float64)
        for epoch in np.unique(rows[:, 1]).tolist():
            poses, motions = self.elements(epoch)
            here = torch.from_numpy(rows[:, 1] == epoch)
            draw = torch.from_numpy(rows[:, 2].copy())[here]
            pose_a[here], g[here] = poses[draw, index[here]], motions[draw, index[here]]
        a = self.dataset.clouds[index].double() @ pose_a.transpose(1, 2)
        b: Tensor = self._action(g, a)
        return PairBatch(
            a=a.float(),
            b=b.float(),
            g=g.float(),
            object_id=index,
            label=self.dataset.labels[index],
            pose_a=pose_a,
            pose_b=g[:, :3, :3] @ pose_a,
        )

    def _draw(self, epoch: int, draw: int) -> tuple[Tensor, Tensor]:
        count = len(self.dataset)
        seed = int(counter(self.seed, epoch, np.array([count], np.int64), 3 * draw)[0])
        source = torch.Generator().manual_seed(seed)
        motions = self.group.sample(count, generator=source, scale=self.translation_scale)
        poses = SO3().sample(count, generator=source)
        return poses if self.random_pose else SO3().identity(count), motions


def _check(group: Group, translation_scale: float) -> None:
    for name, value, fits, expected in (
        ("group", group, group in (SO3(), SE3()), "SO3() or SE3()"),
        ("translation_scale", translation_scale, translation_scale >= 0.0, "at least 0"),
    ):
        if not fits:
            raise ConventionError(
                expected=expected,
                got=str(value),
                argument=name,
                advice="See the documentation of PointPairs.",
            )
