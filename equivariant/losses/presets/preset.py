"""A preset: a named plan with its settings, formula and source, and the list of all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from equivariant.errors import ConventionError
from equivariant.losses.objective.objective import Loss
from equivariant.losses.objective.plan import Step, Term

Plan = Sequence[Term | Step]
Family = Literal[
    "softmax", "supervised", "temperature", "weights", "modalities", "prototypes",
    "equivariant", "redundancy", "spaces", "dense", "synthesis",
]  # fmt: skip
Memory = Literal["rows", "pairs"]

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Preset:
    """A named objective.

    Args:
        name: How it is asked for.
        title: Its name in the literature.
        family: Which mechanism it belongs to.
        formula: What is computed, in plain text.
        source: Where the objective and its settings come from.
        purpose: What it is for, in one sentence.
        sides: What is passed when the loss is called, by name.
        make: From settings to terms and steps.
        settings: Values of the settings; those without a default have to be given.
        memory: ``rows`` if tiles evaluate it at any size, ``pairs`` if all N x M pairs are held.
        parts: Names of the summands that the action of an :class:`Objective` must have.
        own: Whether the definition is ours, inspired by the source, which was not re-derived.
    """

    name: str
    title: str
    family: Family
    formula: str
    source: str
    purpose: str
    sides: Mapping[str, str]
    make: Callable[..., Plan]
    settings: Mapping[str, object]
    memory: Memory = "rows"
    parts: tuple[str, ...] = ()
    own: bool = False

    @property
    def plan(self) -> Plan:
        """Terms and steps; learned temperatures and networks are new each time.

        Raises:
            ConventionError: A setting without a default was not given.
        """
        missing = [name for name, value in self.settings.items() if value is REQUIRED]
        if missing:
            raise ConventionError(
                expected=f"values of {', '.join(missing)}",
                got="none",
                argument="settings",
                advice=f"preset({self.name!r}, {missing[0]}=...)",
            )
        return self.make(**self.settings)

    @property
    def terms(self) -> tuple[Term, ...]:
        """What is summed, for presets that are terms alone.

        Raises:
            ConventionError: The preset has steps before its terms, which would be lost, or a
                setting without a default was not given.
        """
        plan = self.plan
        steps = [item.name for item in plan if isinstance(item, Step)]
        if steps:
            raise ConventionError(
                expected="a preset of terms alone",
                got=f"{self.name} with steps that make {', '.join(steps)}",
                argument="terms",
                advice=f"preset({self.name!r}).plan has the steps, too.",
            )
        return tuple(item for item in plan if isinstance(item, Term))

    def build(self) -> Loss:
        """The objective as a module over named sides.

        Raises:
            ConventionError: A setting without a default was not given, or the preset compares
                parts of a vector moved by an action: use :class:`Objective`.
        """
        if self.parts:
            raise ConventionError(
                expected=f"an action with the summands {', '.join(self.parts)}",
                got="none",
                argument="parts",
                advice=f"Objective(preset({self.name!r}).plan, action)",
            )
        return Loss(self.plan)


PRESETS: dict[str, Preset] = {}


@dataclass(frozen=True)
class listed:  # noqa: N801  (a decorator)
    """Lists a function from settings to a plan as a preset of the function's name.

    The arguments are the fields of :class:`Preset`.
    """

    title: str
    family: Family
    formula: str
    source: str
    purpose: str
    sides: Mapping[str, str]
    memory: Memory = "rows"
    parts: tuple[str, ...] = ()
    own: bool = False

    def __call__(self, make: Callable[..., Plan]) -> Callable[..., Plan]:
        settings = {n: p.default for n, p in inspect.signature(make).parameters.items()}
        PRESETS[make.__name__] = Preset(
            make.__name__, self.title, self.family, self.formula, self.source, self.purpose,
            self.sides, make, settings, self.memory, self.parts, self.own,
        )  # fmt: skip
        return make


def preset(name: str, **settings: object) -> Preset:
    """A named objective, with other settings where given.

    Args:
        name: One of ``PRESETS``; ``equivariant losses`` lists them.
        settings: Values instead of the preset's own.

    Raises:
        ConventionError: No preset has that name, or it has no such setting.

    Example:
        >>> [term.name for term in preset("vicreg").terms]
        ['align', 'variance', 'covariance']
        >>> preset("dcl", tau=0.2).settings
        {'tau': 0.2}
    """
    if name not in PRESETS:
        raise ConventionError(
            expected=f"one of {', '.join(sorted(PRESETS))}",
            got=repr(name),
            argument="name",
            advice="Or write the terms yourself: Loss([ContrastTerm(...), ...]).",
        )
    found = PRESETS[name]
    unknown = [key for key in settings if key not in found.settings]
    if unknown:
        raise ConventionError(
            expected=f"settings of {name}: {', '.join(found.settings) or 'none'}",
            got=", ".join(unknown),
            argument="settings",
            advice="See preset(name).settings.",
        )
    return replace(found, settings={**found.settings, **settings})
