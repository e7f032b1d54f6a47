"""Why is my equivariance error so large? A verdict, and what speaks for each usual cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import torch

from equivariant.measure.diagnosis.causes import Finding, causes_of
from equivariant.measure.diagnosis.examined import ABOVE, Examined
from equivariant.measure.diagnosis.proof import one_draw_proves
from equivariant.measure.error.caveats import Caveat, Concern
from equivariant.measure.error.equivariance_error import equivariance_error
from equivariant.measure.error.floor import (
    LEAST,
    Floor,
    Twin,
    float64_twin,
    floor_of_outputs,
    least_rounding,
)
from equivariant.measure.error.report import EquivarianceReport
from equivariant.measure.error.state_changes import kept_state
from equivariant.measure.error.statistics import Estimate
from equivariant.measure.motions.declared import claimed
from equivariant.tree import widened

_TWIN_SAMPLES = 16
_FAR = 10.0  # a single draw counts where it exceeds the level by this factor
_NOTHING = 1e-2  # a floor above which, in any dtype, no verdict is worth its name
_CONDITION = 1e4  # and in units of √rounding: 1.5e-4 in float64
_LOST = 1e3  # units of rounding from which on a floor is worth a word


class Verdict(StrEnum):
    """What a measurement allows to say."""

    EQUIVARIANT = "equivariant up to rounding"
    NOT_EQUIVARIANT = "not equivariant"
    UNDECIDED = "undecided: more items or samples are needed"
    RANDOM = "random: two evaluations at one input differ"
    NOT_FINITE = "not finite: nothing can be said"
    ROUNDING = "rounding alone changes this output: nothing can be said"


_GRAVITY = (
    Verdict.EQUIVARIANT, Verdict.UNDECIDED, Verdict.ROUNDING, Verdict.NOT_EQUIVARIANT,
    Verdict.RANDOM, Verdict.NOT_FINITE,
)  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """A verdict for the output about which the gravest can be said, and likely causes.

    Args:
        verdict: What can be said.
        output: Which output it is about.
        report: The measurement.
        floor: What an ideal map would show; NaN where numbers are not finite.
        findings: Likely causes, the surest first; empty where nothing is wrong.
        true: For a module in less than float64, the error of the same weights in float64, on
            which the verdict then rests: it is that of the map, without its rounding.
        caveats: What limits the verdict: those of the report, ill-conditioned outputs, and why
            there is no copy in float64 where there should be one.
        allowed: The floor that the verdict rests on: that of the copy in float64 where there is
            one, at least a unit of single precision, else that of the map itself.
    """

    verdict: Verdict
    output: str
    report: EquivarianceReport
    floor: Floor
    findings: list[Finding]
    true: Estimate | None = None
    caveats: tuple[Caveat, ...] = ()
    allowed: float = float("nan")

    def __str__(self) -> str:
        given = f"{self.report.estimate(output=self.output)}, floor {self.floor.value:.1e}"
        true = "" if self.true is None else f"; in float64 {self.true}, floor {self.allowed:.1e}"
        lines = [
            f"{self.verdict.value}: relative error {given}{true}",
            *(f"- {finding}" for finding in self.findings),
            *(f"! {caveat}" for caveat in self.caveats),
        ]
        return "\n".join(lines)


def diagnose(
    f: Callable[..., Any],
    x: Any,
    *,
    act_in: Any = None,
    act_out: Any = None,
    report: EquivarianceReport | None = None,
    seed: int = 0,
    **options: Any,
) -> Diagnosis:
    """Measure a map, compare it with the numerical floor, and look for the usual causes.

    A map is not equivariant where the interval of its mean error lies above three times the
    floor, or where a single drawn or special element shows more than thirty times the floor and
    ten times what one unit of rounding changes at that very element. It is equivariant where
    the interval, or every draw, lies below. Nothing is said where numbers are not finite, and
    where rounding alone moves the output by more than 1 % (1.5e-4 in float64).

    A module in less than float64 is judged by its copy in float64, by the copy's own rounding or
    one unit of single precision: otherwise low precision would hide an error that is the map's.

    Looked for: training mode, items that influence one another, randomness, an action that moves
    at the identity, outputs that turn the other way, invariance instead of equivariance, broken
    parity, translations or factors of a product alone, hard choices (neighbour limits, sorting)
    that make the error jump, half turns, smooth errors that no precision removes (grids,
    interpolation).

    Args:
        f: The map.
        x: One batch of inputs (no iterator).
        act_in: Action on x. None for both actions takes those that f declares, and its law where
            ``law`` is not given, as ``equivariance_error`` does.
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
    claim = claimed(f, x, act_in=act_in, act_out=act_out, law=options.get("law"))
    model, f, options = f, claim.f, {**options, "law": claim.law}
    actions = {"act_in": claim.act_in, "act_out": claim.act_out}
    if report is None:
        report = equivariance_error(f, x, **actions, generator=_seeded(seed), **options)
    if not report.finite:
        output = max(report.outputs, key=lambda name: not report.value(output=name) >= 0)
        nothing = Floor(float("nan"))
        return Diagnosis(Verdict.NOT_FINITE, output, report, nothing, [], None, report.caveats)
    kept = {k: v for k, v in options.items() if k in ("group", "scale", "law", "differentiates")}
    with kept_state(model):
        return _diagnosed(f, x, {**actions, **kept}, report, seed)


@dataclass(frozen=True)
class _Judged:
    """What a verdict rests on: the map as it is, or its copy in float64."""

    f: Callable[..., Any]
    x: Any
    report: EquivarianceReport
    floors: dict[str, Floor]  # what a verdict allows for
    own: dict[str, float]  # rounding in the dtype of the report


def _diagnosed(
    f: Callable[..., Any], x: Any, claim: dict[str, Any], report: EquivarianceReport, seed: int
) -> Diagnosis:
    floors = _quiet(floor_of_outputs(f, x, **claim), report)
    own = {name: floor.rounding for name, floor in floors.items()}
    given = _Judged(f, x, report, floors, own)
    judged = given
    caveats: tuple[Caveat, ...] = ()
    if not any(_random(report, name) for name in report.outputs):
        judged, caveats = _twin_judged(given, claim, seed)
    verdicts = {
        name: Verdict.RANDOM
        if _random(report, name) or _random(judged.report, name)
        else _verdict(judged, claim, name, seed)
        for name in report.outputs
    }
    output = max(
        report.outputs,
        key=lambda name: (_GRAVITY.index(verdicts[name]), judged.report.value(output=name)),
    )
    verdict, floor = verdicts[output], floors[output]
    findings = []
    if verdict in (Verdict.NOT_EQUIVARIANT, Verdict.RANDOM, Verdict.UNDECIDED):
        examined = Examined(
            judged.f, judged.x, claim["act_in"], claim["act_out"], report=judged.report,
            floor=judged.floors[output], own=judged.own[output], dtype=report.dtype,
            output=output, seed=seed,
            options={k: v for k, v in claim.items() if k not in ("act_in", "act_out")},
        )  # fmt: skip
        findings = causes_of(examined)
    true = None if judged is given else judged.report.estimate(output=output)
    limits = (*report.caveats, *caveats, *_ill_conditioned(floors, report))
    allowed = judged.floors[output].value
    return Diagnosis(verdict, output, report, floor, findings, true, limits, allowed)


def _twin_judged(
    given: _Judged, claim: dict[str, Any], seed: int
) -> tuple[_Judged, tuple[Caveat, ...]]:
    """The copy in float64 in place of a module in less; or why there is none."""
    twin = float64_twin(given.f, given.x)
    if twin.module is None:
        return given, _no_twin(twin)
    x = widened(given.x)
    try:
        report = equivariance_error(
            twin.module, x, **claim, samples=min(_TWIN_SAMPLES, given.report.radius.shape[1]),
            generator=_seeded(seed),
        )  # fmt: skip
        rounding = _quiet(floor_of_outputs(twin.module, x, **claim), report)
    except Exception as error:  # at moved inputs, where the copy had not been tried
        first = (str(error).splitlines() or [""])[0]
        reason = f"the copy fails at moved inputs with {type(error).__name__}: {first[:80]}"
        return given, _no_twin(Twin(None, reason))
    if not report.finite:
        return given, _no_twin(Twin(None, "the copy's outputs are not finite"))
    unit = min(_unit(given.report), torch.finfo(torch.float32).eps)
    own = {name: floor.rounding for name, floor in rounding.items()}
    floors = {
        name: replace(given.floors[name], rounding=max(unit, own[name])) for name in given.floors
    }
    return _Judged(twin.module, x, report, floors, own), ()


def _quiet(floors: dict[str, Floor], report: EquivarianceReport) -> dict[str, Floor]:
    """Floors as measured, but of random outputs, where that is their noise, the least."""
    least = least_rounding(_unit(report))
    return {
        name: replace(floor, rounding=least) if _random(report, name) else floor
        for name, floor in floors.items()
    }


def _no_twin(twin: Twin) -> tuple[Caveat, ...]:
    return (Caveat(Concern.PRECISION, twin.reason),) if twin.reason else ()


def _random(report: EquivarianceReport, output: str) -> bool:
    error = report.value(output=output)
    return report.repeat[output] > max(ABOVE * least_rounding(_unit(report)), 0.1 * error)


def _unit(report: EquivarianceReport) -> float:
    return float(torch.finfo(getattr(torch, report.dtype)).eps)


def _verdict(judged: _Judged, claim: dict[str, Any], output: str, seed: int) -> Verdict:
    report, floor = judged.report, judged.floors[output]
    estimate, level = report.estimate(output=output), ABOVE * floor.value
    unit = _unit(report)  # in half precision inner steps may lose a few
    broken = max(level, ABOVE * min(LEAST * unit, 4 * least_rounding(unit)))
    low = estimate.value if estimate.low != estimate.low else estimate.low
    high = estimate.value if estimate.high != estimate.high else estimate.high
    if low > broken or one_draw_proves(
        judged.f, judged.x, report, output=output, level=min(_FAR * broken, 1.0), factor=_FAR,
        seed=seed, **claim,
    ):  # fmt: skip
        return Verdict.NOT_EQUIVARIANT
    if floor.rounding > min(_NOTHING, _CONDITION * unit**0.5):
        return Verdict.ROUNDING
    sound = high <= level or report.value("worst", output=output) <= level
    return Verdict.EQUIVARIANT if sound else Verdict.UNDECIDED


def _ill_conditioned(floors: dict[str, Floor], report: EquivarianceReport) -> list[Caveat]:
    unit = _unit(report)
    return [
        Caveat(
            Concern.CANCELLATION,
            f"one unit changes {repr(name) if name else 'f(x)'} by {floor.rounding / unit:.0e} "
            f"units: errors below {ABOVE * floor.rounding:.0e} cannot be seen",
        )
        for name, floor in floors.items()
        if floor.rounding > _LOST * unit
    ]


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
