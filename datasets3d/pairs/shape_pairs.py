"""Pairs of clouds of one object that differ by a linear or affine map."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.clouds.surface_points import PointClouds
from datasets3d.clouds.transformed_clouds import cloud_law, draw_maps
from datasets3d.pairs.streams import PairsOfObjects, counter
from equivariant.actions import Points
from equivariant.errors import check_option
from equivariant.groups import Group, Sampler
from equivariant.pairs import PairBatch


class ShapePairs(PairsOfObjects[PairBatch]):
    """Batches of pairs (a, b, g) of clouds of one object, each mapped by a draw of a law.

        a = h_a · x,   b = h_b · x,   g = h_b h_a⁻¹,   so b = g · a

    point by point, with ``Points(law.group)``. :class:`PointPairs` is for rigid motions; here the
    law is any: volume-preserving maps, all linear maps, or none. Nothing is centred or scaled
    after the map.

    What a pair shows depends on (seed, epoch, object, draw) and the number of objects alone, and
    which pairs a batch holds on (seed, epoch, position) alone. One epoch shows
    ``pairs_per_object`` pairs of every object, in a fresh order, in whole batches.

    Args:
        dataset: Clouds and labels.
        law: Of h_a and h_b: a sampler over a group that moves points of space, whose draws have
            equal weights. None leaves clouds as they are, with g the identity of GL(3).
        seed: Of all draws, at least 0.
        pairs_per_object: Pairs of each object in an epoch, at least 1.
        first: "transformed", or "aligned": h_a is the identity.

    Raises:
        ConventionError: An argument is out of its range, the law's group moves no points of
            space, or its draws have weights.

    Example:
        >>> from datasets3d import ProceduralMeshes
        >>> from equivariant.groups import SL, TruncatedHaarSampler
        >>> source = ProceduralMeshes(instances=3, classes=["chair", "truck"], val_fraction=0.0)
        >>> law = TruncatedHaarSampler(SL(3), 0.5)
        >>> pairs = ShapePairs(PointClouds(source, points=32), law=law)
        >>> batch = next(pairs.stream(4))
        >>> batch.a.shape, batch.g.shape
        (torch.Size([4, 32, 3]), torch.Size([4, 3, 3]))
        >>> bool(torch.allclose(Points(SL(3))(batch.g, batch.a), batch.b, atol=1e-5))
        True
    """

    def __init__(
        self,
        dataset: PointClouds,
        *,
        law: Sampler | None = None,
        seed: int = 0,
        pairs_per_object: int = 1,
        first: Literal["transformed", "aligned"] = "transformed",
    ) -> None:
        check_option(first, ("transformed", "aligned"), "first")
        super().__init__(len(dataset), seed=seed, pairs_per_object=pairs_per_object)
        self.dataset, self.law, self.first = dataset, cloud_law(law), first
        self._action = Points(self.law.group)
        self._elements: tuple[int, Tensor, Tensor] | None = None

    @property
    def group(self) -> Group:
        """The group that g belongs to."""
        return self.law.group

    def elements(self, epoch: int) -> tuple[Tensor, Tensor]:
        """What an epoch draws: the maps h_a and h_b.

        Args:
            epoch: From 0.

        Returns:
            Shape (pairs_per_object, objects, n, n) each, float64.
        """
        kept = self._elements
        if kept is None or kept[0] != epoch:
            first, second = (
                torch.stack(
                    [self._draw(epoch, draw, side) for draw in range(self.pairs_per_object)]
                )
                for side in (0, 1)
            )
            kept = self._elements = epoch, first, second
        return kept[1], kept[2]

    def batch(self, rows: NDArray[np.int64]) -> PairBatch:
        """Given pairs.

        Args:
            rows: (object, epoch, draw), shape (N, 3).

        Returns:
            Clouds (N, points, 3) and g (N, n, n), float32.
        """
        index = torch.from_numpy(rows[:, 0].copy())
        n = self.group.matrix_size
        h = torch.empty(2, len(rows), n, n, dtype=torch.float64)
        for epoch in np.unique(rows[:, 1]).tolist():
            here = torch.from_numpy(rows[:, 1] == epoch)
            draw = torch.from_numpy(rows[:, 2].copy())[here]
            for side, maps in enumerate(self.elements(epoch)):
                h[side, here] = maps[draw, index[here]]
        x = self.dataset.clouds[index].double()
        return PairBatch(
            a=self._action(h[0], x).float(),
            b=self._action(h[1], x).float(),
            g=(h[1] @ self.group.inverse(h[0])).float(),
            object_id=index,
            label=self.dataset.labels[index],
        )

    def _draw(self, epoch: int, draw: int, side: int) -> Tensor:
        if side == 0 and self.first == "aligned":
            return self.group.identity(self.objects)
        count = np.array([self.objects], np.int64)
        bits = int(counter(self.seed, epoch, count, 3 * draw + side)[0])
        return draw_maps(self.law, self.objects, seed=bits)
