"""Pairs of clouds of two views of an object, with the element that is between their poses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.modalities.view_clouds import ViewClouds
from datasets3d.pairs.elements import ElementConvention
from datasets3d.pairs.streams import PairsOfObjects, counter, uniform_numbers
from datasets3d.pairs.threediebench import check_pairs_exist
from datasets3d.views.factors.placement import SCALE
from equivariant.errors import ConventionError, DataFormatError, check_option
from equivariant.groups import Group
from equivariant.pairs import PairBatch

PointsOf = Literal["shared", "independent", "partial"]
_OF_POINTS = 1 << 32  # apart from the draws of views and orders


class ViewCloudPairs(PairsOfObjects[PairBatch]):
    """Batches of pairs (x_a, x_b, g) of clouds of two views of an object, in the world.

    g = P_b P_a⁻¹ is the element between the poses of the views, of SE(3), or of Sim(3) where the
    set has scales. Steps show the same objects and views as those of
    :class:`~datasets3d.TransformPairs` of the same set, seed and ``pairs_per_object``, whose
    pictures have the same g with ``ElementConvention("rigid", frame="world")``. What a pair shows
    depends on (seed, epoch, object, draw) alone, and which pairs a batch holds on (seed, epoch,
    position) alone: neither on workers, nor on where a run was resumed.

    Args:
        clouds: Of a set of views.
        points: Points of each cloud, at least 1; None takes all that ``clouds`` has, of partial
            ones a quarter.
        of: "shared": both clouds are the same points of the surface, in the same order, so that
            ``Points(group)(g, a)`` is b. "independent": each draws its own among those of
            ``clouds``, without return. "partial": each draws its own among those that its camera
            sees, with return where there are fewer than wanted.
        seed: Of all draws, at least 0.
        pairs_per_object: Pairs of each object in an epoch, at least 1.

    Raises:
        ConventionError: An argument is out of its range, or objects have fewer than two views.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ObjectTranslation, ProceduralMeshes
        >>> from datasets3d import ThreeDIEBench, ViewLaw, build
        >>> from equivariant.actions import Points
        >>> source = ProceduralMeshes(instances=3, classes=["chair"], val_fraction=0.0)
        >>> law, root = ViewLaw(factors=(ObjectTranslation(),)), tempfile.mkdtemp()
        >>> config = BuildConfig(views=3, size_px=16, law=law)
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> pairs = ViewCloudPairs(ViewClouds(ThreeDIEBench(root), points=64))
        >>> batch = next(pairs.stream(2))
        >>> batch.a.shape, pairs.group
        (torch.Size([2, 64, 3]), SE3())
        >>> bool(torch.allclose(Points(pairs.group)(batch.g, batch.a), batch.b, atol=1e-5))
        True
    """

    def __init__(
        self,
        clouds: ViewClouds,
        *,
        points: int | None = None,
        of: PointsOf = "shared",
        seed: int = 0,
        pairs_per_object: int = 1,
    ) -> None:
        check_option(of, ("shared", "independent", "partial"), "of")
        check_pairs_exist(clouds.dataset.views)
        super().__init__(len(clouds), seed=seed, pairs_per_object=pairs_per_object)
        default = max(1, clouds.points // 4) if of == "partial" else clouds.points
        self.clouds, self.of, self.points = clouds, of, default if points is None else points
        if not 1 <= self.points <= (clouds.points if of != "partial" else self.points):
            raise ConventionError(
                expected=f"1 to {clouds.points} points, which each object has",
                got=str(points), argument="points", advice="ViewClouds(points=...) draws more.",
            )  # fmt: skip
        scaled = SCALE in clouds.dataset.columns
        self.convention = ElementConvention("similarity" if scaled else "rigid", frame="world")
        self._poses = torch.from_numpy(clouds.dataset.poses)

    @property
    def group(self) -> Group:
        """The group that g belongs to."""
        return self.convention.group

    def stream(
        self,
        batch_size: int,
        *,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
    ) -> Iterator[PairBatch]:
        """As of every stream of pairs.

        Of "partial" clouds with ``workers``, what every camera sees is found before the first
        batch, in this process: Embree's threads do not live on in forked workers.

        Args:
            batch_size: Pairs per step, over all processes together.
            start: First step.
            rank: Which process's share; the shares together are the batch of one process.
            world: Number of processes.
            workers: Processes that prepare batches; 0 makes them in this one, one ahead.

        Raises:
            ConventionError: A batch is larger than an epoch, or not a multiple of world; rank,
                start or workers is out of range.
        """
        if workers and self.of == "partial":
            for index in range(len(self.clouds)):
                self.clouds.visible(index)
        return super().stream(batch_size, start=start, rank=rank, world=world, workers=workers)

    def views_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The two different views that each pair shows, shape (N, 2).

        Args:
            rows: (object, epoch, draw), shape (N, 3).
        """
        views, found = self.clouds.dataset.views, np.empty((len(rows), 2), np.int64)
        for k, (index, epoch, draw) in enumerate(rows.tolist()):
            one = np.array([index])
            first, step = (
                int(counter(self.seed, epoch, one, 3 * draw + which)[0]) for which in (0, 1)
            )
            found[k, 0] = first % views
            found[k, 1] = (found[k, 0] + 1 + step % (views - 1)) % views
        return found

    def chosen(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which points of the objects' samples both clouds of each pair are, shape (N, 2, points).

        Args:
            rows: (object, epoch, draw), shape (N, 3).

        Raises:
            DataFormatError: A camera sees none of an object's points; names object and view.
        """
        found = np.empty((len(rows), 2, self.points), np.int64)
        views = self.views_of(rows)
        for k, row in enumerate(rows.tolist()):
            for side in range(2):
                found[k, side] = self._points_of(row, side, int(views[k, side]))
        return found

    def batch(self, rows: NDArray[np.int64]) -> PairBatch:
        """Given pairs.

        Args:
            rows: (object, epoch, draw), shape (N, 3).

        Returns:
            Clouds (N, points, 3) and g (N, 4, 4), float32; poses, the rotations of the views,
            float64.
        """
        views, chosen = self.views_of(rows), self.chosen(rows)
        index = torch.from_numpy(rows[:, 0].copy())
        poses = [self._poses[index, torch.from_numpy(views[:, side])] for side in (0, 1)]
        sides = []
        for side, pose in enumerate(poses):
            x = [
                self.clouds.sample(o).points[chosen[k, side]]
                for k, o in enumerate(rows[:, 0].tolist())
            ]
            rest = torch.from_numpy(np.stack(x))
            moved: Tensor = rest @ pose[:, :3, :3].transpose(1, 2) + pose[:, None, :3, 3]
            sides.append(moved.float())
        rotations = torch.from_numpy(self.clouds.dataset.rotations)
        return PairBatch(
            a=sides[0],
            b=sides[1],
            g=self.convention.between(poses[0], poses[1]).float(),
            object_id=index,
            label=torch.from_numpy(self.clouds.dataset.labels)[index],
            pose_a=rotations[index, torch.from_numpy(views[:, 0])],
            pose_b=rotations[index, torch.from_numpy(views[:, 1])],
        )

    def _points_of(self, row: list[int], side: int, view: int) -> NDArray[np.int64]:
        index, epoch, draw = row
        count, total = self.points, self.clouds.points
        if self.of == "shared" and count == total:
            return np.arange(total)
        among = np.arange(total)
        if self.of == "partial":
            among = np.flatnonzero(self.clouds.visible(index)[view])
            if not len(among):
                raise DataFormatError(
                    expected="points that the camera sees", got="none of "
                    f"{total} of {self.clouds.dataset.object_ids[index]} in view {view}",
                    argument="clouds", advice="Draw more: ViewClouds(points=...).",
                )  # fmt: skip
        which = 2 * draw + (0 if self.of == "shared" else side)
        u = uniform_numbers(
            self.seed, epoch, np.array([index]), draw=_OF_POINTS + which,
            count=max(count, len(among)),
        )[0]  # fmt: skip
        order = np.argsort(u[: len(among)], kind="stable")[:count]
        if len(among) < count:
            order = (u[:count] * len(among)).astype(np.int64)
        found: NDArray[np.int64] = among[order]
        return found
