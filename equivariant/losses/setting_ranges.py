"""Ranges of the settings of presets: what a number may be, told by the setting's name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real

from equivariant.errors import ConventionError

ANY = {"b", "t_pull", "t_push"}
SHARES = {"forward", "share", "dropout", "debias"}
COUNTS = {
    "dim", "width", "hidden", "clusters", "classes", "samples", "count", "neighbors", "iterations",
    "groups", "copies", "heads", "hardest", "rows",
}  # fmt: skip
NONE_OR_MORE = {"mixed", "with_query"}
POSITIVE = {
    "tau", "tau_teacher", "tau_positive", "sigma", "eps", "steepness", "bandwidth", "sharpness",
    "radius", "radius_negative", "radius_positive", "window", "kappa", "start", "low", "high",
    "rate", "clip", "alpha", "t",
}  # fmt: skip


def check_ranges(name: str, settings: Mapping[str, object]) -> None:
    """Refuse numbers that no objective can have been made for.

    All are finite. Temperatures, bandwidths and radii are above 0, shares in [0, 1], counts whole
    and at least 1, weights and margins at least 0; only biases and exponents have either sign.

    Args:
        name: Of the preset.
        settings: Values by name; what is no number is not looked at.

    Raises:
        ConventionError: A number is out of its range.
    """
    for key, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            continue
        expected = _wrong(key, value)
        if expected is not None:
            raise ConventionError(
                expected=expected, got=f"{key}={value}", argument=key,
                advice=f"preset({name!r}).settings has the usual values.",
            )  # fmt: skip


def _wrong(key: str, value: Real) -> str | None:
    """What a setting should have been; None where it is."""
    number = float(value)
    whole = isinstance(value, Integral)
    if key in COUNTS:
        return None if whole and number >= 1 else "a whole number of at least 1"
    if key in NONE_OR_MORE:
        return None if whole and number >= 0 else "a whole number of at least 0"
    if not math.isfinite(number):
        return "a finite number"
    if key in ANY:
        return None
    if key in SHARES:
        return None if 0.0 <= number <= 1.0 else "a share in [0, 1]"
    if key in POSITIVE:
        return None if number > 0.0 else "a number above 0"
    return None if number >= 0.0 else "a number of at least 0"
