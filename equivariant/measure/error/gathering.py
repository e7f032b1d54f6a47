"""Collects the numbers of a measurement, batch by batch, without keeping outputs."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.measure.error.caveats import Watch
from equivariant.measure.error.metrics import metric, relative
from equivariant.measure.error.report import EquivarianceReport
from equivariant.measure.error.running_variance import Orbit, Spread, rows_of
from equivariant.measure.error.statistics import estimate_mean
from equivariant.measure.error.table import ErrorTable, compare, compare_logits, relative_error
from equivariant.measure.motions.motion import Motion, Part
from equivariant.tree import detached, widened


@dataclass(frozen=True)
class Settings:
    """What one measurement does; see :func:`equivariance_error`."""

    samples: int
    target: float | None
    confidence: float
    scale: float
    logits: bool
    orbit_variance: bool
    differentiates: bool
    progress: bool

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConventionError(
                expected="at least one sample",
                got=str(self.samples),
                argument="samples",
                advice="32 gives a fair interval for a few dozen items.",
            )
        if self.target is not None and not self.target > 0:
            raise ConventionError(
                expected="a positive half-width",
                got=str(self.target),
                argument="target",
                advice="Leave it out to take all samples.",
            )


class Gathering:
    """Everything that was found so far.

    Args:
        group: The group.
        crossed: Whether all items of a batch are moved by one element.
        confidence: Level of intervals.
    """

    def __init__(self, group: Group, *, crossed: bool, confidence: float) -> None:
        self.group, self.crossed, self.confidence = group, crossed, confidence
        self.special: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.repeat: dict[str, float] = defaultdict(float)
        self.worst: dict[str, tuple[float, Tensor]] = {}
        self.spread: dict[str, Spread] = defaultdict(Spread)
        self.watch = Watch()
        self._batches: list[MovedBatch] = []

    def start(self, after: Motion, y: Any, items: int, options: Settings) -> MovedBatch:
        """Begin a batch whose unmoved output is y."""
        batch = MovedBatch(self, after, y, items, options)
        self._batches.append(batch)
        return batch

    def tables(self) -> dict[str, ErrorTable]:
        """What is known of each output, all batches together; the fewest samples count."""
        samples = min(len(batch.weights) for batch in self._batches)
        return {name: self._table(name, samples) for name in self._batches[0].numbers}

    def half_width(self, looks: int) -> float:
        """Half the interval of the mean relative error, of the worst output."""
        confidence = 1 - (1 - self.confidence) / looks
        widths = [
            estimate_mean(
                relative(table), weights=table.weights, crossed=table.crossed,
                confidence=confidence, limits=metric("relative").limits,
            ).half_width
            for table in self.tables().values()
        ]  # fmt: skip
        return math.inf if any(math.isnan(w) for w in widths) else max(widths)

    def report(self, *, dtype: torch.dtype, **facts: Any) -> EquivarianceReport:
        """The report."""
        tables = self.tables()
        worst = {name: g for name, (_, g) in self.worst.items()}
        samples = next(iter(tables.values())).weights.shape[1]
        radius = torch.cat([torch.stack(b.radius[:samples], 1) for b in self._batches])
        return EquivarianceReport(
            group=str(self.group), tables=tables, radius=radius,
            special={label: dict(found) for label, found in self.special.items()},
            repeat=dict(self.repeat), worst=worst, dtype=str(dtype).removeprefix("torch."),
            caveats=self.watch.caveats(tables, worst),
            confidence=self.confidence, **facts,
        )  # fmt: skip

    def _table(self, name: str, samples: int) -> ErrorTable:
        def joined(key: str) -> Tensor:
            return torch.cat(
                [torch.stack([n[key] for n in b.numbers[name][:samples]], 1) for b in self._batches]
            )

        keys = self._batches[0].numbers[name][0]
        variances = [b.orbit_variance[name] for b in self._batches if name in b.orbit_variance]
        weights = torch.cat([torch.stack(b.weights[:samples], 1) for b in self._batches])
        weights = weights * (joined("count") > 0)  # what left the frame says nothing
        if not bool((weights > 0).any()):
            raise ShapeError(
                expected="something to compare",
                got="no entry inside the frame at any element drawn",
                argument=name or "act_out",
                advice="Draw elements that move less, or lower the margin.",
            )
        fields = ("gap", "first", "last", "largest", "total", "excess", "count")
        return ErrorTable(
            **{key: joined(key) for key in fields},
            element=torch.cat([torch.stack(b.element[:samples], 1) for b in self._batches]),
            weights=weights,
            bias=torch.cat([b.bias[name] for b in self._batches]),
            orbit_variance=torch.cat(variances) if variances else None,
            deviation=self.spread[name].deviation,
            logits={key: joined(key) for key in keys if key not in fields},
            crossed=self.crossed,
        )


class MovedBatch:
    """Numbers about one batch; its tensors are given up by :meth:`release`."""

    def __init__(
        self, gathering: Gathering, after: Motion, y: Any, items: int, options: Settings
    ) -> None:
        self.gathering, self.after, self.items, self.options = gathering, after, items, options
        self.numbers: dict[str, list[dict[str, Tensor]]] = {}
        self.radius: list[Tensor] = []
        self.element: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.bias: dict[str, Tensor] = {}
        self.orbit_variance: dict[str, Tensor] = {}
        self._y: Any = detached(y)
        self._parts = after.parts(self._y)
        self._mean: dict[str, Tensor] = {}
        self._orbits: dict[str, Orbit] = {}
        for name, part in self._parts.items():
            self.numbers[name] = []
            rows = items if part.item_of_row is None else len(part.item_of_row)
            if part.tensor.shape[0] != rows:
                raise ShapeError(
                    expected=f"an output with {rows} rows, as there are in the input",
                    got=f"shape {tuple(part.tensor.shape)}",
                    argument=name or "f",
                    advice="f must keep the batch axis first.",
                )
            gathering.spread[name].add(part.tensor)
            gathering.watch.output(name, part, items)

    def repeat(self, y: Any) -> None:
        """A second output at the same input."""
        for name, part in self.after.parts(detached(y)).items():
            numbers = self._compare(part.tensor, self._parts[name], None)
            known = self.gathering.repeat
            known[name] = larger(known[name], largest(numbers))

    def special(self, label: str, g: Tensor, y: Any) -> None:
        """The output at g·x for an element that was not drawn."""
        right = self._right(g)
        for name, part in self.after.parts(detached(y)).items():
            mask = self.after.mask(g.to(part.tensor.device), name)
            error = largest(self._compare(part.tensor, right[name], mask))
            known = self.gathering.special[label]
            known[name] = larger(known[name], error)
            if math.isnan(error):
                self.gathering.watch.output(name, part, self.items, at=label)

    def add(self, g: Tensor, weights: Tensor, y: Any) -> None:
        """The output at g·x for drawn elements, (items, n, n) or (n, n)."""
        right = self._right(g)
        self.weights.append(weights.cpu())
        cpu = g.double().cpu()
        each = cpu.expand(self.items, *cpu.shape[-2:])
        self.radius.append(_radius(self.gathering.group, each))
        eye = torch.eye(cpu.shape[-1], dtype=torch.float64)
        self.element.append((each - eye).square().mean((-2, -1)).sqrt())
        moved_back = (
            self.after.parts(self.after.move(self.gathering.group.inverse(g), detached(widened(y))))
            if self.options.orbit_variance
            else {}
        )
        for name, part in self.after.parts(detached(y)).items():
            mask = self.after.mask(g.to(part.tensor.device), name)
            numbers = self._compare(part.tensor, right[name], mask)
            if self.options.logits:
                numbers.update(self._logits(part.tensor, right[name].tensor))
            self.numbers[name].append(numbers)
            self._note_worst(name, numbers, each)
            self.gathering.watch.moved(name, part)
            self._add_mean(name, part, right[name], mask, weights)
            if name in moved_back:
                orbit = self._orbits.setdefault(name, Orbit())
                orbit.add(moved_back[name], weights)

    def reduce(self) -> None:
        """Numbers per item of what was summed so far."""
        total = torch.stack(self.weights).sum(0)
        for name, part in self._parts.items():
            mean = self._mean[name] / rows_of(total.to(self._mean[name]), part, self._mean[name])
            numbers = compare(
                mean, torch.zeros_like(mean), mask=None, item_of_row=part.item_of_row,
                items=self.items,
            )  # fmt: skip
            self.bias[name] = numbers["gap"]
            if name in self._orbits:
                self.orbit_variance[name] = self._orbits[name].variance(part, self.items)

    def release(self) -> None:
        """Give up the batch's tensors; its numbers stay."""
        self.reduce()
        self._y = None
        self._parts, self._mean, self._orbits = {}, {}, {}

    def _right(self, g: Tensor) -> dict[str, Part]:
        return self.after.parts(self.after.move(g, widened(self._y)))

    def _compare(self, left: Tensor, right: Part, mask: Tensor | None) -> dict[str, Tensor]:
        if left.shape != right.tensor.shape:
            raise ShapeError(
                expected=f"f(g·x) of the shape of f(x), {tuple(right.tensor.shape)}",
                got=f"shape {tuple(left.shape)}",
                argument="f",
                advice="Outputs whose size depends on the pose cannot be compared.",
            )
        return compare(
            left, right.tensor, mask=mask, item_of_row=right.item_of_row, items=self.items
        )

    def _logits(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        if left.ndim != 2 or left.shape[1] < 2:
            raise ShapeError(
                expected="logits of shape (items, classes), at least two classes",
                got=f"shape {tuple(left.shape)}",
                argument="f",
                advice="logits=True is for classifiers.",
            )
        return compare_logits(left, right)

    def _note_worst(self, name: str, numbers: dict[str, Tensor], g: Tensor) -> None:
        errors = relative_error(numbers).nan_to_num(nan=math.inf)  # what is not finite is worst
        k = int(errors.argmax())
        if name not in self.gathering.worst or float(errors[k]) > self.gathering.worst[name][0]:
            self.gathering.worst[name] = (float(errors[k]), g[k].clone())

    def _add_mean(
        self, name: str, part: Part, right: Part, mask: Tensor | None, weights: Tensor
    ) -> None:
        difference = part.tensor.double() - right.tensor.double()
        if mask is not None:
            difference = difference * mask
        difference = difference * rows_of(weights.to(difference), right, difference)
        self._mean[name] = self._mean[name] + difference if name in self._mean else difference


def larger(a: float, b: float) -> float:
    """The larger of two numbers; NaN if one of them is."""
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def largest(numbers: dict[str, Tensor]) -> float:
    """Largest relative error over items."""
    return float(relative_error(numbers).max())


def _radius(group: Group, g: Tensor) -> Tensor:
    """Distance from the identity; NaN for a batch with an element that has no logarithm."""
    try:
        return group.distance(group.identity(len(g)), g)
    except ConventionError:
        return torch.full((len(g),), math.nan, dtype=torch.float64)
