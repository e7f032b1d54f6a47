"""A preset: a named plan with its settings, formula and source, and the list of all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import partial
from typing import Literal, get_args

from equivariant.errors import ConventionError
from equivariant.losses.checks import check_finite
from equivariant.losses.contrast.core import Evaluation
from equivariant.losses.objective.names import over
from equivariant.losses.objective.objective import Loss
from equivariant.losses.objective.plan import FunctionTerm, Step, Term
from equivariant.losses.setting_ranges import check_ranges

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

    ``2.0 * preset`` and ``preset / 2`` weigh it, ``-preset`` rewards it, ``preset + other`` and
    ``sum([preset, other])`` are the sum of both over the sides of both.

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
        weight: Factor of all terms.
        called: Name of its term in logs, or what names of several terms begin with.
        method: How contrasts are evaluated; see :func:`equivariant.losses.contrast`.
        renamed: From names of its sides to those of the sides that it reads instead.

    Example:
        >>> both = preset("clip") + 0.1 * preset("barlow")
        >>> both.name, [term.weight for term in both.terms]
        ('clip + 0.1 barlow', [1.0, 0.1])
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
    weight: float = 1.0
    called: str | None = None
    method: Evaluation = "auto"
    renamed: Mapping[str, str] = field(default_factory=dict)

    def __mul__(self, factor: int | float) -> Preset:
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            return NotImplemented
        check_finite(factor, "factor", "0 leaves it out of the sum.")
        return replace(self, weight=self.weight * factor, name=f"{factor:g} {self.name}")

    __rmul__ = __mul__

    def __truediv__(self, divisor: int | float) -> Preset:
        if isinstance(divisor, bool) or not isinstance(divisor, int | float):
            return NotImplemented
        if divisor == 0:
            raise ConventionError(
                expected="a divisor other than 0", got="0", argument="divisor",
                advice="preset / 2 weighs it by 0.5.",
            )  # fmt: skip
        return self * (1.0 / divisor)

    def __neg__(self) -> Preset:
        return self * -1.0

    def __radd__(self, zero: int) -> Preset:
        return NotImplemented if zero else self

    def __add__(self, other: Preset) -> Preset:
        if not isinstance(other, Preset):
            return NotImplemented
        if self.parts and other.parts and self.parts != other.parts:
            raise ConventionError(
                expected=f"a preset with the parts {', '.join(self.parts)}, or none",
                got=", ".join(other.parts),
                argument="other",
                advice="An action has one list of summands.",
            )
        sides = dict(self.sides)
        for name, text in other.sides.items():
            known = sides.get(name, text)
            sides[name] = known if known == text else f"{known}; {text}"
        return Preset(
            f"{self.name} + {other.name}", f"{self.title} + {other.title}", self.family,
            f"[{self.formula}] + [{other.formula}]", f"{self.source}. {other.source}",
            f"{self.purpose} {other.purpose}", sides, partial(_joined, self, other), {},
            "pairs" if "pairs" in (self.memory, other.memory) else "rows",
            self.parts or other.parts, self.own or other.own,
        )  # fmt: skip

    def over(self, **names: str) -> Preset:
        """The same over sides of other names.

        Args:
            names: For names of its sides, those that it shall read instead.

        Raises:
            ConventionError: It has no side of a name.

        Example:
            >>> back = preset("protoclip", clusters=8, name="back").over(a="other", other="a")
            >>> list(back.sides)
            ['other', 'a']
        """
        unknown = [name for name in names if name not in self.sides]
        if unknown:
            raise ConventionError(
                expected=f"names of its sides: {', '.join(self.sides)}", got=", ".join(unknown),
                argument="names", advice="over(a='image') reads image where it read a.",
            )  # fmt: skip
        sides = {names.get(name, name): text for name, text in self.sides.items()}
        renamed = {own: names.get(read, read) for own, read in self.renamed.items()}
        renamed |= {own: new for own, new in names.items() if own not in self.renamed.values()}
        return replace(self, sides=sides, renamed=renamed)

    @property
    def plan(self) -> Plan:
        """Terms and steps; learned temperatures and networks are new each time.

        Raises:
            ConventionError: A setting without a default was not given or is out of its range, or
                ``method`` is asked for where no contrast is evaluated.
        """
        missing = [name for name, value in self.settings.items() if value is REQUIRED]
        if missing:
            raise ConventionError(
                expected=f"values of {', '.join(missing)}",
                got="none",
                argument="settings",
                advice=f"preset({self.name!r}, {missing[0]}=...)",
            )
        check_ranges(self.name, self.settings)
        items = over(self.make(**self.settings), self.renamed)
        number = sum(isinstance(item, Term) for item in items)
        changed = [self._changed(item) for item in items]
        if self.method != "auto" and changed == items:
            raise ConventionError(
                expected="an objective of contrasts",
                got=self.name,
                argument="method",
                advice="It is evaluated in one way only; leave method out.",
            )
        return [self._weighed(item, number) for item in changed]

    def _changed(self, item: Term | Step) -> Term | Step:
        """A term with the method."""
        if self.method == "auto" or isinstance(item, Step):
            return item
        if "method" in {f.name for f in fields(item)}:
            return replace(item, method=self.method)  # type: ignore[call-arg]
        if isinstance(item, FunctionTerm) and _takes_method(item.function):
            return replace(item, settings={**item.settings, "method": self.method})
        return item

    def _weighed(self, item: Term | Step, number: int) -> Term | Step:
        """A term with the weight and the name, one of ``number``."""
        if isinstance(item, Step):
            return item
        name = item.name
        if self.called is not None:
            name = self.called if number == 1 else f"{self.called}.{name}"
        return replace(item, weight=self.weight * item.weight, name=name)

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
        return Loss(self.plan, order=list(self.sides))


def _joined(first: Preset, second: Preset) -> Plan:
    return [*first.plan, *second.plan]


def _takes_method(function: Callable[..., object]) -> bool:
    """Whether a function says by which method its contrast is evaluated."""
    parameter = inspect.signature(function).parameters.get("method")
    return parameter is not None and parameter.default == "auto"


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


def preset(
    which: str | None = None,
    /,
    *,
    name: str | None = None,
    **settings: object,
) -> Preset:
    """A named objective, with other settings where given.

    Args:
        which: One of ``PRESETS``; ``equivariant losses`` lists them.
        name: How its term is called in logs, for sums of several of a kind.
        settings: Values instead of the preset's own; and ``method``, how contrasts are evaluated.

    Raises:
        ConventionError: No preset has that name, or it has no such setting.

    Example:
        >>> [term.name for term in preset("vicreg").terms]
        ['align', 'variance', 'covariance']
        >>> preset("dcl", tau=0.2).settings
        {'tau': 0.2}
        >>> (preset("dcl") + preset("infonce", tau=1.0, name="soft")).terms[1].key
        'soft'
    """
    which, called = (name, None) if which is None else (which, name)
    if which not in PRESETS:
        raise ConventionError(
            expected=f"one of {', '.join(sorted(PRESETS))}",
            got=repr(which),
            argument="name",
            advice=_hint(str(which)),
        )
    found = PRESETS[which]
    method = settings.pop("method", "auto") if "method" not in found.settings else "auto"
    if method not in get_args(Evaluation):
        raise ConventionError(
            expected="auto, dense or tiled", got=repr(method), argument="method",
            advice="'auto' chooses by size.",
        )  # fmt: skip
    unknown = [key for key in settings if key not in found.settings]
    if unknown:
        raise ConventionError(
            expected=f"settings of {which}: {', '.join(found.settings) or 'none'}",
            got=", ".join(unknown),
            argument="settings",
            advice="See preset(name).settings.",
        )
    settings = {**found.settings, **settings}
    return replace(found, settings=settings, called=called, method=method)  # type: ignore[arg-type]


def _hint(name: str) -> str:
    """What someone may have meant who asked for a preset that is not there."""

    def key(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    wanted = key(name)
    meant = [
        found for found in PRESETS if wanted and (wanted in key(found) or key(found) in wanted)
    ]
    meant += [n for n, p in PRESETS.items() if n not in meant and wanted and wanted in key(p.title)]
    meant += [n for n in get_close_matches(name.lower(), PRESETS, 3) if n not in meant]
    if not meant:
        return "Or write the terms yourself: Loss([ContrastTerm(...), ...])."
    said = "; ".join(f"{found} ({PRESETS[found].purpose.rstrip('.')})" for found in meant[:4])
    return f"Did you mean {said}?"
