"""The usual causes of an equivariance error, and the question that finds each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.groups import O3, SE3, SO3, Group, Sampler, Weighted
from equivariant.measure.equivariance_report import EquivarianceReport
from equivariant.measure.error import equivariance_error
from equivariant.measure.floor import Floor
from equivariant.measure.motion import FunctionMotion, Motion, TreeMotion, as_motion, common_group
from equivariant.measure.table import compare, relative_error
from equivariant.measure.tree import call, rebuild

ABOVE = 3.0  # an error counts where it exceeds the floor by this factor
_NEAR = 1e-3  # rad or unit of length: small enough for a smooth map to move little
_SINGLE = 1e-6  # what constants in single precision leave in a float64 map
_SAMPLES = 8


@dataclass(frozen=True)
class Finding:
    """A likely cause.

    Args:
        cause: What seems to be wrong.
        evidence: The numbers that say so.
        advice: What to do.
    """

    cause: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.cause} ({self.evidence}). {self.advice}"


class Examined:
    """A map with an error, asked one question after another."""

    def __init__(
        self,
        f: Callable[..., Any],
        x: Any,
        act_in: Any,
        act_out: Any,
        report: EquivarianceReport,
        floor: Floor,
        output: str,
        seed: int,
        options: dict[str, Any],
    ) -> None:
        self.f, self.x, self.options = f, x, options
        self.before = as_motion(act_in, options.get("group"))
        self.after = as_motion(act_out, options.get("group"))
        self.group = common_group(self.before, self.after)
        self.report, self.output, self.seed = report, output, seed
        self.level = ABOVE * floor.value
        self.rounding = ABOVE * floor.rounding
        self.error = report.value(output=output)
        self.interpolates = floor.reference is not None

    def findings(self) -> list[Finding]:
        """Every question that has an answer; the vaguer ones if the others have none."""
        certain = (
            self._training, self._coupling, self._randomness, self._identity, self._inverse,
            self._invariance, self._parity, self._translations,
        )  # fmt: skip
        found = [question() for question in certain]
        if not any(found):  # else these would only repeat it
            found = [question() for question in (self._jumps, self._half_turns, self._smooth)]
        return [finding for finding in found if finding is not None]

    def _training(self) -> Finding | None:
        if not isinstance(self.f, nn.Module):
            return None
        kinds = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
        names = [n for n, m in self.f.named_modules() if isinstance(m, kinds) and m.training]
        if not names:
            return None
        return Finding(
            "layers are in training mode", f"{', '.join(names[:4])}", "Call model.eval() first."
        )

    def _coupling(self) -> Finding | None:
        items = self.before.items(self.x)
        if items < 2 or not isinstance(self.before, TreeMotion):
            return None
        half = items // 2
        first = rebuild(self.x, lambda _, leaf: _rows(leaf, items, half))
        with torch.set_grad_enabled(self.options.get("differentiates", False)):
            alone = self.after.parts(call(self.f, first))[self.output].tensor.detach()
            together = self.after.parts(call(self.f, self.x))[self.output].tensor.detach()[:half]
        difference = _relative(alone, together)
        if difference <= max(self.level, 0.01 * self.error):
            return None
        return Finding(
            "items of a batch influence one another",
            f"half the batch alone changes its outputs by {difference:.1e}",
            "Batch statistics or a reduction over the batch axis: use evaluation mode, or "
            "measure with one item per batch.",
        )

    def _randomness(self) -> Finding | None:
        repeat = self.report.repeat[self.output]
        if repeat <= 0.1 * self.error:
            return None
        return Finding(
            "the map is random", f"repeat error {repeat:.1e}",
            "Dropout, sampling or atomics on a GPU: fix the seed inside the map, or switch them "
            "off.",
        )  # fmt: skip

    def _identity(self) -> Finding | None:
        error = self.report.special.get("identity", {}).get(self.output, 0.0)
        if error <= max(self.level, 0.1 * self.error):
            return None
        return Finding(
            "the error is there at the identity", f"{error:.1e} for g = 1",
            "The map is random, or an action does not leave things alone where it should.",
        )  # fmt: skip

    @cached_property
    def _stays(self) -> bool:
        """Whether the declared action leaves outputs alone, so that which way says nothing."""
        g = self.group.sample(generator=torch.Generator().manual_seed(self.seed))
        with torch.set_grad_enabled(self.options.get("differentiates", False)):
            y = call(self.f, self.x)
        before = self.after.parts(y)[self.output].tensor
        moved = self.after.parts(self.after.move(g.to(before.device), y))[self.output].tensor
        return bool(torch.equal(moved, before))

    def _inverse(self) -> Finding | None:
        if self._stays:
            return None
        turned_back = FunctionMotion(
            lambda g, y: self.after.move(self.group.inverse(g), y), self.group,
            batched=self.after.batched,
        )  # fmt: skip
        error = self._again(act_out=turned_back)
        if not self._explains(error):
            return None
        return Finding(
            "outputs turn the other way", f"{error:.1e} with g⁻¹ on the output",
            "Rows against columns: a rotation is transposed somewhere, in the map or in an "
            "action (elements act on columns, x ↦ R x).",
        )  # fmt: skip

    def _invariance(self) -> Finding | None:
        if self._stays:
            return None
        error = self._again(
            act_out=FunctionMotion(lambda g, y: y, self.group, batched=self.after.batched)
        )
        if not self._explains(error):
            return None
        return Finding(
            "outputs hardly turn", f"{error:.1e} against invariance",
            "Declare Trivial on the output, or look for the step that forgets the frame.",
        )  # fmt: skip

    def _parity(self) -> Finding | None:
        if self.group != O3():
            return None
        error = self._again(law=_Part(self.group, SO3()))
        if not self._explains(error):
            return None
        return Finding(
            "reflections alone break it", f"{error:.1e} for rotations",
            "A pseudovector or pseudoscalar is declared with the other parity, or the map tells "
            "left from right.",
        )  # fmt: skip

    def _translations(self) -> Finding | None:
        if self.group != SE3():
            return None
        turning = self._again(law=_Part(self.group, SO3()))
        if not self._explains(turning):
            return None
        return Finding(
            "translations alone break it", f"{turning:.1e} for rotations about the origin",
            "The map sees absolute coordinates: subtract the centre, or use differences.",
        )  # fmt: skip

    def _jumps(self) -> Finding | None:
        if self.group.dim == 0 or self.error <= self.level or self.options.get("law"):
            return None  # elements near the identity need not belong to a law of the user's
        near = self._measure(law=_Near(self.group))
        exact = float((near.errors(output=self.output) <= self.rounding).double().mean())
        far = float((self.report.errors(output=self.output) <= self.rounding).double().mean())
        if exact < 0.5 or exact <= far:
            return None
        return Finding(
            "the error jumps",
            f"{exact:.0%} of elements within {_NEAR:g} of the identity show none, {far:.0%} of "
            "all do",
            "A hard choice that depends on the pose: a limit on the number of neighbours, ties, "
            "sorting, argmax, a frame whose sign flips.",
        )

    def _half_turns(self) -> Finding | None:
        turns = {
            name: found[self.output]
            for name, found in self.report.special.items()
            if name.startswith("half turn")
        }
        worst = max(turns.values(), default=0.0)
        if worst <= max(self.level, 10 * self.error):
            return None
        name = max(turns, key=lambda key: turns[key])
        return Finding(
            "a half turn is worse than all else", f"{worst:.1e} at {name}, {self.error:.1e} else",
            "A logarithm, an angle or a quaternion's sign is taken there.",
        )  # fmt: skip

    def _smooth(self) -> Finding | None:
        if self.report.dtype != "float64" or self.error <= self.level or not self.group.dim:
            return None
        if self.options.get("law"):
            return None
        near = self._measure(law=_Near(self.group))
        if float(near.errors(output=self.output).median()) <= self.rounding:
            return None
        if self.interpolates:
            cause, advice = "interpolation", "Compare with the floor, and mask the frame."
        elif self.error < _SINGLE:
            cause = "an error of the size of single precision, in float64"
            advice = "A table, a constant or a cast inside the map is in float32."
        else:
            cause = "a smooth error that no precision removes"
            advice = (
                "A layer that is not constrained (`attribute` finds it), or a grid, quadrature "
                "or series too coarse for its degree: refine it and see whether the error falls."
            )
        return Finding(cause, f"{self.error:.1e} in float64", advice)

    def _explains(self, error: float) -> bool:
        """Whether an error under a changed assumption is so small that the change is the cause."""
        return error <= 0.1 * self.error or error <= self.level < self.error / 3

    def _again(self, *, act_out: Motion | None = None, law: Any = None) -> float:
        """The relative error under one changed assumption."""
        return self._measure(act_out=act_out, law=law).value(output=self.output)

    def _measure(self, *, act_out: Motion | None = None, law: Any = None) -> EquivarianceReport:
        options = dict(self.options)
        if law is not None:
            options["law"] = law
        return equivariance_error(
            self.f, self.x, act_in=self.before, act_out=act_out or self.after, samples=_SAMPLES,
            generator=torch.Generator().manual_seed(self.seed), **options,
        )  # fmt: skip


@dataclass(frozen=True)
class _Near(Sampler):
    """Elements at a small distance from the identity, in random directions."""

    group: Group

    def special_elements(self) -> dict[str, Tensor]:
        return {}

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        x = torch.randn((*batch, self.group.dim), generator=generator, dtype=torch.float64)
        x = _NEAR * x / x.norm(dim=-1, keepdim=True)
        return Weighted(self.group.exp(x), torch.ones(batch, dtype=torch.float64))


@dataclass(frozen=True)
class _Part(Sampler):
    """Elements of SO(3) inside a larger group: rotations about the origin."""

    group: Group
    rotations: SO3

    def special_elements(self) -> dict[str, Tensor]:
        return {}

    def draw(self, *batch: int, generator: torch.Generator) -> Weighted:
        g = self.group.identity(*batch)
        g[..., :3, :3] = self.rotations.sample(*batch, generator=generator)
        return Weighted(g, torch.ones(batch, dtype=torch.float64))


def _rows(leaf: Any, items: int, half: int) -> Any:
    batched = isinstance(leaf, Tensor) and leaf.ndim > 0 and leaf.shape[0] == items
    return leaf[:half] if batched else leaf


def _relative(a: Tensor, b: Tensor) -> float:
    numbers = compare(a, b, mask=None, item_of_row=None, items=len(a))
    return float(relative_error(numbers).max())
