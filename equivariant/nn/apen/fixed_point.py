"""Parts and labels that agree with one another, found by going round."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.actions import Declaration
from equivariant.errors import ConventionError
from equivariant.nn.apen.network import APENSegmenter, Prediction
from equivariant.nn.apen.partition import Partition
from equivariant.shapes import Float


class FixedPointSegmenter(nn.Module):
    """A segmenter that is told its own labels as parts, until they do not change.

        Z_0 = parts that the segmenter finds,   Z_{m+1} = argmax f(x, Z_m)

    f(x, Z) commutes exactly with motions of the cells of Z. A fixed point whose cells are the true
    parts is one at every state of the parts, so labels found there stay under all motions; whether
    the rounds from Z_0 get there is not certain, nor that there is one fixed point only. Clouds
    that have come to rest are left alone. Train f with the true parts (``segmenter(clouds,
    Partition(parts))``), one round at a time, where classes tell parts of one object apart.

    Args:
        segmenter: f.
        rounds: The most rounds, at least 1.

    Raises:
        ConventionError: Fewer than one round.

    Example:
        >>> from equivariant.nn import APENConfig
        >>> config = APENConfig(cells=8, widths=(8,), sigmas=(0.3,))
        >>> model = FixedPointSegmenter(APENSegmenter(3, config)).eval()
        >>> found = model(torch.randn(2, 50, 3))
        >>> found.logits.shape, model.rounds_taken <= 5
        (torch.Size([2, 50, 3]), True)

    Source: the idea of Deng et al. 2023, Banana: inter-part equivariance as a fixed point, trained
    in one step; here hard labels, and cells in place of soft messages.
    """

    def __init__(self, segmenter: APENSegmenter, *, rounds: int = 5) -> None:
        super().__init__()
        if rounds < 1:
            raise ConventionError(
                expected="at least one round", got=str(rounds), argument="rounds",
                advice="5 is the default.",
            )  # fmt: skip
        self.segmenter, self.rounds, self.rounds_taken = segmenter, rounds, 0

    def forward(
        self, clouds: Float[Tensor, "batch points xyz"], start: Partition | None = None
    ) -> Prediction:
        """Logits of every point on the last partition, which is that of the labels at rest.

        The prediction carries no promise: its certificate is 1.

        Args:
            clouds: Shape (batch, points, 3), about one unit in size.
            start: Z_0; None takes the partition that the segmenter predicts.

        Raises:
            ShapeError: The last axis is not 3, there is no point, or parts of other points.
        """
        labels = (self.segmenter(clouds).partition if start is None else start).labels
        moving = torch.ones(len(clouds), dtype=torch.bool, device=clouds.device)
        for taken in range(1, self.rounds + 1):
            found: Prediction = self.segmenter(clouds, Partition(labels))
            new = torch.where(moving[:, None], found.logits.argmax(-1), labels)
            moving = moving & ~Partition(new).same_each(Partition(labels))
            self.rounds_taken = taken
            if not bool(moving.any()):
                break
            labels = new
        one = torch.ones_like(found.bound.probability)
        found.bound = type(found.bound)(
            probability=one, refinement=one, delta=found.bound.delta, share=one,
            change=found.bound.largest * one, tolerance=0.0, level=found.bound.level,
            largest=found.bound.largest,
        )  # fmt: skip
        return found

    def declaration(self, signal: Tensor) -> Declaration:
        """That of the segmenter: under motions of the whole cloud the logits stay.

        Args:
            signal: An input; only its presence matters.
        """
        return self.segmenter.declaration(signal)
