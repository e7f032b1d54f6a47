"""Motions of space: a law on the linear part, and shifts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from equivariant.errors import ConventionError
from equivariant.groups.samplers import Sampler, Weighted
from equivariant.groups.semidirect import Semidirect


@dataclass(frozen=True)
class SemidirectSampler(Sampler):
    """Left Haar measure of ℝⁿ ⋊ H, where the linear part and the shift are bounded.

        h by ``linear``,   t uniform in the cube [-shift, shift]ⁿ,   weight w(h) / |det h|

    Args:
        linear: Law on H with weights of Haar measure.
        shift: Largest shift along each axis, at least 0, in the unit of length.

    Raises:
        ConventionError: The shift is negative or not finite.

    Example:
        >>> from equivariant.groups import SO2, HaarSampler
        >>> law = SemidirectSampler(HaarSampler(SO2()), shift=0.1)
        >>> law.draw(4, generator=torch.Generator().manual_seed(0)).elements.shape
        torch.Size([4, 3, 3])
    """

    linear: Sampler
    shift: float = 0.0
    group: Semidirect = field(init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.shift < math.inf:
            raise ConventionError(
                expected="a finite shift of at least 0", got=str(self.shift), argument="shift",
                advice="Images have half their shorter side as the unit.",
            )  # fmt: skip
        object.__setattr__(self, "group", Semidirect(self.linear.group))

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        drawn = self.linear.draw(*batch, generator=generator)
        n = drawn.elements.shape[-1]
        uniform = torch.rand((*batch, n), generator=generator, dtype=torch.float64)
        elements = self.group.join(drawn.elements, self.shift * (2 * uniform - 1))
        return Weighted(elements, drawn.weights / torch.linalg.det(drawn.elements).abs())
