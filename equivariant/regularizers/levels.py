"""Which symmetries hold in a trained model and how far others are broken: one table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from scipy.special import stdtrit
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.shapes import Float

Verdict = Literal["holds", "broken", "unclear", "empty"]


@dataclass(frozen=True)
class Level:
    """How far one symmetry is broken.

    Args:
        group: Its name.
        level: Share of the weights that breaks it, over the share of random weights: 0 where it
            is exact, 1 where weights know nothing of it.
        low: Lower end of the interval.
        high: Upper end.
        verdict: "holds" where all of the interval is at most ``tolerance``, "broken" where all of
            it is above, "unclear" between; "empty" for a group that demands nothing.
        ratio: The level over the smallest one of the table.
    """

    group: str
    level: float
    low: float
    high: float
    verdict: Verdict
    ratio: float


@dataclass(frozen=True)
class Levels:
    """A table of levels, by group in the order of the candidates.

    Args:
        rows: One per candidate.
        tolerance: The level that separates "holds" from "broken".
        confidence: Of the intervals.
        over: What the intervals are over: "layers" of one model, or "seeds".
    """

    rows: tuple[Level, ...]
    tolerance: float
    confidence: float
    over: str

    def __getitem__(self, group: str) -> Level:
        """The row of a group by its name.

        Raises:
            KeyError: No candidate has this name.
        """
        for row in self.rows:
            if row.group == group:
                return row
        raise KeyError(group)

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the groups that hold."""
        return tuple(row.group for row in self.rows if row.verdict == "holds")

    @property
    def ordered(self) -> tuple[str, ...]:
        """Names of all groups that demand something, from the one broken least."""
        kept = [row for row in self.rows if row.verdict != "empty"]
        return tuple(row.group for row in sorted(kept, key=lambda row: row.level))

    def as_dict(self) -> dict[str, dict[str, float | str]]:
        """Plain numbers for JSON, by group."""
        return {
            row.group: {"level": row.level, "low": row.low, "high": row.high,
                        "verdict": row.verdict, "ratio": row.ratio}
            for row in self.rows
        }  # fmt: skip

    def __str__(self) -> str:
        width = max([5, *(len(row.group) for row in self.rows)])
        share = f"{100 * self.confidence:.0f} % over {self.over}"
        lines = [f"{'group':<{width}}  {'level':>8}  {share:>21}  verdict"]
        for row in self.rows:
            interval = f"{row.low:.1e} to {row.high:.1e}"
            lines.append(f"{row.group:<{width}}  {row.level:>8.1e}  {interval:>21}  {_said(row)}")
        return "\n".join(lines)


def _said(row: Level) -> str:
    if row.verdict == "empty":
        return "demands nothing of these layers"
    if row.verdict == "broken":
        return f"broken, {100 * row.level:.2g} % of random weights"
    return row.verdict


def levels_of_tables(
    tables: Sequence[Float[Tensor, "layers groups"]],
    names: Sequence[str],
    *,
    tolerance: float,
    confidence: float,
) -> Levels:
    """The levels of one model, or of several that were trained with different seeds.

    A model's level is the mean over its layers; layers of which a group demands nothing are left
    out. Intervals of one model are percentiles of bootstrap means over its layers; of several
    models Student's for the mean of the logarithms of their levels, of which those below a
    hundredth of the tolerance count as that, widened to hold the level.

    Args:
        tables: Scale-free penalties per layer and group, NaN where a group demands nothing; one
            table per model.
        names: Of the groups.
        tolerance: Above 0.
        confidence: In (0, 1).

    Raises:
        ConventionError: No table, or a number out of range.
    """
    if not tables or not 0 < confidence < 1 or not tolerance > 0:
        raise ConventionError(
            expected="at least one model, a confidence in (0, 1) and a tolerance above 0",
            got=f"{len(tables)} models, {confidence}, {tolerance}", argument="tolerance",
            advice="0.95 and 0.01 are usual.",
        )  # fmt: skip
    found = []
    for g, name in enumerate(names):
        each = [column[~column.isnan()] for column in (table[:, g].double() for table in tables)]
        if any(len(column) == 0 for column in each):
            found.append((name, math.nan, math.nan, math.nan))
            continue
        means = torch.stack([column.mean() for column in each])
        low, high = (
            _bootstrap(each[0], confidence)
            if len(means) == 1
            else _student(means.clamp(min=0.01 * tolerance), confidence)
        )
        level = float(means[0]) if len(means) == 1 else float(_log(means).mean().exp())
        found.append((name, level, min(low, level), max(high, level)))
    least = min((level for _, level, _, _ in found if level == level), default=math.nan)
    rows = [
        Level(name, level, low, high, _verdict(low, high, tolerance), _ratio(level, least))
        for name, level, low, high in found
    ]
    over = "layers" if len(tables) == 1 else f"{len(tables)} seeds"
    return Levels(tuple(rows), tolerance, confidence, over)


def _verdict(low: float, high: float, tolerance: float) -> Verdict:
    if low != low:
        return "empty"
    if high <= tolerance:
        return "holds"
    return "broken" if low > tolerance else "unclear"


def _ratio(level: float, least: float) -> float:
    return level / least if least > 0 else (1.0 if level == least else math.inf)


def _bootstrap(column: Tensor, confidence: float) -> tuple[float, float]:
    """Percentiles of means of layers drawn with replacement, with a seed of their own."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(column), (2000, len(column)), generator=generator)
    means = column.cpu()[drawn].mean(1)
    ends = torch.tensor([0.5 * (1 - confidence), 0.5 * (1 + confidence)], dtype=torch.float64)
    low, high = torch.quantile(means, ends).tolist()
    return low, high


def _log(levels: Tensor) -> Tensor:
    return levels.clamp(min=1e-30).log()


def _student(levels: Tensor, confidence: float) -> tuple[float, float]:
    logs = _log(levels)
    quantile = float(stdtrit(len(logs) - 1, 0.5 * (1 + confidence)))
    reach = float(logs.std()) / len(logs) ** 0.5 * quantile
    middle = float(logs.mean())
    return math.exp(middle - reach), math.exp(middle + reach)
