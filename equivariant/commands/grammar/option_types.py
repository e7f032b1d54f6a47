"""Commands whose options are the fields of a recipe's settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, make_dataclass
from dataclasses import field as new_field
from inspect import getdoc
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints

import tyro

from equivariant.workflows.recipe import option_name

C = TypeVar("C")
_Spec = tuple[str, Any, Any]  # name, annotation, field


def command_type(base: type[C], *parts: type[Any], optional: Sequence[str] = ()) -> type[C]:
    """A dataclass that tyro reads: its fields are those of several dataclasses together.

    Fields that their class wants without a default are positional. Names of options are those
    that the metadata of the fields say (``equivariant.workflows.recipe.option``).

    Args:
        base: What the dataclass inherits: methods, and the prose of its docstring, which is the
            help.
        parts: Dataclasses whose fields become options, in this order.
        optional: Positional fields that may be left out, and are None then.
    """
    needed: list[_Spec] = []
    defaulted: list[_Spec] = []
    for part in parts:
        hints = get_type_hints(part, include_extras=True)
        for each in _options(part):
            spec = _spec(each, hints[each.name], each.name in optional)
            (defaulted if _has_default(spec[2]) else needed).append(spec)
    specs = [*needed, *defaulted]
    namespace = {"__doc__": _help(base, parts), "__module__": base.__module__}
    found: type[C] = make_dataclass(
        base.__name__, specs, bases=(base,), namespace=namespace, frozen=True
    )
    return found


def part_of(command: Any, part: type[C]) -> C:
    """The fields of a command that belong to one of the dataclasses it is made of.

    Args:
        command: An instance of what :func:`command_type` made.
        part: One of ``parts``.
    """
    return part(**{each.name: getattr(command, each.name) for each in _options(part)})


def absolute(value: Any) -> Any:
    """A path, or a tuple of paths, without reference to the current folder; others as they are."""
    if isinstance(value, Path):
        return value.resolve()
    if isinstance(value, tuple):
        return tuple(absolute(item) for item in value)
    return value


def _options(part: type[Any]) -> list[Field[Any]]:
    """The fields of a dataclass that can be given; others have one fixed value."""
    return [each for each in fields(part) if each.init]


def _has_default(each: Field[Any]) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def _spec(each: Field[Any], hint: Any, optional: bool) -> _Spec:
    """Name, annotation with tyro's marks, and default of one field."""
    default: Any = each.default
    if not _has_default(each):
        mark = tyro.conf.arg(metavar=_metavar(each, hint))
        hint = Annotated[hint | None if optional else hint, tyro.conf.Positional, mark]
        default = None if optional else MISSING
    elif option_name(each) != each.name:
        hint = Annotated[hint, tyro.conf.arg(name=option_name(each))]
    if each.default_factory is not MISSING:
        made: Any = new_field(default_factory=each.default_factory, metadata=each.metadata)
    else:
        made = new_field(default=default, metadata=each.metadata)
    return each.name, hint, made


def _metavar(each: Field[Any], hint: Any) -> str:
    """What a positional field is called in the help: ``RUN``; ``RUN [RUN ...]`` for several."""
    if get_origin(hint) is not tuple:
        return each.name.upper()
    one = each.name.upper().removesuffix("S")
    return f"{one} [{one} ...]"


def _help(base: type[Any], parts: Sequence[type[Any]]) -> str:
    """A docstring from the prose of one class and the arguments of several."""
    head = (getdoc(base) or "").partition("\nArgs:\n")[0].rstrip()
    return f"{head}\n\nArgs:\n" + "".join(_arguments(part) for part in parts)


def _arguments(part: type[Any]) -> str:
    """The lines under ``Args:`` of a class's docstring."""
    found = re.search(r"^Args:\n((?:(?: {4}.*)?\n)+)", (getdoc(part) or "") + "\n", re.MULTILINE)
    return found[1].rstrip("\n") + "\n" if found else ""
