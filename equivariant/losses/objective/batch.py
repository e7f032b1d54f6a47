"""What a loss is called with, as named sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.contrast.bank import Bank, BankRows
from equivariant.losses.contrast.sides import Side, check_tensor

Given = Side | Tensor | Bank | BankRows


def sides_of(
    given: Sequence[Given], named: Mapping[str, Given], order: Sequence[str]
) -> dict[str, Side]:
    """Sides by name.

    Args:
        given: Sides without a name, and perhaps labels, of one axis, after them.
        named: Sides by name, and what their rows know, of one axis.
        order: Names of those without one.

    Raises:
        ConventionError: More sides than names, one side twice, or something that is no tensor.
        ShapeError: No side has as many rows as what they should know.
    """
    known: dict[str, Tensor] = {}
    sides: dict[str, Given] = {}
    places = iter(order)
    for number, value in enumerate(given):
        if not isinstance(value, Side | Bank | BankRows):
            check_tensor(value, f"argument {number + 1}")
            if value.ndim == 1:
                if "label" in known:
                    raise ConventionError(
                        expected="labels once", got=f"others as argument {number + 1}",
                        argument="given",
                        advice="Labels of each side: Side.of(z, label=...), passed by name.",
                    )  # fmt: skip
                known["label"] = value
                continue
        name = next(places, None)
        if name is None or name in named:
            raise ConventionError(
                expected=f"sides without a name: {', '.join(order) or 'none'}",
                got=f"one more, argument {number + 1}" if name is None else f"{name} twice",
                argument="given", advice="Pass sides by name.",
            )  # fmt: skip
        sides[name] = value
    for name, value in named.items():
        if not isinstance(value, Side | Bank | BankRows):
            check_tensor(value, name)
            if value.ndim == 1:
                known[name] = value
                continue
        sides[name] = value
    return _knowing({name: _side(value) for name, value in sides.items()}, known)


def _side(value: Given) -> Side:
    if isinstance(value, Bank):
        value = value.rows()
    if isinstance(value, BankRows):
        return Side.of(value.z, **value.names)
    return value if isinstance(value, Side) else Side.of(value)


def _knowing(sides: dict[str, Side], known: Mapping[str, Tensor]) -> dict[str, Side]:
    """The sides, those of as many rows knowing what is known."""
    for name, value in known.items():
        fit = [key for key, side in sides.items() if len(side) == len(value)]
        if not fit:
            shown = ", ".join(f"{len(side)} rows of {key}" for key, side in sides.items())
            raise ShapeError(
                expected=f"one {name} for each object: {shown or 'no side'}",
                got=f"shape {tuple(value.shape)}", argument=name,
                advice="Row i of every side shows object i.",
            )  # fmt: skip
        for key in fit:
            if name not in sides[key].names() or name == "index":
                sides[key] = sides[key].replace(**{name: value})
    return sides
