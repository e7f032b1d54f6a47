"""Pairs of clouds of one articulated object in two states, with the motion of every part."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.clouds.articulated_clouds import ArticulatedClouds, draw_poses
from datasets3d.clouds.piece_clouds import join, move_pieces
from datasets3d.meshes.articulated import JointLaw
from datasets3d.pairs.streams import PairsOfObjects, counter, uniform_numbers
from equivariant.groups import SE3, Product, Sampler
from equivariant.pairs import PairBatch


class ArticulatedPairs(PairsOfObjects[PairBatch]):
    """Batches of pairs (a, b, g) of clouds of one object in two states, with one g per part.

        a_i = h_a e_p(q_a) x_i,   b_i = h_b e_p(q_b) x_i,   g_p = h_b e_p(q_b) e_p(q_a)⁻¹ h_a⁻¹

    with p the part of point i, states q drawn by a law, and h a motion of the whole object. So b
    is ``Piecewise(SE3(), batch.parts, count=dataset.part_count)(batch.g, batch.a)``.

    What a pair shows depends on (seed, epoch, object, draw) and the number of objects alone, and
    which pairs a batch holds on (seed, epoch, position) alone.

    Args:
        dataset: Points at rest, parts, joints.
        law: Of the states of both sides; None takes the source's.
        pose: Of h: a sampler over SO3 or SE3 whose draws have equal weights. None leaves objects
            upright.
        seed: Of all draws, at least 0.
        pairs_per_object: Pairs of each object in an epoch, at least 1.

    Raises:
        ConventionError: A number is out of its range, or the pose's group is another.

    Example:
        >>> from datasets3d import ArticulatedMeshes
        >>> from equivariant.actions import Piecewise
        >>> things = ArticulatedClouds(ArticulatedMeshes(instances=1, val_fraction=0.0), points=32)
        >>> batch = next(ArticulatedPairs(things).stream(4))
        >>> batch.a.shape, batch.g.shape, batch.parts.shape
        (torch.Size([4, 32, 3]), torch.Size([4, 24, 24]), torch.Size([4, 32]))
        >>> moved = Piecewise(SE3(), batch.parts, count=6)(batch.g, batch.a)
        >>> bool(torch.allclose(moved, batch.b, atol=1e-5))
        True
    """

    def __init__(
        self,
        dataset: ArticulatedClouds,
        *,
        law: JointLaw | None = None,
        pose: Sampler | None = None,
        seed: int = 0,
        pairs_per_object: int = 1,
    ) -> None:
        super().__init__(len(dataset), seed=seed, pairs_per_object=pairs_per_object)
        self.dataset, self.pose = dataset, pose
        self.law = dataset.source.law if law is None else law
        if pose is not None:
            draw_poses(pose, 1, seed=0)  # refuses other groups here, not at the first batch
        self._poses: dict[tuple[int, int, int], Tensor] = {}

    @property
    def group(self) -> Product:
        """The group that g belongs to: one SE3 per part."""
        return Product(*[SE3()] * self.dataset.part_count)

    def states(self, rows: NDArray[np.int64], side: int) -> list[NDArray[np.float64]]:
        """What the pairs draw: the state of every joint.

        Args:
            rows: (object, epoch, draw), shape (N, 3).
            side: 0 for a, 1 for b.

        Returns:
            One array of shape (joints,) per pair.
        """
        found = []
        for index, epoch, draw in rows.tolist():
            mechanism = self.dataset.objects[index].mechanism
            u = uniform_numbers(
                self.seed, epoch, np.array([index]), draw=3 * draw + side,
                count=len(mechanism.joints),
            )  # fmt: skip
            found.append(self.law.state(mechanism, u[0]))
        return found

    def batch(self, rows: NDArray[np.int64]) -> PairBatch:
        """Given pairs.

        Args:
            rows: (object, epoch, draw), shape (N, 3).

        Returns:
            Clouds (N, points, 3), g (N, 4 parts, 4 parts), float32, and the parts.
        """
        index = torch.from_numpy(rows[:, 0].copy())
        e = [self._elements(rows, side) for side in (0, 1)]
        x, parts = self.dataset.rest[index], self.dataset.parts[index]
        a, b = (move_pieces(elements, x, parts) for elements in e)
        return PairBatch(
            a=a.float(),
            b=b.float(),
            g=join(e[1] @ SE3().inverse(e[0])).float(),
            object_id=index,
            label=self.dataset.labels[index],
            parts=parts,
        )

    def _elements(self, rows: NDArray[np.int64], side: int) -> Tensor:
        """h e_p(q) of every pair, shape (N, parts, 4, 4)."""
        states = self.states(rows, side)
        found = torch.stack(
            [self.dataset.elements(int(k), q) for k, q in zip(rows[:, 0], states, strict=True)]
        )
        if self.pose is None:
            return found
        h = [self._pose(epoch, draw, side)[index] for index, epoch, draw in rows.tolist()]
        return torch.stack(h).unsqueeze(1) @ found

    def _pose(self, epoch: int, draw: int, side: int) -> Tensor:
        """Poses of all objects; those of one epoch are kept."""
        key = epoch, draw, side
        if key not in self._poses and self.pose is not None:
            if any(known[0] != epoch for known in self._poses):
                self._poses = {}
            count = np.array([self.objects], np.int64)
            bits = int(counter(self.seed, epoch, count, 3 * draw + side)[0])
            self._poses[key] = draw_poses(self.pose, self.objects, seed=bits)
        return self._poses[key]
