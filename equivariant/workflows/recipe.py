"""What a recipe is made of: settings whose fields are options, and functions for the commands.

A recipe describes itself by one object, ``RECIPE``, in one module; one line in
``equivariant.recipes`` gives it a name. The commands ``train``, ``evaluate``, ``measure`` and
``report`` then know it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from equivariant.runs import RunFolder


@dataclass(frozen=True)
class RunVerb:
    """What a command does with runs of one recipe.

    Args:
        options: Frozen dataclass: its fields are the options of the command, its docstring is the
            help. A field without a default is positional.
        call: ``call(run, options, say=...)``, for ``report`` with a sequence of runs in place of
            one. ``say`` receives the lines for the user.
    """

    options: type[Any]
    call: Callable[..., None]


@dataclass(frozen=True)
class Recipe:
    """One experiment as the commands see it.

    Args:
        settings: Frozen dataclass with the settings of one training run: its fields are the
            options of ``equivariant train``, its docstring is the help. It has ``data`` (where the
            data are), ``fit`` (a FitConfig), ``run_name`` (what its runs are called), and
            ``recipe``, a field of the recipe's name, by which a run is known again.
        restore: The settings of a run folder, read from its ``config.json``.
        train: ``train(settings, run, fabric=..., progress=..., say=...)`` trains, or goes on with
            a run that was interrupted, and keeps weights and metrics in the run folder.
        evaluate: ``equivariant evaluate RUN``.
        measure: ``equivariant measure RUN``; None where runs are not measured.
        report: ``equivariant report RUNS``; None where there is no page.
        presets: Words of ``equivariant train`` that ``--preset NAME`` stands for; words that follow
            override them.
        evaluated_on: What ``evaluate RUN`` is to be followed by, for example "TEST_FILE".
    """

    settings: type[Any]
    restore: Callable[[RunFolder], Any]
    train: Callable[..., Any]
    evaluate: RunVerb
    measure: RunVerb | None = None
    report: RunVerb | None = None
    presets: Mapping[str, str] = field(default_factory=dict)
    evaluated_on: str = ""


def option(name: str | None = None, *, free: bool = False) -> dict[str, Any]:
    """How a field of settings shows on the command line, as ``metadata`` of the field.

    Args:
        name: Of the option, if it is not the field's own; "" for a group of settings whose
            options carry no name of the group: ``--steps`` instead of ``--fit.steps``.
        free: The field changes no weights: a run may go on with another value.

    Example:
        >>> from dataclasses import field, fields
        >>> @dataclass(frozen=True)
        ... class Settings:
        ...     size_px: int = field(default=0, metadata=option("size"))
        >>> option_name(fields(Settings)[0]), is_free(fields(Settings)[0])
        ('size', False)
    """
    return {"option": name, "free": free}


def option_name(field: Any) -> str:
    """The name that a field of a dataclass has as an option; "" for a group without a name."""
    name = field.metadata.get("option")
    found: str = field.name if name is None else name
    return found


def is_free(field: Any) -> bool:
    """Whether a run may go on with another value of a field."""
    return bool(field.metadata.get("free", False))
