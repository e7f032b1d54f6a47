"""What a measurement found: numbers with intervals, the worst cases, comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.measure.error.caveats import Caveat
from equivariant.measure.error.metrics import METRICS, metric, relative
from equivariant.measure.error.statistics import (
    Estimate,
    IntervalMethod,
    estimate_mean,
    p_value_above,
    unseen_share,
)
from equivariant.measure.error.table import ErrorTable
from equivariant.runs import write_json


@dataclass(frozen=True)
class Comparison:
    """One map's error minus another's on the same items and elements.

    Args:
        difference: First minus second, with its interval.
        p_value: Two-sided, of "the two means are equal", by Student's t over items.
        ratio: First over second.
    """

    difference: Estimate
    p_value: float
    ratio: float


@dataclass(frozen=True)
class Curve:
    """Error against the distance of the element from the identity.

    Args:
        radius: Mean distance in each bin, ascending.
        estimates: Mean error of each bin with its interval.
    """

    radius: list[float]
    estimates: list[Estimate]


@dataclass(frozen=True)
class EquivarianceReport:
    """Errors of one map under one law of elements, and where they are worst.

    Args:
        group: The group, in words.
        tables: By output (``""`` for a map with one): see :class:`ErrorTable`.
        radius: Distance of each element from the identity, shape (items, samples), float64.
        special: Largest relative error over the items at elements that are looked at besides the
            drawn ones, by name and output: the identity, and for rotations half turns.
        repeat: By output, the relative difference of two evaluations at one input. Where it is
            not far below the error, the map is random and the rest means nothing.
        worst: By output, the drawn element with the largest relative error, shape (n, n).
        dtype: Of the inputs.
        calls: How often the map was called.
        seconds: What the measurement took, without intervals.
        seconds_in_map: How much of it was spent inside the map.
        confidence: Level of all intervals.
        looks: How often a measurement with a target looked whether it may stop; intervals are
            widened by Bonferroni's rule for it.
        caveats: What is not finite, where; inputs that the map alters, state that it changes,
            outputs that are constant.
    """

    group: str
    tables: Mapping[str, ErrorTable]
    radius: Tensor
    special: Mapping[str, Mapping[str, float]]
    repeat: Mapping[str, float]
    worst: Mapping[str, Tensor]
    dtype: str
    calls: int
    seconds: float
    seconds_in_map: float
    confidence: float = 0.95
    looks: int = 1
    caveats: tuple[Caveat, ...] = ()

    @property
    def finite(self) -> bool:
        """Whether all inputs, outputs and errors are finite; if not, nothing can be said."""
        return not any(caveat.forbids for caveat in self.caveats)

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, ``""`` for a map with one."""
        return list(self.tables)

    def errors(self, name: str = "relative", *, output: str | None = None) -> Tensor:
        """Values of a metric, shape (items, samples), for metrics of single draws.

        Args:
            name: A key of ``METRICS``.
            output: Which output; None for the only one.

        Raises:
            ConventionError: There is no such metric or output, or several outputs and none named.
        """
        return metric(name).values(self.table(output))

    def table(self, output: str | None = None) -> ErrorTable:
        """The numbers kept about one output."""
        if output is None and len(self.tables) == 1:
            return next(iter(self.tables.values()))
        if output is None or output not in self.tables:
            raise ConventionError(
                expected=f"one of the outputs {self.outputs}",
                got=repr(output),
                argument="output",
                advice="Name the output that is meant.",
            )
        return self.tables[output]

    def value(self, name: str = "relative", *, output: str | None = None) -> float:
        """A metric as one number."""
        found = metric(name)
        table = self.table(output)
        values = found.values(table)
        if found.reduce == "max":
            return found.transform(float(values.max()))
        weights = table.weights if values.shape == table.weights.shape else torch.ones_like(values)
        return found.transform(float((weights * values).sum() / weights.sum()))

    def estimate(
        self,
        name: str = "relative",
        *,
        output: str | None = None,
        method: IntervalMethod = "studentized",
        generator: torch.Generator | None = None,
    ) -> Estimate:
        """A metric with its confidence interval.

        Args:
            name: A key of ``METRICS`` that is a mean.
            output: Which output; None for the only one.
            method: See :func:`estimate_mean`.
            generator: Of the bootstrap.

        Raises:
            ConventionError: The metric is a maximum: the largest of n draws bounds nothing from
                above. See ``exceeded_share`` and ``worst_case``.
        """
        found = metric(name)
        if found.reduce == "max":
            raise ConventionError(
                expected="a metric that is a mean",
                got=name,
                argument="name",
                advice="A maximum over draws has no interval: use worst_case to search, or "
                "exceeded_share for what the draws allow to say.",
            )
        table = self.table(output)
        values = found.values(table)
        plain = estimate_mean(
            values,
            weights=table.weights if values.shape == table.weights.shape else None,
            crossed=table.crossed,
            confidence=1 - (1 - self.confidence) / self.looks,
            method=method,
            limits=found.limits,
            generator=generator,
        )
        low, high = sorted((found.transform(plain.low), found.transform(plain.high)))
        return replace(plain, value=found.transform(plain.value), low=low, high=high)

    def quantile(self, q: float, name: str = "relative", *, output: str | None = None) -> float:
        """Quantile of a metric over items and elements, weighted as they were drawn."""
        values = self.errors(name, output=output).flatten()
        if bool(values.isnan().any()):
            return math.nan
        weights = self.table(output).weights.flatten()
        order = values.argsort()
        share = weights[order].cumsum(0) / weights.sum()
        return float(values[order][int((share < q).sum().clamp(max=len(order) - 1))])

    def exceeded_share(self, output: str | None = None) -> float:
        """Largest share of draws that can lie above the largest one seen, at the report's level.

        See :func:`unseen_share`; draws are independent items.
        """
        table = self.table(output)
        draws = table.weights.shape[1 if table.crossed else 0]
        return unseen_share(max(1, draws), self.confidence)

    def curve(
        self, name: str = "relative", *, output: str | None = None, bins: int = 8
    ) -> Curve | None:
        """Error against distance from the identity, in bins of equally many draws.

        Args:
            name: A metric of single draws.
            output: Which output; None for the only one.
            bins: At most so many; fewer where draws are few or distances coincide.

        Returns:
            None where distances are not finite or all the same.
        """
        values, table = self.errors(name, output=output), self.table(output)
        known = torch.isfinite(self.radius)
        if values.shape != self.radius.shape or not bool(known.any()):
            return None
        edges = torch.quantile(
            self.radius[known][:1_000_000], torch.linspace(0, 1, bins + 1).double()
        )
        edges = edges.unique()
        if len(edges) < 2:
            return None
        radii, estimates = [], []
        place = torch.bucketize(self.radius, edges[1:-1], right=True)
        for k in range(len(edges) - 1):
            inside = (place == k) & known
            rows = inside.any(1)
            if int(rows.sum()) < 2:
                continue
            weights = table.weights * inside
            estimates.append(
                estimate_mean(
                    values[rows], weights=weights[rows], confidence=self.confidence,
                    method="normal", limits=metric(name).limits,
                )
            )  # fmt: skip
            radii.append(float(self.radius[inside].mean()))
        return Curve(radii, estimates) if radii else None

    def compare(
        self, other: EquivarianceReport, name: str = "relative", *, output: str | None = None
    ) -> Comparison:
        """Whether two maps differ in error, item by item and element by element.

        Args:
            other: Report on the same items, measured with the same elements (the same seed).
            name: A metric of single draws.
            output: Which output; None for the only one.

        Raises:
            ConventionError: The other report saw other elements or another number of items.
        """
        table = self.table(output)
        if self.radius.shape != other.radius.shape or not torch.equal(
            self.radius.nan_to_num(), other.radius.nan_to_num()
        ):
            raise ConventionError(
                expected="a report on the same items and elements",
                got=f"{tuple(other.radius.shape)} draws against {tuple(self.radius.shape)}, or "
                "other elements",
                argument="other",
                advice="Measure both with the same data, samples and seed.",
            )
        ours, theirs = self.errors(name, output=output), other.errors(name, output=output)
        difference = estimate_mean(
            ours - theirs, weights=table.weights, crossed=table.crossed, confidence=self.confidence
        )
        mirrored = replace(difference, value=abs(difference.value))
        base = other.value(name, output=output)
        return Comparison(
            difference=difference,
            p_value=min(1.0, 2 * p_value_above(mirrored, 0.0)) if difference.value else 1.0,
            ratio=self.value(name, output=output) / base if base else float("inf"),
        )

    def lines(self) -> list[tuple[str, ...]]:
        """One row per output: name, mean with interval, median, 99 %, worst, largest, repeat."""
        rows: list[tuple[str, ...]] = []
        for name in self.outputs:
            e = self.estimate(output=name)
            rows.append(
                (
                    name or "output",
                    f"{e.value:.2e}",
                    f"[{e.low:.1e}, {e.high:.1e}]",
                    f"{self.quantile(0.5, output=name):.2e}",
                    f"{self.quantile(0.99, output=name):.2e}",
                    f"{self.value('worst', output=name):.2e}",
                    f"{self.value('max', output=name):.2e}",
                    f"{self.repeat[name]:.0e}",
                )
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tables, for JSON: every metric that this measurement allows."""
        outputs = {}
        for name, table in self.tables.items():
            numbers: dict[str, Any] = {}
            for key, found in METRICS.items():
                try:
                    numbers[key] = (
                        self.value(key, output=name)
                        if found.reduce == "max"
                        else self.estimate(key, output=name)
                    )
                except ConventionError:
                    continue  # a metric that was not asked for
            outputs[name or "output"] = {
                "metrics": numbers,
                "worst_element": self.worst[name].tolist(),
                "repeat": self.repeat[name],
                "special": {at: found[name] for at, found in self.special.items()},
                "crossed": table.crossed,
            }
        return {
            "group": self.group, "dtype": self.dtype, "calls": self.calls,
            "seconds": self.seconds, "seconds_in_map": self.seconds_in_map,
            "confidence": self.confidence, "outputs": outputs,
            "caveats": [str(caveat) for caveat in self.caveats],
        }  # fmt: skip

    def save(self, path: Path) -> None:
        """Write :meth:`to_dict` as JSON, atomically."""
        write_json(path, self.to_dict())

    def __str__(self) -> str:
        text = []
        for name in self.outputs:
            values = relative(self.tables[name])
            radius = float(self.radius.flatten()[int(values.argmax())])
            text.append(
                f"{name + ': ' if name else ''}relative {self.estimate(output=name)} mean, "
                f"{float(values.max()):.2e} worst at radius {radius:.2f}; "
                f"absolute {self.value('max', output=name):.2e} worst; "
                f"repeat {self.repeat[name]:.2e}"
            )
        return "\n".join([*text, *map(str, self.caveats)])
