"""An objective is a weighted sum of terms, written as data, over named sides of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from equivariant.actions import Action, DirectSum
from equivariant.errors import ConventionError
from equivariant.losses.contrast.core import Contrast
from equivariant.losses.contrast.sides import Side
from equivariant.losses.objective.batch import Given, sides_of
from equivariant.losses.objective.names import input_names, read_names
from equivariant.losses.objective.plan import (
    Sides,
    Step,
    Term,
    TermValue,
    trained_inside,
    with_numbers,
)
from equivariant.losses.objective.sides_given import check_all_are_read, check_one_device
from equivariant.processes import rank
from equivariant.shapes import Matrix, Vector


@dataclass(frozen=True)
class ObjectiveValue:
    """The value of an objective.

    Args:
        total: Weighted sum, a scalar with gradient.
        terms: Each term before its weight, detached.
        contrasts: Values per anchor, which anchors count, and diagnostics, of each term that is a
            contrast; of terms in two directions there are two, as ``"clip_a_b"``, ``"clip_b_a"``.
    """

    total: Tensor
    terms: dict[str, Tensor]
    contrasts: dict[str, Contrast] = field(default_factory=dict)


@runtime_checkable
class HasPlan(Protocol):
    """A preset."""

    @property
    def plan(self) -> Sequence[Term | Step]:
        """Terms and steps."""


class Loss(nn.Module):
    """A weighted sum of terms over named sides.

    On several processes, anchors are the own rows, candidates and whole columns those of all;
    averaging parameter gradients over processes then gives one process's gradient. Everything
    is computed in float32 or wider, outside autocast. Learned temperatures, biases and networks
    of the terms are this module's.

    Args:
        plan: Terms, and steps that make further sides before them, in order; or a preset. Of
            several steps of one name, an item sees the side of the last one before it.
        slices: Columns of each part, for terms that see one part.
        order: Names of sides that come without one, in order; by default as the plan names them.

    Raises:
        ConventionError: There is no term, or two terms have one name.

    Example:
        >>> from equivariant.losses import preset
        >>> loss = preset("dcl", tau=0.2).build()
        >>> value = loss(torch.eye(4), torch.eye(4))
        >>> round(float(value.total), 4)  # log 6 - 1 / 0.2
        -3.2082
        >>> value.contrasts["dcl"].valid.all()
        tensor(True)
    """

    def __init__(
        self,
        plan: Sequence[Term | Step] | HasPlan,
        *,
        slices: Sequence[slice] = (),
        order: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        items = plan if isinstance(plan, Sequence) else plan.plan
        self.terms = tuple(item for item in items if isinstance(item, Term))
        self.steps = tuple(item for item in items if isinstance(item, Step))
        self.slices = tuple(slices)
        self.order = tuple(input_names(items) if order is None else order)
        names = read_names(items)
        made = {step.name for step in self.steps}
        self.read = (
            None
            if names is None
            else tuple(dict.fromkeys(n for n in (*self.order, *names) if n not in made))
        )
        keys = [term.key for term in self.terms]
        if not self.terms or len(set(keys)) < len(keys):
            raise ConventionError(
                expected="at least one term, all of different names",
                got=", ".join(keys) or "no term",
                argument="plan",
                advice="Give terms of one kind names of their own: preset(..., name=...).",
            )
        self._steps_of_steps, self._steps_of_terms = _seen_steps(items)
        trained = {id(item): item for part in items for item in trained_inside(part)}
        self.networks = nn.ModuleList(x for x in trained.values() if isinstance(x, nn.Module))
        self._held = tuple(x for x in trained.values() if isinstance(x, nn.Parameter))
        self.numbers = nn.ParameterList(self._held)

    def forward(
        self, *given: Given, generator: torch.Generator | None = None, **sides: Given
    ) -> ObjectiveValue:
        """Evaluate on a batch.

        Args:
            given: Sides in order, for example ``loss(z0, z1)``, then perhaps the labels of
                objects, shape (N,), integers: ``loss(z, labels)``, ``loss(z0, z1, labels)``.
            generator: For steps and terms that draw.
            sides: Sides by name. A matrix becomes a side whose rows are called 0, 1, ...: row i
                of every matrix shows object i. A bank is a side of its rows. One number for each
                object, shape (N,), is what all sides of N rows then know by that name, as
                ``label=labels``. The index of rows is given here; what two sides share is their
                ``id``.

        Returns:
            Total, terms, and values per anchor.

        Raises:
            ConventionError: A term names a side, or what its rows should know, that is absent; a
                side is read by nothing, or has the name of one that a step makes; embeddings are
                not floating point, labels are not a tensor, or tensors are on several devices.
            ShapeError: Rows are paired by place, and sides have different numbers of them; or
                sides that are compared differ in width.

        Warns:
            UserWarning: Not one anchor of a term has a positive.
        """
        found = sides_of(given, sides, self.order)
        made_here = {step.name for step in self.steps}
        check_all_are_read([name for name in found if name not in made_here], self.read)
        check_one_device(found, [*self.parameters()])
        named = {name: _indexed(side, place) for place, (name, side) in enumerate(found.items())}
        device = next(iter(named.values())).z.device if named else torch.device("cpu")
        numbered = {name: len(side) for name, side in found.items() if side.id is None}
        twins = _twins(found)
        steps, terms = self._with_own_numbers()
        with torch.autocast(device.type, enabled=False):
            made: list[tuple[Side, int | None]] = []

            def batch(seen: Mapping[str, int]) -> Sides:
                sides = named | {name: made[place][0] for name, place in seen.items()}
                counts = {name: made[place][1] for name, place in seen.items()}
                rows = numbered | {n: c for n, c in counts.items() if c is not None}
                return Sides(sides, self.slices, rows, twins)

            for place, (step, before) in enumerate(
                zip(steps, self._steps_of_steps, strict=True), len(named)
            ):
                if step.name in named:
                    raise ConventionError(
                        expected=f"no side called {step.name!r}, which a step makes",
                        got=", ".join(named),
                        argument=step.name,
                        advice="Call the side or the step's result by another name.",
                    )
                seen = batch(before)
                side = step.side(seen, generator)
                first = seen.numbered.get(step.of[0]) if step.of else None
                made.append((_indexed(side, place), first))
            values = {
                term.key: term.evaluate(batch(before), generator)
                for term, before in zip(terms, self._steps_of_terms, strict=True)
            }
        weighed = [term.weight * values[term.key].value for term in terms]
        return _together(torch.stack(weighed).sum(), values)

    def _with_own_numbers(self) -> tuple[Sequence[Step], Sequence[Term]]:
        """Steps and terms; with this module's parameters where others took the place of the terms'.

        ``torch.func.functional_call`` puts tensors in their place, and so do replicas and
        ``load_state_dict(assign=True)``.
        """
        pairs = zip(self._held, self.numbers, strict=True)
        others = {id(held): own for held, own in pairs if own is not held}
        if not others:
            return self.steps, self.terms
        return (
            [with_numbers(step, others) for step in self.steps],
            [with_numbers(term, others) for term in self.terms],
        )

    def extra_repr(self) -> str:
        return "\n".join(map(str, (*self.steps, *self.terms)))


class Objective(nn.Module):
    """A sum of terms over pairs of views; the action moves the first before they are compared.

    Terms see three sides: ``a`` and ``b``, the views, and ``moved``, ρ(g) a. Row i of each shows
    object i of the batch.

    Args:
        plan: What is summed, or a preset: :func:`equivariant.losses.preset` has the named ones.
        action: How g moves an embedding. Its weights, if any, are this module's. The summands of
            a direct sum are the parts that terms may see.

    Raises:
        ConventionError: There is no term, two terms have one name, or a part is not a summand
            of the action.

    Example:
        >>> from equivariant.actions import Trivial, Vectors
        >>> from equivariant.groups import SO3
        >>> from equivariant.losses import FunctionTerm, mean_squared_difference, variance
        >>> action = Trivial(4) + Vectors(SO3(), channels=2)
        >>> align = FunctionTerm("align", 10.0, 1, mean_squared_difference, ("moved", "b"))
        >>> spread = FunctionTerm("variance", 10.0, None, variance, ("a",))
        >>> value = Objective([align, spread], action)(torch.eye(10), torch.eye(10), torch.eye(3))
        >>> sorted(value.terms)
        ['align_1', 'variance']
    """

    def __init__(self, plan: Sequence[Term | Step] | HasPlan, action: Action) -> None:
        super().__init__()
        slices = action.slices if isinstance(action, DirectSum) else []
        self.loss = Loss(plan, slices=slices)
        wrong = [
            term
            for term in self.loss.terms
            if term.part is not None and not 0 <= term.part < len(slices)
        ]
        if wrong:
            raise ConventionError(
                expected=f"parts below {len(slices)}",
                got=", ".join(map(str, wrong)),
                argument="plan",
                advice="A part is the index of a summand of the action: 0 is the first.",
            )
        self.action = action

    @property
    def terms(self) -> tuple[Term, ...]:
        """What is summed."""
        return self.loss.terms

    def forward(
        self,
        z_a: Vector,
        z_b: Vector,
        g: Matrix,
        *,
        generator: torch.Generator | None = None,
        **known: Tensor,
    ) -> ObjectiveValue:
        """Evaluate on a batch.

        Args:
            z_a: Embeddings of the first views, shape (N, dim).
            z_b: Embeddings of the second views, shape (N, dim).
            g: Elements, shape (N, n, n), or one for all, (n, n).
            generator: For terms that draw.
            known: What rows of all sides know, shape (N, ...): ``label``, ``position``, ...

        Returns:
            Total and terms.

        Raises:
            ShapeError: The widths are not the action's, or N is too small for a term.
        """
        with torch.autocast(z_a.device.type, enabled=False):
            wide = torch.promote_types(z_a.dtype, torch.float32)
            z_a, z_b = z_a.to(wide), z_b.to(wide)
            moved = self.action(g.to(wide), z_a)
            sides = {"a": z_a, "b": z_b, "moved": moved}
            read = sides if self.loss.read is None else self.loss.read
            value: ObjectiveValue = self.loss(
                generator=generator,
                **{n: Side.of(z, **known) for n, z in sides.items() if n in read},
            )
        return value


def _together(total: Tensor, values: Mapping[str, TermValue]) -> ObjectiveValue:
    contrasts = {
        f"{key}{suffix}": contrast
        for key, value in values.items()
        for suffix, contrast in value.contrasts.items()
    }
    terms = {key: value.value.detach() for key, value in values.items()}
    return ObjectiveValue(total, terms, contrasts)


def _seen_steps(
    items: Sequence[Term | Step],
) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
    """For each step, and for each term, the number of the step behind every name that steps make.

    It is the last step of that name before the item, or the first of all where none is before.
    """
    first: dict[str, int] = {}
    for place, step in enumerate(item for item in items if isinstance(item, Step)):
        first.setdefault(step.name, place)
    of_steps: list[dict[str, int]] = []
    of_terms: list[dict[str, int]] = []
    before: dict[str, int] = {}
    for item in items:
        if isinstance(item, Step):
            # A step sees only what stands before it, so that none waits for a later one.
            of_steps.append(dict(before))
            before[item.name] = len(of_steps) - 1
        else:
            of_terms.append({**first, **before})
    return of_steps, of_terms


def _twins(sides: Mapping[str, Side]) -> dict[str, str]:
    """Names by which a tensor came once more, and the name by which it came first."""
    first: dict[int, str] = {}
    again: dict[str, str] = {}
    for name, side in sides.items():
        if id(side.z) in first:
            again[name] = first[id(side.z)]
        else:
            first[id(side.z)] = name
    return again


def _indexed(side: Side, place: int) -> Side:
    """A side whose rows have indices of their own among all sides and processes."""
    here = rank()
    number = torch.arange(len(side), device=side.z.device)
    names = {"index": number + (here << 48) + (place << 40)}
    if side.id is None:
        names["id"] = number + (here << 48)
    wide = torch.promote_types(side.z.dtype, torch.float32)
    return side.replace(side.z.to(wide), **names)
