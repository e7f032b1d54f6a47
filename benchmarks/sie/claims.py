"""One sentence for each claim: reproduced, not reproduced, or unclear at this scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

Record = Mapping[str, Any]
Seeds = Sequence[Mapping[str, Record]]
"""For each seed, the records of its trainings by row."""

# Two-sided 95 % points of Student's distribution by degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def rotation(record: Record, part: str = "all") -> float:
    """R² of the relative rotation, one mean for all components."""
    return float(record["measures"]["parts"][part]["rotation"]["score"]["r2_flat"])


def top1(record: Record, part: str = "all") -> float:
    """Share of held-out views whose class a linear head names."""
    return float(record["measures"]["parts"][part]["classification"]["top1"])


def retrieved(record: Record) -> float:
    """Mean reciprocal rank above its chance level."""
    found = record["measures"]["retrieval"]
    return float(found["mrr"] - found["chance_mrr"])


def color(record: Record, part: str = "all") -> float:
    """R² of the changes of hue."""
    return float(record["measures"]["parts"][part]["color"]["r2"])


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval; the interval is infinite for one value.

    Example:
        >>> interval([1.0, 2.0, 3.0])[0], round(interval([1.0, 2.0, 3.0])[1], 3)
        (2.0, 2.484)
    """
    if len(values) < 2:
        return fmean(values), float("inf")
    point = STUDENT[min(len(values) - 2, len(STUDENT) - 1)]
    return fmean(values), point * stdev(values) / len(values) ** 0.5


def verdict(differences: Sequence[float]) -> str:
    """What differences, positive where a claim holds, say of it.

    Example:
        >>> verdict([0.1, 0.11, 0.12]), verdict([-0.1, 0.1, 0.0]), verdict([-0.2, -0.21, -0.2])
        ('reproduced', 'unclear at this scale', 'not reproduced')
    """
    mean, half = interval(differences)
    if mean - half > 0:
        return "reproduced"
    return "not reproduced" if mean + half < 0 else "unclear at this scale"


Difference = Callable[[Mapping[str, Record]], float]


@dataclass(frozen=True)
class _Over:
    """By how much the score of one row is above that of another."""

    one: str
    other: str
    score: Callable[[Record], float] = rotation

    def __call__(self, rows: Mapping[str, Record]) -> float:
        return self.score(rows[self.one]) - self.score(rows[self.other])

    def is_blind(self, seeds: Seeds) -> bool:
        """Whether the first row is not known to be above the R² of answering the mean."""
        if self.score is not rotation:
            return False
        mean, half = interval([rotation(s[self.one]) - _blind(s[self.one]) for s in seeds])
        return mean - half <= 0


def _blind(record: Record) -> float:
    return float(record["measures"]["parts"]["all"]["rotation"]["score"]["blind_r2_flat"])


CLAIMS: tuple[tuple[str, str, Difference], ...] = (
    *(
        (f"SIE knows rotation better than {title}", "rotation R²", _Over("sie", row))
        for row, title in (
            ("simclr", "SimCLR"), ("vicreg", "VICReg"), ("equimod", "EquiMod"),
            ("random", "random weights"),
        )
    ),
    (
        "SIE's equivariant half knows more of the rotation than its invariant half",
        "rotation R²",
        lambda rows: rotation(rows["sie"], "equivariant") - rotation(rows["sie"], "invariant"),
    ),
    (
        "SIE's predictor does not collapse: it retrieves views better than chance",
        "MRR over chance", lambda rows: retrieved(rows["sie"]),
    ),
    (
        "the hypernetwork reads the element more than an MLP predictor does",
        "sensitivity", lambda rows: rows["sie"]["sensitivity"] - rows["sie_mlp"]["sensitivity"],
    ),
    (
        "SIE's invariant half forgets color that its random encoder knows",
        "color R²", lambda rows: color(rows["random"]) - color(rows["sie"], "invariant"),
    ),
    ("SIE classifies worse than SimCLR", "top-1", _Over("simclr", "sie", top1)),
    ("SimCLR + AugSelf knows rotation as well as SIE or better", "rotation R²",
     _Over("augself", "sie")),
    ("the exact action knows rotation better than SIE", "rotation R²", _Over("exact", "sie")),
    ("the exact action knows rotation better than SimCLR + AugSelf", "rotation R²",
     _Over("exact", "augself")),
    ("the exact action knows rotation better than supervision", "rotation R²",
     _Over("exact", "supervised")),
    ("conditioning on the matrix helps SIE more than on the quaternion", "MRR over chance",
     _Over("sie", "sie_quaternion", retrieved)),
    ("a start gain of 1 helps SIE more than the published one", "MRR over chance",
     _Over("sie", "sie_published_start", retrieved)),
    ("the variance of predictions helps SIE", "MRR over chance",
     _Over("sie", "sie_no_moved_variance", retrieved)),
)  # fmt: skip
"""Sentence, what is compared, and the difference that is positive where the claim holds."""


def sentences(seeds: Seeds) -> list[str]:
    """A line of Markdown for each claim; a rotation that nobody knows reproduces none.

    Args:
        seeds: Records by row, of each seed; every row is there.
    """
    lines = []
    for claim, compared, difference in CLAIMS:
        values = [difference(rows) for rows in seeds]
        mean, half = interval(values)
        found = verdict(values)
        if found == "reproduced" and isinstance(difference, _Over) and difference.is_blind(seeds):
            found = "unclear at this scale"  # knowing nothing, both of them
        spread = f"± {half:.3f}" if half < float("inf") else "(one seed)"
        lines.append(f"- {claim}: **{found}** ({compared}, difference {mean:+.3f} {spread}).")
    return lines
