"""Bodies of an experiment in the poses of each split, and batches of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.bodies import body_clouds, split_frames, synthetic_subjects
from datasets3d.clouds.piece_clouds import PieceClouds
from datasets3d.motion import read_motions
from datasets3d.pairs.streams import PairsOfObjects, uniform_numbers
from equivariant.errors import ConventionError
from equivariant.pairs import PairBatch
from equivariant.recipes.apen_parts.settings import PartExperiment

PARTS = 14


def body_sets(config: PartExperiment) -> dict[str, PieceClouds]:
    """Clouds of the splits "train", "val" and "test".

    Args:
        config: Which motions, bodies and split.

    Raises:
        DataFormatError: A motion is missing or damaged.
        ConventionError: A split has no frame.
    """
    motions = read_motions(config.data, subjects=config.subjects or None)
    first = motions[min(motions)]
    bodies = synthetic_subjects(first.skeleton, count=config.bodies, seed=config.seed)
    splits = split_frames(motions, config.split, every=config.every, seed=config.seed)
    empty = [name for name, frames in splits.items() if not frames]
    if empty:
        raise ConventionError(
            expected="frames in every split", got=f"none in {', '.join(empty)}",
            argument="split", advice="Take more subjects, a smaller --every or another split.",
        )  # fmt: skip
    return {
        name: body_clouds(motions, frames, bodies=bodies, points=config.points, seed=config.seed)
        for name, frames in splits.items()
    }


class PiecePairs(PairsOfObjects[PairBatch]):
    """Batches of clouds, each with another state of the same sample of the same body.

    Args:
        pieces: Clouds of bodies.
        seed: Of their order and of the other states, at least 0.
    """

    def __init__(self, pieces: PieceClouds, *, seed: int = 0) -> None:
        super().__init__(len(pieces), seed=seed, pairs_per_object=1)
        self.pieces = pieces
        owners = pieces.object_id.numpy()
        self._states = {int(k): np.flatnonzero(owners == k) for k in np.unique(owners)}

    def batch(self, rows: NDArray[np.int64]) -> PairBatch:
        """Given pairs.

        Args:
            rows: (cloud, epoch, draw), shape (N, 3).
        """
        a = torch.from_numpy(rows[:, 0].copy())
        b = torch.tensor([self._other(int(k), int(epoch)) for k, epoch, _ in rows])
        return pairs_of(self.pieces, a, b)

    def _other(self, row: int, epoch: int) -> int:
        states = self._states[int(self.pieces.object_id[row])]
        u = uniform_numbers(self.seed, epoch, np.array([row]), draw=1, count=1)
        return int(states[min(int(float(u.ravel()[0]) * len(states)), len(states) - 1)])


def pairs_of(pieces: PieceClouds, a: Tensor, b: Tensor) -> PairBatch:
    """Clouds at two states with their parts, float32.

    Args:
        pieces: Clouds of bodies.
        a: Rows, shape (N,).
        b: Rows of the same samples.
    """
    return PairBatch(
        a=pieces.clouds[a].float(), b=pieces.clouds[b].float(),
        g=pieces.motion(a, b).float(), object_id=pieces.object_id[a], label=pieces.labels[a],
        parts=pieces.point_parts[a],
    )  # fmt: skip


def known_parts(pairs: PairBatch) -> Tensor:
    """The parts of pairs of bodies, which always have them.

    Args:
        pairs: Pairs of clouds.

    Raises:
        ConventionError: They are others.
    """
    if pairs.parts is None:
        raise ConventionError(
            expected="pairs of clouds with parts", got="none", argument="pairs",
            advice="Make them with pairs_of.",
        )  # fmt: skip
    return pairs.parts


def drawn_pairs(pieces: PieceClouds, count: int, *, seed: int) -> PairBatch:
    """A fixed set of pairs.

    Args:
        pieces: Clouds of bodies.
        count: How many; all clouds if fewer.
        seed: Of the draw.
    """
    stream = PiecePairs(pieces, seed=seed)
    return stream.batch(stream.rows(0)[:count])


def fingerprint(pieces: PieceClouds) -> dict[str, Any]:
    """What tells sets of clouds apart; JSON."""
    return {
        "clouds": len(pieces), "points": pieces.rest.shape[1],
        "sum": f"{float(pieces.elements.sum()):.6f} {float(pieces.rest.abs().sum()):.6f}",
    }  # fmt: skip
