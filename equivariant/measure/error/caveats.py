"""What stands between a measurement and a verdict, noted while a map is measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.measure.error.table import ErrorTable
from equivariant.measure.motions.motion import Motion, Part
from equivariant.tree import tensors

_SHOWN = 8  # items named one by one
_ROUNDING = 16  # units of rounding within which outputs count as the same


class Concern(StrEnum):
    """What a caveat is about."""

    INPUT = "input not finite"
    OUTPUT = "output not finite"
    ALTERED = "input altered"
    STATE = "state changed"
    CONSTANT = "constant output"
    CANCELLATION = "rounding amplified"
    PRECISION = "no copy in float64"
    HIDDEN = "derivative hidden"
    ROUGH = "no derivative"


@dataclass(frozen=True)
class Caveat:
    """Something that limits what a measurement says.

    Args:
        concern: What it is about.
        text: Which tensors, items and elements.
    """

    concern: Concern
    text: str

    @property
    def forbids(self) -> bool:
        """Whether nothing can be said at all: a number is missing or not finite."""
        return self.concern in (Concern.INPUT, Concern.OUTPUT)

    def __str__(self) -> str:
        return f"{self.concern.value}: {self.text}"


class Watch:
    """Facts about one map, noted batch by batch."""

    def __init__(self) -> None:
        self.inputs: dict[str, list[int]] = defaultdict(list)
        self.outputs: dict[str, list[int]] = defaultdict(list)
        self.special: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        self.altered: dict[str, None] = {}
        self.items, self.identical = 0, True
        self._first: dict[str, Tensor] | None = None
        self._same: dict[str, Tensor | None] = {}

    def start(self, before: Motion, x: Any, items: int, first_item: int) -> None:
        """Note a batch of inputs; ``first_item`` is the number of its first item."""
        parts, self.items = before.parts(x), first_item + items
        self._offset = first_item
        for name, part in parts.items():
            self.inputs[name] += self._numbers(nonfinite_items(part, items))
        rows = {name: part.tensor for name, part in parts.items() if len(part.tensor)}
        if self._first is None:
            self._first = {name: tensor[:1].clone() for name, tensor in rows.items()}
        self.identical &= all(
            tensor.shape[1:] == self._first[name].shape[1:]
            and bool((tensor == self._first[name]).all())
            for name, tensor in rows.items()
            if name in self._first
        )

    def output(self, name: str, part: Part, items: int, at: str | None = None) -> None:
        """Note an output at the input itself, or at a special element of that name."""
        numbers = self._numbers(nonfinite_items(part, items))
        (self.outputs if at is None else self.special[at])[name] += numbers
        self.moved(name, part)

    def moved(self, name: str, part: Part) -> None:
        """Note whether an output, moved or not, is the same as all before, row for row."""
        tensor = part.tensor.detach()
        first = self._same.setdefault(name, tensor[:1].clone() if len(tensor) else None)
        if first is None:
            return
        near = _ROUNDING * torch.finfo(tensor.dtype).eps * float(first.abs().max())
        if tensor.shape[1:] != first.shape[1:] or not bool(((tensor - first).abs() <= near).all()):
            self._same[name] = None

    def caveats(
        self, tables: Mapping[str, ErrorTable], worst: Mapping[str, Tensor]
    ) -> tuple[Caveat, ...]:
        """Everything that was noted.

        Args:
            tables: Errors of every output.
            worst: The drawn element with the largest error, or with one that is not finite.
        """
        found = [
            Caveat(Concern.INPUT, f"{_called(name, 'x')} at {_items(rows, self.items)}")
            for name, rows in self.inputs.items()
            if rows
        ]
        for name, table in tables.items():
            found += self._not_finite(name, table, worst[name])
            constant = self._constant(name, table)
            if constant is not None:
                found.append(Caveat(Concern.CONSTANT, constant))
        if self.altered:
            paths = ", ".join(_called(name, "x") for name in self.altered)
            found.append(
                Caveat(Concern.ALTERED, f"the map writes into {paths}; it was given copies")
            )
        return tuple(found)

    def _not_finite(self, name: str, table: ErrorTable, worst: Tensor) -> Iterable[Caveat]:
        label, still = _called(name, "f(x)"), self.outputs[name]
        if still:
            yield Caveat(Concern.OUTPUT, f"{label} at {_items(still, self.items)}")
        for place, rows in self.special.items():
            new = [row for row in rows[name] if row not in set(still)]
            if new:
                yield Caveat(
                    Concern.OUTPUT, f"{label} moved by the {place}, at {_items(new, self.items)}"
                )
        bad = ~torch.isfinite(table.gap + table.first + table.last) & (table.weights > 0)
        bad[[row for row in still if row < len(bad)]] = False
        if bool(bad.any()):
            numbers = [int(row) for row in bad.any(1).nonzero().flatten()]
            yield Caveat(
                Concern.OUTPUT,
                f"{label} moved by {int(bad.sum())} of {bad.numel()} drawn elements, at "
                f"{_items(numbers, self.items)}; one of them is {_matrix(worst)}",
            )

    def _constant(self, name: str, table: ErrorTable) -> str | None:
        sizes = torch.stack([table.first, table.last])
        if not bool(torch.isfinite(sizes).all()):
            return None
        label = _called(name, "f(x)")
        if not bool((sizes > 0).any()):
            return f"{label} is zero for all items and elements, which fits every claim"
        if self.items < 2 or self._same.get(name) is None or self.identical:
            return None
        return f"{label} is the same for all {self.items} items and elements: it ignores the input"

    def _numbers(self, rows: Tensor) -> list[int]:
        return [self._offset + int(row) for row in rows]


def nonfinite_items(part: Part, items: int) -> Tensor:
    """Numbers of the items with an entry that is not finite, ascending, int64."""
    finite = torch.isfinite(part.tensor.detach())
    rows = ~(finite.flatten(1).all(1) if finite.ndim > 1 else finite)
    if part.item_of_row is None:
        return rows.nonzero().flatten()
    found: Tensor = part.item_of_row[rows].unique()
    return found[found < items]


def refuse_nonfinite(parts: Mapping[str, Part], items: int, what: str) -> None:
    """Raise where numbers are not finite, with the tensors and items.

    Args:
        parts: Tensors by path.
        items: Number of items.
        what: What they are, in words.

    Raises:
        ConventionError: One is infinite or NaN.
    """
    found = {name: nonfinite_items(part, items).tolist() for name, part in parts.items()}
    bad = [f"{_called(name, what)} at {_items(r, items)}" for name, r in found.items() if r]
    if bad:
        raise ConventionError(
            expected=f"finite {what}",
            got=f"infinity or NaN: {'; '.join(bad)}",
            argument="f",
            advice="Nothing can be measured there; a norm has no derivative at zero.",
        )


def altered(given: Any, after: Any) -> list[str]:
    """Paths of the tensors in which two trees of one structure differ; NaN equals NaN."""
    now = tensors(after)
    return [
        name
        for name, leaf in tensors(given).items()
        if leaf.shape != now[name].shape or not _equal(leaf.detach(), now[name].detach())
    ]


def _equal(a: Tensor, b: Tensor) -> bool:
    same = a == b
    if a.is_floating_point() or a.is_complex():
        same = same | (a.isnan() & b.isnan())
    return bool(same.all())


def _called(name: str, whole: str) -> str:
    return repr(name) if name else whole


def _items(rows: list[int], items: int) -> str:
    if len(rows) == items:
        return f"all {items} items" if items > 1 else "the only item"
    shown = ", ".join(map(str, rows[:_SHOWN])) + (", …" if len(rows) > _SHOWN else "")
    return f"{len(rows)} of {items} items ({shown})"


def _matrix(g: Tensor) -> str:
    if len(g) > 4:
        return "the report's `worst`"
    return str([[float(f"{entry:.3g}") for entry in row] for row in g.tolist()])
