"""Elements of a group at which a feature is known, with the weights of their integral."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group, Sampler
from equivariant.shapes import Float, Matrix


@dataclass(frozen=True, eq=False)
class LieSamples:
    """A finite set of elements h_i that stands for a group, with weights w_i that add up to 1.

        ∫ F(h) dμ(h) ≈ Σ_i w_i F(h_i)

    for the law of probability that the elements were drawn for (Haar measure, truncated where
    the group is not compact). Group algebra is kept in float64, whatever the features' dtype.

    Args:
        group: Group of the elements: linear maps of n-space.
        elements: Shape (samples, n, n), at least one.
        weights: Shape (samples,), at least 0 and not all 0; they are divided by their sum.

    Raises:
        ShapeError: Not such a list, or another number of weights.
        ConventionError: Matrices that are no elements, integers among them; weights that are
            negative, not finite, or all 0.

    Example:
        >>> from equivariant.groups import SO2
        >>> quarters = SO2().exp(torch.pi / 2 * torch.arange(4.0, dtype=torch.float64)[:, None])
        >>> samples = LieSamples(SO2(), quarters, torch.ones(4))
        >>> len(samples), samples.weights.tolist()
        (4, [0.25, 0.25, 0.25, 0.25])
    """

    group: Group
    elements: Matrix
    weights: Float[Tensor, " samples"]

    def __post_init__(self) -> None:
        self.group.check_member(self.elements, "elements")
        if self.elements.ndim != 3 or len(self.elements) == 0:
            raise ShapeError(
                expected="at least one element, shape (samples, n, n)",
                got=f"shape {tuple(self.elements.shape)}", argument="elements",
                advice="A layer keeps one set of samples for the whole batch.",
            )  # fmt: skip
        given: Any = self.weights
        shape = tuple(given.shape) if isinstance(given, Tensor) else None
        if shape != (len(self.elements),):
            raise ShapeError(
                expected=f"one weight per element, a tensor of shape ({len(self.elements)},)",
                got=f"shape {shape}" if shape else type(given).__name__, argument="weights",
                advice="Pass ones for equal weights.",
            )  # fmt: skip
        weights = self.weights.to(self.elements.device, torch.float64)
        if not bool((weights.isfinite() & (weights >= 0)).all() & (weights > 0).any()):
            raise ConventionError(
                expected="finite weights of at least 0, one of them positive",
                got="others", argument="weights",
                advice="They are densities of Haar measure over those of the draw.",
            )  # fmt: skip
        object.__setattr__(self, "elements", self.elements.to(torch.float64))
        object.__setattr__(self, "weights", weights / weights.sum())

    @classmethod
    def draw(cls, sampler: Sampler, count: int, *, generator: torch.Generator) -> LieSamples:
        """Samples of a law.

        Args:
            sampler: The law.
            count: How many, at least 1.
            generator: Source of randomness, on the CPU.
        """
        drawn = sampler.draw(count, generator=generator)
        return cls(sampler.group, drawn.elements, drawn.weights)

    def __len__(self) -> int:
        return len(self.elements)

    @property
    def space(self) -> int:
        """n, the dimension of the space that the elements move."""
        return int(self.elements.shape[-1])

    @cached_property
    def inverses(self) -> Matrix:
        """h_i⁻¹, shape (samples, n, n)."""
        return self.group.inverse(self.elements)

    @cached_property
    def determinants(self) -> Float[Tensor, " samples"]:
        """|det h_i|, by which h_i multiplies volumes, shape (samples,)."""
        found: Tensor = torch.linalg.det(self.elements).abs()
        return found

    @cached_property
    def reach(self) -> float:
        """max_i ‖h_i‖₂: how far the unit ball extends when it is moved."""
        return float(torch.linalg.matrix_norm(self.elements, ord=2).amax())

    def relative_to(self, outputs: LieSamples) -> Matrix:
        """h_i⁻¹ h̃_j of outputs h_i and these h̃_j, shape (outputs, samples, n, n)."""
        steps: Tensor = outputs.inverses[:, None] @ self.elements[None]
        return steps

    def to(self, device: torch.device | str) -> LieSamples:
        """The same samples on another device."""
        if self.elements.device == torch.device(device):
            return self
        return type(self)(self.group, self.elements.to(device), self.weights.to(device))


@dataclass(frozen=True, eq=False)
class RelativeSamples:
    """Elements h_i u_k around each of the samples h_i, by one set of steps u_k.

    A group convolution that reads its input at these elements weighs each of them by k(u_k):
    the same weights at every h_i, so that it commutes with the group whatever the number of steps
    is. Where both sets are drawn apart, that holds on average only.

    Args:
        base: The h_i, where outputs will live.
        steps: The u_k.
    """

    base: LieSamples
    steps: LieSamples

    @cached_property
    def product(self) -> LieSamples:
        """All h_i u_k in one list, i before k, with weights w_i v_k."""
        elements = (self.base.elements[:, None] @ self.steps.elements[None]).flatten(0, 1)
        weights = torch.outer(self.base.weights, self.steps.weights).flatten()
        return LieSamples(self.base.group, elements, weights)
