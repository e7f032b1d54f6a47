"""Sampling laws over a group, with the weights that make their averages Haar averages."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups.algebra import haar_density
from equivariant.groups.base import Group
from equivariant.groups.numerics import random_normal
from equivariant.shapes import Matrix, Scalar


@dataclass(frozen=True, eq=False)
class Weighted:
    """Elements and their importance weights: E f ≈ Σ w f(g) / Σ w.

    Args:
        elements: Shape (*batch, n, n), float64.
        weights: Shape (*batch), float64, at least 0, meaningful up to one common factor.

    Example:
        >>> drawn = Weighted(torch.eye(2, dtype=torch.float64)[None], torch.ones(1).double())
        >>> drawn.elements.shape, drawn.weights.shape
        (torch.Size([1, 2, 2]), torch.Size([1]))
    """

    elements: Matrix
    weights: Scalar


class Sampler(ABC):
    """A law over a group from which weighted elements are drawn."""

    group: Group

    @abstractmethod
    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        """Independent elements.

        Args:
            *batch: Leading shape of the result; none for a single element.
            generator: Source of randomness, on the CPU.

        Returns:
            Elements (*batch, n, n) and weights (*batch), float64 on the CPU.
        """

    def special_elements(self) -> dict[str, Matrix]:
        """Those of the group's special elements that belong to the law, by name.

        All of them by default; a law on a part of the group says which of them it holds.
        """
        return self.group.special_elements()


@dataclass(frozen=True)
class HaarSampler(Sampler):
    """Haar measure of a compact group, exactly; every weight is 1.

    Args:
        group: A compact group.

    Raises:
        ConventionError: The group is not compact: its Haar measure is no probability law.

    Example:
        >>> from equivariant.groups import SO3
        >>> drawn = HaarSampler(SO3()).draw(5, generator=torch.Generator().manual_seed(0))
        >>> drawn.elements.shape, drawn.weights.tolist()
        (torch.Size([5, 3, 3]), [1.0, 1.0, 1.0, 1.0, 1.0])
    """

    group: Group

    def __post_init__(self) -> None:
        if not self.group.compact:
            raise ConventionError(
                expected="a compact group",
                got=str(self.group),
                argument="group",
                advice="Use BallSampler(group, radius): Haar measure near the identity.",
            )

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        return _unweighted(self.group.draw(batch, generator=generator), batch)


@dataclass(frozen=True)
class BallSampler(Sampler):
    """Left Haar measure restricted to the elements with ``|log g| <= radius``.

    Coordinates are uniform in the ball of the Lie algebra; the weight is the density of left
    Haar measure in exponential coordinates,

        w(X) = |det φ(ad X)|,   φ(z) = (1 - exp(-z)) / z,

    which is 1 at the identity. For SO(3) it is 2 (1 - cos θ) / θ².

    Args:
        group: Any group; of O(3) the rotations.
        radius: Positive, at most ``group.injectivity_radius`` (π for rotations), in the unit of
            the coordinates.

    Raises:
        ConventionError: The radius is not positive, not finite, or beyond the injectivity
            radius, where elements would be counted twice.

    Example:
        >>> from equivariant.groups import SE3
        >>> drawn = BallSampler(SE3(), 1.0).draw(8, generator=torch.Generator().manual_seed(0))
        >>> bool((SE3().log(drawn.elements).norm(dim=-1) <= 1).all())
        True
    """

    group: Group
    radius: float

    def __post_init__(self) -> None:
        limit = self.group.injectivity_radius
        if not (0 < self.radius < math.inf and self.radius <= limit):
            raise ConventionError(
                expected=f"a finite radius in (0, {limit:.6g}], where exp of {self.group} is "
                "injective",
                got=str(self.radius),
                argument="radius",
                advice="Use a smaller ball, or HaarSampler(group) for all of a compact group.",
            )

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        normal = random_normal((*batch, self.group.dim), generator=generator)
        length = torch.linalg.vector_norm(normal, dim=-1, keepdim=True)
        uniform = torch.rand((*batch, 1), generator=generator, dtype=torch.float64)
        share = uniform ** (1 / max(self.group.dim, 1))
        coordinates = self.radius * share * normal / length
        return Weighted(self.group.exp(coordinates), haar_density(self.group, coordinates))

    def special_elements(self) -> dict[str, Matrix]:
        """Those within the radius."""
        within = self.radius * (1 + 1e-12)
        lengths = _lengths(self.group)
        return {k: g for k, g in self.group.special_elements().items() if lengths[k] <= within}


@dataclass(frozen=True, eq=False)
class NormalSampler(Sampler):
    """exp of normal coordinates: a law of its own, every weight 1.

        g = exp(x),   x_k ~ N(0, scale_k²)

    Args:
        group: Any group.
        scale: Standard deviation of the coordinates, one number or one per coordinate, shape
            (dim,), at least 0, in the unit of the coordinates.

    Raises:
        ShapeError: A tensor of scales is not of shape (dim,).
        ConventionError: A scale is negative or not finite.

    Example:
        >>> from equivariant.groups import SE3
        >>> scale = torch.tensor([0.1, 0.1, 0.1, 0.0, 0.0, 0.0])
        >>> drawn = NormalSampler(SE3(), scale).draw(generator=torch.Generator().manual_seed(0))
        >>> drawn.elements[:3, 3].tolist()
        [0.0, 0.0, 0.0]
    """

    group: Group
    scale: float | Tensor

    def __post_init__(self) -> None:
        scale = torch.as_tensor(self.scale)
        if scale.ndim and tuple(scale.shape) != (self.group.dim,):
            raise ShapeError(
                expected=f"one scale, or one per coordinate of {self.group}: ({self.group.dim},)",
                got=f"shape {tuple(scale.shape)}",
                argument="scale",
                advice="Order them as the basis of the Lie algebra.",
            )
        if not bool((torch.isfinite(scale) & (scale >= 0)).all()):
            raise ConventionError(
                expected="finite standard deviations of at least 0",
                got=str(self.scale),
                argument="scale",
                advice="A scale of 0 keeps a coordinate at 0.",
            )

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        scale = torch.as_tensor(self.scale, dtype=torch.float64, device="cpu")
        coordinates = scale * random_normal((*batch, self.group.dim), generator=generator)
        return _unweighted(self.group.exp(coordinates), batch)

    def special_elements(self) -> dict[str, Matrix]:
        """Those that exponentials of coordinates of positive scale reach."""
        held = torch.as_tensor(self.scale).double().expand(self.group.dim) > 0
        found = {}
        for name, g in self.group.special_elements().items():
            coordinates = _logarithm(self.group, g)
            if coordinates is not None and not bool(coordinates[~held].abs().gt(1e-9).any()):
                found[name] = g
        return found


@dataclass(frozen=True, eq=False)
class Elements(Sampler):
    """A finite list of elements, the quarter turns for instance, drawn with replacement.

    Args:
        group: Group of the elements.
        elements: Shape (count, n, n), count at least 1.
        weights: Probabilities up to one factor, shape (count,), at least 0, not all 0; None for
            equal ones. They decide how often an element is drawn; what is drawn has weight 1.

    Raises:
        ShapeError: The elements are no such list, or the weights do not match it.
        ConventionError: Weights are negative, not finite, or all 0.

    Example:
        >>> from equivariant.groups import SO2
        >>> quarters = SO2().exp(torch.pi / 2 * torch.arange(4.0, dtype=torch.float64)[:, None])
        >>> sampler = Elements(SO2(), quarters)
        >>> sampler.draw(2, 3, generator=torch.Generator().manual_seed(0)).elements.shape
        torch.Size([2, 3, 2, 2])
    """

    group: Group
    elements: Matrix
    weights: Scalar | None = None

    def __post_init__(self) -> None:
        self.group.check_element(self.elements, "elements")
        if self.elements.ndim != 3 or len(self.elements) == 0:
            raise ShapeError(
                expected="a list of at least one element, shape (count, n, n)",
                got=f"shape {tuple(self.elements.shape)}",
                argument="elements",
                advice="Flatten the batch axes to one.",
            )
        if self.weights is None:
            return
        if tuple(self.weights.shape) != (len(self.elements),):
            raise ShapeError(
                expected=f"one weight per element, shape ({len(self.elements)},)",
                got=f"shape {tuple(self.weights.shape)}",
                argument="weights",
                advice="Pass None for equal weights.",
            )
        _check_weights(self.weights)

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        law = torch.ones(len(self.elements)) if self.weights is None else self.weights
        count = math.prod(batch)
        index = torch.zeros(0, dtype=torch.int64)
        if count:
            law = law.double().cpu()
            index = torch.multinomial(law, count, replacement=True, generator=generator)
        chosen = self.elements.double().cpu()[index]
        return _unweighted(chosen.reshape(*batch, *chosen.shape[-2:]), batch)

    def special_elements(self) -> dict[str, Matrix]:
        """Those on the list with a positive weight, up to rounding, as they stand there."""
        listed = self.elements.double().cpu()
        if self.weights is not None:
            listed = listed[self.weights.cpu() > 0]
        found = {}
        for name, g in self.group.special_elements().items():
            gaps = (listed - g).abs().amax((-2, -1))
            if float(gaps.min()) < 1e-6:
                found[name] = listed[int(gaps.argmin())]
        return found


def effective_sample_size(weights: Scalar) -> Scalar:
    """How many equally weighted draws a weighted sample is worth, ``(Σ w)² / Σ w²``.

    Args:
        weights: Any shape, at least one entry, at least 0, not all 0.

    Returns:
        One number, shape (), between 1 and the number of weights.

    Raises:
        ConventionError: Weights are negative, not finite, or all 0.

    Example:
        >>> float(effective_sample_size(torch.tensor([1.0, 1.0, 0.0, 0.0])))
        2.0

    Source: Kish 1965, Survey Sampling.
    """
    _check_weights(weights)
    return weights.sum().square() / weights.square().sum()


def _logarithm(group: Group, g: Tensor) -> Tensor | None:
    """Coordinates, shape (dim,); None for an element that has none."""
    try:
        return group.log(g)
    except ConventionError:
        return None


def _lengths(group: Group) -> dict[str, float]:
    """|log g| of the special elements; infinite for one that has no logarithm."""
    found = {}
    for name, g in group.special_elements().items():
        coordinates = _logarithm(group, g)
        found[name] = math.inf if coordinates is None else float(coordinates.norm())
    return found


def _unweighted(elements: Tensor, batch: tuple[int, ...]) -> Weighted:
    return Weighted(elements, torch.ones(batch, dtype=torch.float64))


def _check_weights(weights: Tensor) -> None:
    usable = torch.isfinite(weights) & (weights >= 0)
    if not bool(usable.all() & (weights > 0).any()):
        raise ConventionError(
            expected="finite weights of at least 0, one of them positive",
            got="others",
            argument="weights",
            advice="Drop entries without mass.",
        )
