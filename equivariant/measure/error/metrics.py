"""Every published number of how far a map is from equivariance, from one table.

Write l = f(g·x) and r = g·f(x), n for the entries of an output, ⟨·⟩ for the mean over items and
elements. ``METRICS`` names them all; a report's ``to_dict`` and ``measures.json`` hold every one
that the measurement allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.measure.error.table import ErrorTable, power_of_two, share

_ALLCLOSE_ATOL = 1e-7  # of escnn's check
_SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Metric:
    """A number made of a table.

    Args:
        formula: What it is.
        source: Where it is used.
        values: Table ↦ values, shape (items, samples), (items, 1) or (1, samples).
        reduce: How values become one number.
        transform: Applied to the mean, and to the ends of its interval.
        limits: Smallest and largest value, before ``transform``.
    """

    formula: str
    source: str
    values: Callable[[ErrorTable], Tensor]
    reduce: Literal["mean", "max"] = "mean"
    transform: Callable[[float], float] = float
    limits: tuple[float, float] = (0.0, math.inf)


def metric(name: str) -> Metric:
    """A metric by name.

    Raises:
        ConventionError: There is none of that name.

    Example:
        >>> metric("per").formula
        '⟨|l-r|₂ / (|l|₂ + |r|₂)⟩'
    """
    if name not in METRICS:
        raise ConventionError(
            expected=f"one of {', '.join(METRICS)}",
            got=repr(name),
            argument="metric",
            advice="METRICS[name].formula says what each is.",
        )
    return METRICS[name]


def relative(t: ErrorTable) -> Tensor:
    """|l - r|₂ / ((|l|₂ + |r|₂) / 2), in [0, 2]; 0 where both sides vanish."""
    return share(t.gap, t.first / 2 + t.last / 2)


def _scale_adjusted(t: ErrorTable) -> Tensor:
    """Pooled over the items, each moved by an element of its own, as EMLP's tests do."""
    count = t.count.sum(0)
    rms = [_pooled(norms) / count.sqrt() for norms in (t.gap, t.first, t.last)]
    elements = t.element.square().mean(0).sqrt()
    return share(rms[0], torch.maximum(rms[1] + rms[2], elements))[None, :]


def _rms_pooled(t: ErrorTable) -> Tensor:
    norms = [_pooled(norms) for norms in (t.gap, t.first, t.last)]
    return 0.5 * share(norms[0], norms[1] / 2 + norms[2] / 2)[None, :]


def _pooled(norms: Tensor) -> Tensor:
    """Root of the sum of squares over the items, none of which over- or underflows."""
    scale = power_of_two(norms.amax(0))
    return scale * (norms / scale).square().sum(0).sqrt()


def _normalized(t: ErrorTable) -> Tensor:
    rms = t.gap / t.count.clamp(min=1).sqrt()
    if not t.deviation > 0:
        return torch.full_like(rms, math.nan)
    return (rms / t.deviation).square()


def _orbit_variance(t: ErrorTable) -> Tensor:
    if t.orbit_variance is None:
        raise ConventionError(
            expected="a measurement that moved outputs back",
            got="one that did not",
            argument="metric",
            advice="Measure with orbit_variance=True.",
        )
    return t.orbit_variance[:, None]


def _failures(t: ErrorTable) -> Tensor:
    return torch.where(t.excess.isnan(), math.nan, (t.excess > _ALLCLOSE_ATOL).double())


def _predictions(name: str) -> Callable[[ErrorTable], Tensor]:
    def values(t: ErrorTable) -> Tensor:
        if name not in t.logits:
            raise ConventionError(
                expected="a measurement of logits",
                got="one without",
                argument="metric",
                advice="Measure with logits=True; the output must be (items, classes), invariant.",
            )
        return t.logits[name]

    return values


def _decibel(peak: float) -> Callable[[float], float]:
    """Mean squared error to peak signal-to-noise ratio, 10 log₁₀(peak² / mse)."""
    return lambda mse: math.inf if mse <= 0 else 10 * math.log10(peak**2 / mse)


METRICS: dict[str, Metric] = {
    "relative": Metric(
        "⟨|l-r|₂ / ((|l|₂ + |r|₂) / 2)⟩, in [0, 2]", "default", relative, limits=(0.0, 2.0)
    ),
    "absolute": Metric("⟨|l-r|₂⟩", "", lambda t: t.gap),
    "rms": Metric(
        "⟨|l-r|₂ / √n⟩", "", lambda t: t.gap / t.count.clamp(min=1).sqrt()
    ),
    "relative_to_right": Metric(
        "⟨|l-r|₂ / |r|₂⟩", "", lambda t: share(t.gap, t.last)
    ),
    "normalized_mse": Metric(
        "⟨|l-r|²⟩ / E|f - mean f|²; 0 equivariant, 1 to 2 unrelated", "", _normalized
    ),
    "max": Metric("max |l-r|, over entries, items and elements", "", lambda t: t.largest, "max"),
    "worst": Metric("max of `relative` over items and elements drawn", "", relative, "max"),
    "e3nn": Metric(
        "max |l-r|; e3nn accepts 1e-3 in float32, 1e-9 in float64",
        "e3nn, equivariance_error", lambda t: t.largest, "max",
    ),
    "escnn": Metric(
        "⟨mean over entries of |l-r|⟩, what escnn's check returns",
        "escnn, check_equivariance", lambda t: t.total / t.count.clamp(min=1),
    ),
    "escnn_failures": Metric(
        "share of draws with |l-r| > 1e-7 + 1e-5 |r| somewhere; 0 passes escnn's check",
        "escnn, check_equivariance", _failures,
        limits=_SHARE,
    ),
    "emlp": Metric(
        "⟨rms(l-r) / (rms l + rms r)⟩, rms over a batch of items",
        "Finzi et al. 2021, tests of EMLP", _rms_pooled, limits=_SHARE,
    ),
    "emlp_scaled": Metric(
        "⟨rms(l-r) / max(rms l + rms r, rms(g - 1))⟩, rms over a batch of items",
        "Finzi et al. 2021, tests of EMLP", _scale_adjusted, limits=_SHARE,
    ),
    "per": Metric(
        "⟨|l-r|₂ / (|l|₂ + |r|₂)⟩", "projection-based equivariance regularization",
        lambda t: relative(t) / 2, limits=_SHARE,
    ),
    "remul_1": Metric(
        "⟨|mean_g (l-r)|₂⟩ over items: what no averaging over g removes", "REMUL",
        lambda t: t.bias[:, None],
    ),
    "remul_2": Metric("⟨|l-r|₂⟩", "REMUL", lambda t: t.gap),
    "eq_psnr": Metric(
        "10 log₁₀(2² / ⟨(l-r)²⟩) dB over entries inside the frame, signals in [-1, 1]",
        "Karras et al. 2021 (EQ-T, EQ-R)", lambda t: t.difference / t.count.clamp(min=1),
        transform=_decibel(2.0),
    ),
    "flip_rate": Metric(
        "share of draws whose most likely class changes", "", _predictions("flip"), limits=_SHARE
    ),
    "label_consistency": Metric(
        "1 - flip rate", "Zhang 2019", _predictions("flip"), transform=lambda rate: 1 - rate,
        limits=_SHARE,
    ),
    "kl": Metric("⟨KL(softmax r ‖ softmax l)⟩, nats", "", _predictions("kl")),
    "total_variation": Metric(
        "⟨½ Σ|softmax l - softmax r|⟩", "", _predictions("total_variation"), limits=_SHARE
    ),
    "margin_change": Metric(
        "⟨|change of the margin of the first-ranked class|⟩", "", _predictions("margin_change")
    ),
    "orbit_variance": Metric(
        "⟨Var_g g⁻¹·f(g·x)⟩, summed over entries", "", _orbit_variance
    ),
}  # fmt: skip
