"""A map with an error, measured again under changed assumptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from equivariant.groups import Group, Sampler, Weighted
from equivariant.measure.error.equivariance_error import equivariance_error
from equivariant.measure.error.floor import Floor, drawn_element
from equivariant.measure.error.report import EquivarianceReport
from equivariant.measure.motions.motion import Motion, as_motion, common_group
from equivariant.shapes import Matrix
from equivariant.tree import call

ABOVE = 3.0  # an error counts where it exceeds the floor by this factor
_STEPS = (1e-3, 1e-2, 1e-1)  # rad or unit of length: small enough for a smooth map to move little
_RESOLVED = 10.0  # how far above rounding a smooth error must be expected to be looked for
_SAMPLES = 8


@dataclass(frozen=True)
class Nearby:
    """Errors at elements near the identity.

    Args:
        distance: Of the elements from the identity.
        expected: The error that a smooth map would show there, in proportion to the distance.
        errors: Those found, shape (items, samples).
        nothing: Errors up to here count as none: rounding, or a hundredth of what is expected.
    """

    distance: float
    expected: float
    errors: Tensor
    nothing: float


class Examined:
    """One output of a map, with its claim and what was found.

    Args:
        f: The map.
        x: A batch of inputs.
        act_in: Action on x.
        act_out: Action on f(x).
        report: The measurement that is asked about.
        floor: What a verdict allows for.
        own: Rounding of the map in the dtype of the report.
        dtype: Of the inputs as they were given; the report may be about a copy in float64.
        output: Which output.
        seed: Of the elements.
        options: Of :func:`equivariance_error`.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        x: Any,
        act_in: Any,
        act_out: Any,
        *,
        report: EquivarianceReport,
        floor: Floor,
        own: float,
        dtype: str,
        output: str,
        seed: int,
        options: dict[str, Any],
    ) -> None:
        self.f, self.x, self.options = f, x, options
        self.before = as_motion(act_in, options.get("group"))
        self.after = as_motion(act_out, options.get("group"))
        self.group = common_group(self.before, self.after)
        self.report, self.output, self.seed, self.dtype = report, output, seed, dtype
        self.level = ABOVE * floor.value
        self.rounding = ABOVE * own
        self.error = report.value(output=output)
        self.interpolates = floor.reference is not None

    @property
    def law(self) -> Sampler | None:
        """The law that the errors are about; None for the group's own."""
        law: Sampler | None = self.options.get("law")
        return law

    def evaluated(self, x: Any) -> Tensor:
        """The output in question at an input."""
        with torch.set_grad_enabled(self.options.get("differentiates", False)):
            return self.after.parts(call(self.f, x))[self.output].tensor.detach()

    @cached_property
    def stays(self) -> bool:
        """Whether the declared action leaves outputs alone, so that which way says nothing."""
        generator = torch.Generator().manual_seed(self.seed)
        g = drawn_element(self.group, generator, **self.options)
        with torch.set_grad_enabled(self.options.get("differentiates", False)):
            y = call(self.f, self.x)
        before = self.after.parts(y)[self.output].tensor
        moved = self.after.parts(self.after.move(g.to(before.device), y))[self.output].tensor
        return bool(torch.equal(moved, before))

    def explains(self, error: float) -> bool:
        """Whether an error under a changed assumption is so small that the change is the cause."""
        return error <= 0.1 * self.error or error <= self.level < self.error / 3

    def again(self, *, act_out: Motion | None = None, law: Sampler | None = None) -> float:
        """The relative error under one changed assumption."""
        return self.measured(act_out=act_out, law=law).value(output=self.output)

    def measured(
        self, *, act_out: Motion | None = None, law: Sampler | None = None
    ) -> EquivarianceReport:
        """The map measured anew, with another action or law."""
        options = dict(self.options) if law is None else {**self.options, "law": law}
        return equivariance_error(
            self.f, self.x, act_in=self.before, act_out=act_out or self.after, samples=_SAMPLES,
            generator=torch.Generator().manual_seed(self.seed), **options,
        )  # fmt: skip

    @cached_property
    def nearby(self) -> Nearby | None:
        """Errors near the identity; None where a smooth one would drown in rounding.

        The distance is the smallest of a few at which a smooth error, falling in proportion to
        it, still stands out. None, too, for discrete groups, and under a law of the user's, to
        which elements near the identity need not belong.
        """
        if not self.group.dim or self.law is not None or not self.error > self.level:
            return None
        radius = self.report.radius[torch.isfinite(self.report.radius)]
        typical = max(1.0, float(radius.median())) if len(radius) else 1.0
        for distance in _STEPS:
            expected = distance * self.error / typical
            if expected > _RESOLVED * self.rounding:
                found = self.measured(law=NearElement(self.group, distance))
                nothing = max(self.rounding, 0.01 * expected)
                errors = found.errors(output=self.output)
                return Nearby(distance, expected, errors, nothing)
        return None


@dataclass(frozen=True)
class NearElement(Sampler):
    """Elements at one distance from a centre, in random directions.

    Args:
        group: The group.
        distance: In the coordinates of the algebra.
        centre: Element, shape (n, n); None for the identity.
    """

    group: Group
    distance: float
    centre: Tensor | None = None

    def special_elements(self) -> dict[str, Matrix]:
        """None: only what is drawn counts."""
        return {}

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        """Independent elements, every weight 1."""
        x = torch.randn((*batch, self.group.dim), generator=generator, dtype=torch.float64)
        g = self.group.exp(self.distance * x / x.norm(dim=-1, keepdim=True))
        g = g if self.centre is None else self.centre @ g
        return Weighted(g, torch.ones(batch, dtype=torch.float64))


@dataclass(frozen=True)
class Dropping(Sampler):
    """Elements of another law with one kind of motion dropped.

    Args:
        group: The group.
        drop: Maps elements into the subgroup that is left.
        law: Of the elements before; None for the group's own, of spread ``scale``.
        scale: See :meth:`Group.sample`.
    """

    group: Group
    drop: Callable[[Matrix], Matrix]
    law: Sampler | None = None
    scale: float = 1.0

    def special_elements(self) -> dict[str, Matrix]:
        """None: only what is drawn counts."""
        return {}

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        """Independent elements, with the weights of the law."""
        if self.law is None:
            g = self.group.sample(*batch, generator=generator, scale=self.scale)
            return Weighted(self.drop(g), torch.ones(batch, dtype=torch.float64))
        drawn = self.law.draw(*batch, generator=generator)
        return Weighted(self.drop(drawn.elements), drawn.weights)
