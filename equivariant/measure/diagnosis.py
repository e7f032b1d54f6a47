"""Why is my equivariance error so large? A verdict, and what speaks for each usual cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

from equivariant.measure.causes import ABOVE, Examined, Finding
from equivariant.measure.equivariance_report import EquivarianceReport
from equivariant.measure.error import equivariance_error
from equivariant.measure.floor import Floor, float64_twin, numerical_floor
from equivariant.measure.statistics import Estimate
from equivariant.measure.tree import widened

_TWIN_SAMPLES = 16


class Verdict(StrEnum):
    """What a measurement allows to say."""

    EQUIVARIANT = "equivariant up to rounding"
    NOT_EQUIVARIANT = "not equivariant"
    UNDECIDED = "undecided: more items or samples are needed"
    RANDOM = "random: two evaluations at one input differ"


@dataclass(frozen=True)
class Diagnosis:
    """A verdict for the output with the largest error, and likely causes.

    Args:
        verdict: What can be said.
        output: Which output it is about.
        report: The measurement.
        floor: What an ideal map would show.
        findings: Likely causes, the surest first; empty where nothing is wrong.
        true: For a module in less than float64, the error of the same weights in float64, on
            which the verdict then rests: it is that of the map, without its rounding.
    """

    verdict: Verdict
    output: str
    report: EquivarianceReport
    floor: Floor
    findings: list[Finding]
    true: Estimate | None = None

    def __str__(self) -> str:
        lines = [
            f"{self.verdict.value}: relative error {self.report.estimate(output=self.output)}, "
            + ("" if self.true is None else f"in float64 {self.true}, ")
            + f"floor {self.floor.value:.1e}",
            *(f"- {finding}" for finding in self.findings),
        ]
        return "\n".join(lines)


def diagnose(
    f: Callable[..., Any],
    x: Any,
    *,
    act_in: Any,
    act_out: Any,
    report: EquivarianceReport | None = None,
    seed: int = 0,
    **options: Any,
) -> Diagnosis:
    """Measure a map, compare it with the numerical floor, and look for the usual causes.

    A module in less than float64 is judged by its copy in float64, against one unit of rounding
    of its own dtype: otherwise low precision would hide an error that is the map's.

    Looked for: training mode, items that influence one another, randomness, an action that moves
    at the identity, outputs that turn the other way, invariance instead of equivariance, broken
    parity or translations alone, hard choices (neighbour limits, sorting) that make the error
    jump, smooth errors that no precision removes (grids, interpolation), rounding.

    Args:
        f: The map.
        x: One batch of inputs (no iterator).
        act_in: Action on x.
        act_out: Action on f(x).
        report: A measurement that exists already.
        seed: Of all elements.
        **options: Of :func:`equivariance_error`.

    Example:
        >>> from equivariant.actions import Points, Vectors
        >>> from equivariant.groups import SE3
        >>> cloud = torch.randn(8, 20, 3, dtype=torch.float64)
        >>> d = diagnose(lambda p: p.mean(1), cloud, act_in=Points(SE3()), act_out=Vectors(SE3()))
        >>> print(d.findings[0].cause)
        translations alone break it
    """
    generator = torch.Generator().manual_seed(seed)
    if report is None:
        report = equivariance_error(
            f, x, act_in=act_in, act_out=act_out, generator=generator, **options
        )
    kept = {k: v for k, v in options.items() if k in ("group", "scale", "law", "differentiates")}
    claim = {"act_in": act_in, "act_out": act_out, **kept}
    floor = numerical_floor(f, x, **claim)
    output = max(report.outputs, key=lambda name: report.value(output=name))
    judged, level, wide = report, floor, float64_twin(f, x)
    if wide is not None:  # the map itself, free of its rounding
        f, x = wide, widened(x)
        judged = equivariance_error(
            f, x, **claim, samples=min(_TWIN_SAMPLES, report.radius.shape[1]),
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        unit = torch.finfo(getattr(torch, report.dtype)).eps
        level = Floor(max(unit, numerical_floor(f, x, **claim).rounding), floor.reference)
    verdict = _verdict(judged, level, output)
    if _random(report, output):
        verdict = Verdict.RANDOM
    examined = Examined(f, x, act_in, act_out, judged, level, output, seed, kept)
    findings = [] if verdict is Verdict.EQUIVARIANT else examined.findings()
    true = None if wide is None else judged.estimate(output=output)
    return Diagnosis(verdict, output, report, floor, findings, true)


def _random(report: EquivarianceReport, output: str) -> bool:
    unit = torch.finfo(getattr(torch, report.dtype)).eps
    error = report.value(output=output)
    return report.repeat[output] > max(ABOVE * 16 * unit, 0.1 * error)


def _verdict(report: EquivarianceReport, floor: Floor, output: str) -> Verdict:
    estimate = report.estimate(output=output)
    level = ABOVE * floor.value
    if _random(report, output):
        return Verdict.RANDOM
    low = estimate.value if estimate.low != estimate.low else estimate.low
    high = estimate.value if estimate.high != estimate.high else estimate.high
    special = max((found[output] for found in report.special.values()), default=0.0)
    if low > level or special > 10 * level:
        return Verdict.NOT_EQUIVARIANT
    return Verdict.EQUIVARIANT if high <= level else Verdict.UNDECIDED
