"""Pairs of pictures of one digit, with the motion of the plane that takes one to the other."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.digits.digits import Digits
from datasets3d.digits.laws import AffNistLaw, PlaneLaw
from datasets3d.digits.warping import inverse, move_pictures
from datasets3d.pairs.streams import PairsOfObjects
from equivariant.errors import ConventionError, check_option
from equivariant.pairs import PairBatch


class DigitPairs(PairsOfObjects[PairBatch]):
    """Batches of pairs (a, b, g) of pictures of one digit: b shows g applied to what a shows.

        a = g_a · x,   b = g_b · x,   g = g_b g_a⁻¹,   (g·I)(u) = I(g⁻¹ u)

    x is the centred digit and g_a, g_b are independent draws of the law. Both pictures are
    interpolated once, from x, so b is g · a up to interpolation, and where the frame cuts
    nothing off; the matrices are exact. With ``first="centred"`` a is x itself, g = g_b, and b is
    ``ImageWarp(Affine(2), size_px, interpolation="bilinear")(g, a)`` up to rounding, for affine
    laws.

    What a pair shows depends on (seed, epoch, object, draw) alone and which pairs a batch holds
    on (seed, epoch, position) alone: neither on workers, nor on order, nor on where a run was
    resumed. One epoch shows ``pairs_per_object`` pairs of every digit, in a fresh order, in whole
    batches.

    Args:
        dataset: The digits.
        law: Of g_a and g_b; None takes ``AffNistLaw()``.
        seed: Of all draws, at least 0.
        pairs_per_object: Pairs of each digit in an epoch, at least 1.
        first: "transformed", or "centred": g_a is the identity.

    Raises:
        ConventionError: An argument is out of its range.

    Example:
        >>> images = np.zeros((6, 28, 28), np.uint8)
        >>> images[:, 8:20, 12:16] = 255
        >>> pairs = DigitPairs(Digits.of(images, np.arange(6)), first="centred")
        >>> batch = next(pairs.stream(4))
        >>> batch.a.shape, batch.g.shape, batch.label.shape
        (torch.Size([4, 1, 40, 40]), torch.Size([4, 3, 3]), torch.Size([4]))
        >>> from equivariant.actions import ImageWarp
        >>> from equivariant.groups import Affine
        >>> moved = ImageWarp(Affine(2), 40, interpolation="bilinear")(batch.g, batch.a)
        >>> bool(torch.allclose(moved, batch.b, atol=1e-4))
        True
    """

    def __init__(
        self,
        dataset: Digits,
        *,
        law: PlaneLaw | None = None,
        seed: int = 0,
        pairs_per_object: int = 1,
        first: Literal["transformed", "centred"] = "transformed",
    ) -> None:
        check_option(first, ("transformed", "centred"), "first")
        for name, value, kind in (("dataset", dataset, Digits), ("law", law, PlaneLaw)):
            if not isinstance(value, kind) and not (name == "law" and value is None):
                raise ConventionError(
                    expected=f"{kind.__name__} of datasets3d", got=type(value).__name__,
                    argument=name,
                    advice='DigitPairs(Digits("mnist"), law=AffNistLaw()), for example.',
                )  # fmt: skip
        super().__init__(len(dataset), seed=seed, pairs_per_object=pairs_per_object)
        self.dataset, self.law, self.first = dataset, law or AffNistLaw(), first
        self._labels = dataset.targets

    def elements(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """The motions g_a and g_b of given pairs.

        Args:
            rows: (object, epoch, draw), shape (N, 3).

        Returns:
            Shape (N, 3, 3) each, float64.
        """
        corners = self.dataset.corners(rows[:, 0])
        g = np.broadcast_to(np.eye(3), (2, len(rows), 3, 3)).copy()
        for epoch, draw in np.unique(rows[:, 1:], axis=0).tolist():
            here = (rows[:, 1] == epoch) & (rows[:, 2] == draw)
            for side in (0, 1) if self.first == "transformed" else (1,):
                g[side, here] = self.law.sample(
                    self.seed, rows[here, 0], epoch=epoch, draw=3 * draw + side,
                    corners=corners[here],
                )  # fmt: skip
        g_a, g_b = torch.from_numpy(g)
        return g_a, g_b

    def batch(self, rows: NDArray[np.int64]) -> PairBatch:
        """Given pairs.

        Args:
            rows: (object, epoch, draw), shape (N, 3).

        Returns:
            Pictures (N, 1, size_px, size_px), float32 in [0, 1]; g (N, 3, 3), float32.
        """
        g_a, g_b = self.elements(rows)
        index = torch.from_numpy(rows[:, 0].copy())
        centred = self.dataset.pictures(rows[:, 0])
        transformed = self.first == "transformed"
        return PairBatch(
            a=move_pictures(centred, g_a) if transformed else centred,
            b=move_pictures(centred, g_b),
            g=(g_b @ inverse(g_a)).float(),
            object_id=index,
            label=self._labels[index],
        )
