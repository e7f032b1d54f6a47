"""Factors in a plan or manifest: written as their class and settings, and read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from datasets3d.views.factors.base import Factor
from datasets3d.views.factors.cameras import CameraOrbit, FocalLength
from datasets3d.views.factors.further_lights import FurtherLights
from datasets3d.views.factors.lights import AmbientLight, SpotEnergy
from datasets3d.views.factors.placement import ObjectScale, ObjectTranslation
from equivariant.errors import ConventionError

OURS: dict[str, type[Factor]] = {
    factor.__name__: factor
    for factor in (
        ObjectTranslation,
        ObjectScale,
        CameraOrbit,
        FocalLength,
        SpotEnergy,
        AmbientLight,
        FurtherLights,
    )
}  # fmt: skip


def recorded_factors(factors: Sequence[Factor]) -> list[dict[str, Any]]:
    """Class and settings of each factor, as JSON gives them back.

    Example:
        >>> recorded_factors([ObjectScale((0.5, 2.0))])
        [{'class': 'ObjectScale', 'factor': [0.5, 2.0]}]
    """
    return [
        {"class": type(factor).__name__}
        | {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(factor).items()}
        for factor in factors
    ]


def factors_of(recorded: Sequence[Mapping[str, Any]]) -> tuple[Factor, ...]:
    """The factors that a plan or manifest names.

    Args:
        recorded: What :func:`recorded_factors` returned.

    Raises:
        ConventionError: One is of a class that is not ours, whose code is not recorded.
    """
    found = []
    for record in recorded:
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        name = settings.pop("class")
        if name not in OURS:
            raise ConventionError(
                expected=f"factors among {', '.join(OURS)}", got=repr(name), argument="law",
                advice="Pass the law that the set was built with.",
            )  # fmt: skip
        found.append(OURS[name](**settings))
    return tuple(found)


def conventions_of_law(recorded: Mapping[str, Any]) -> dict[str, str]:
    """What a manifest says of factors and paths; empty where there are none.

    Args:
        recorded: What a plan says of the law.
    """
    if not ("factors" in recorded or "path" in recorded):
        return {}
    said = {
        "world": "right-handed, +z up; a point x of the object is at s R x + p, s its scale (1 "
        "without a column) and p its translation (0 without columns)"
    }
    if "path" in recorded:
        said["path"] = f"view k is step k mod {recorded['path']['length']} of its sequence"
    return said


def own_classes(factors: Sequence[Factor]) -> list[type[Factor]]:
    """Classes of factors that are not ours, in their order."""
    return [type(factor) for factor in factors if type(factor) not in OURS.values()]
