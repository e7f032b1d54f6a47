"""Factors of a law by their words on the command line, each with its default range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from datasets3d import (
    AmbientLight,
    CameraOrbit,
    Factor,
    FocalLength,
    FurtherLights,
    ObjectScale,
    ObjectTranslation,
    SpotEnergy,
)

FactorName = Literal["translation", "scale", "orbit", "focal", "energy", "ambient", "lights"]
_FACTORS: dict[FactorName, type[Factor]] = {
    "translation": ObjectTranslation,
    "scale": ObjectScale,
    "orbit": CameraOrbit,
    "focal": FocalLength,
    "energy": SpotEnergy,
    "ambient": AmbientLight,
    "lights": FurtherLights,
}


def named_factors(names: Sequence[FactorName]) -> tuple[Factor, ...]:
    """The factors of some words, in one order, each once.

    Args:
        names: In any order.

    Example:
        >>> [factor.name for factor in named_factors(["scale", "translation", "scale"])]
        ['object translation', 'object scale']
    """
    return tuple(_FACTORS[name]() for name in get_args(FactorName) if name in names)


def names_of_factors(factors: Sequence[Factor]) -> tuple[FactorName, ...] | None:
    """The words of some factors; None where they are not what :func:`named_factors` makes.

    Args:
        factors: Of a law.
    """
    names = tuple(name for name, kind in _FACTORS.items() if kind() in factors)
    return names if named_factors(names) == tuple(factors) else None
