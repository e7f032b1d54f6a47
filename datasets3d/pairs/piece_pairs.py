"""Pairs of clouds of one object made of pieces, from a fixed set of poses."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.clouds.articulated_clouds import draw_poses
from datasets3d.clouds.piece_clouds import PieceClouds, join, move_pieces
from datasets3d.pairs.streams import PairsOfObjects, counter, uniform_numbers
from equivariant.errors import ConventionError
from equivariant.groups import SE3, Product, Sampler
from equivariant.pairs import PairBatch


class PiecePairs(PairsOfObjects[PairBatch]):
    """Batches of pairs (a, b, g) of clouds of one object in two of its poses, one g per part.

    The set is fixed: frames of a moving body (:func:`body_clouds`), arrangements of a room
    (:func:`room_clouds`), states of articulated objects. The first cloud of a pair is each cloud
    of the set in turn; the second is drawn among the other clouds whose points correspond. With h
    the motions of the whole clouds,

        b_i = g_p a_i,   g_p = h_b e_p(b) e_p(a)⁻¹ h_a⁻¹   with p the part of point i

    What a pair shows depends on (seed, epoch, cloud, draw) and the set alone.

    Args:
        pieces: The clouds; those whose object has no other cloud are left out.
        pose: Of h: a sampler over SO3 or SE3 whose draws have equal weights. None leaves clouds
            as they are.
        seed: Of all draws, at least 0.
        pairs_per_object: Pairs that begin with each cloud in an epoch, at least 1.

    Raises:
        ConventionError: A number is out of its range, no object has two clouds, or the pose's
            group is another.

    Example:
        >>> from datasets3d.rooms import make_rooms, room_clouds
        >>> pairs = PiecePairs(room_clouds(make_rooms(2), arrangements=3, points=64))
        >>> batch = next(pairs.stream(6))
        >>> batch.a.shape, batch.parts.shape, batch.g.shape[1] == pairs.group.matrix_size
        (torch.Size([6, 64, 3]), torch.Size([6, 64]), True)
    """

    def __init__(
        self,
        pieces: PieceClouds,
        *,
        pose: Sampler | None = None,
        seed: int = 0,
        pairs_per_object: int = 1,
    ) -> None:
        owners = pieces.object_id.numpy()
        many = np.bincount(owners, minlength=len(pieces.rest))[owners] > 1
        if not many.any():
            raise ConventionError(
                expected="an object with at least two clouds", got=f"{len(pieces)} clouds, none",
                argument="pieces",
                advice="Take more frames, or fewer samples per body: body_clouds(samples=1).",
            )  # fmt: skip
        self._clouds = np.flatnonzero(many)
        super().__init__(len(self._clouds), seed=seed, pairs_per_object=pairs_per_object)
        self.pieces, self.pose = pieces, pose
        self._fellows = {k: np.flatnonzero(owners == k) for k in np.unique(owners).tolist()}
        if pose is not None:
            draw_poses(pose, 1, seed=0)  # refuses other groups here, not at the first batch

    @property
    def group(self) -> Product:
        """The group that g belongs to: one SE3 per part."""
        return Product(*[SE3()] * len(self.pieces.part_names))

    def chosen(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Which clouds of the set the pairs show.

        Args:
            rows: (place among the clouds that have a fellow, epoch, draw), shape (N, 3).

        Returns:
            First and second clouds, shape (N,) each, int64; never the same.
        """
        first = self._clouds[rows[:, 0]]
        second = np.empty_like(first)
        for k, (place, epoch, draw) in enumerate(rows.tolist()):
            fellows = self._fellows[int(self.pieces.object_id[first[k]])]
            others = fellows[fellows != first[k]]
            u = uniform_numbers(self.seed, epoch, np.array([place]), draw=3 * draw, count=1)
            second[k] = others[int(u[0, 0] * len(others))]
        return torch.from_numpy(first), torch.from_numpy(second)

    def batch(self, rows: NDArray[np.int64]) -> PairBatch:
        """Given pairs.

        Args:
            rows: (place among the clouds that have a fellow, epoch, draw), shape (N, 3).

        Returns:
            Clouds (N, points, 3), g (N, 4 parts, 4 parts), float32, and the parts.
        """
        first, second = self.chosen(rows)
        e = [self._elements(rows, which, side) for side, which in enumerate((first, second))]
        index = self.pieces.object_id[first]
        x, parts = self.pieces.rest[index], self.pieces.parts[index]
        a, b = (move_pieces(elements, x, parts) for elements in e)
        return PairBatch(
            a=a.float(),
            b=b.float(),
            g=join(e[1] @ SE3().inverse(e[0])).float(),
            object_id=index,
            label=self.pieces.labels[first],
            parts=parts,
        )

    def _elements(self, rows: NDArray[np.int64], which: Tensor, side: int) -> Tensor:
        """h e_p of every pair, shape (N, parts, 4, 4)."""
        found = self.pieces.elements[which]
        if self.pose is None:
            return found
        bits = [
            int(counter(self.seed, epoch, np.array([place]), 3 * draw + 1)[0]) ^ side
            for place, epoch, draw in rows.tolist()
        ]
        h = torch.cat([draw_poses(self.pose, 1, seed=b) for b in bits])
        return h.unsqueeze(1) @ found
