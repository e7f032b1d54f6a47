"""An objective is a weighted sum of terms, written as data, over named sides of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equivariant.actions import Action, DirectSum
from equivariant.errors import ConventionError
from equivariant.losses.contrast.sides import Side
from equivariant.losses.objective.plan import Sides, Step, Term, trained_inside
from equivariant.processes import rank
from equivariant.shapes import Matrix, Vector


@dataclass(frozen=True)
class ObjectiveValue:
    """The value of an objective.

    Args:
        total: Weighted sum, a scalar with gradient.
        terms: Each term before its weight, detached.
    """

    total: Tensor
    terms: dict[str, Tensor]


class Loss(nn.Module):
    """A weighted sum of terms over named sides.

    On several processes, anchors are the own rows, candidates and whole columns those of all;
    averaging parameter gradients over processes then gives one process's gradient. Everything
    is computed in float32 or wider, outside autocast. Learned temperatures, biases and networks
    of the terms are this module's.

    Args:
        plan: Terms, and steps that make further sides before them, in order.
        slices: Columns of each part, for terms that see one part.

    Raises:
        ConventionError: There is no term, or two terms or two steps have one name.

    Example:
        >>> from equivariant.losses import preset
        >>> loss = preset("dcl", tau=0.2).build()
        >>> value = loss(a=torch.eye(4), b=torch.eye(4))
        >>> round(float(value.total), 4)  # log 6 - 1 / 0.2
        -3.2082
    """

    def __init__(self, plan: Sequence[Term | Step], *, slices: Sequence[slice] = ()) -> None:
        super().__init__()
        self.terms = tuple(item for item in plan if isinstance(item, Term))
        self.steps = tuple(item for item in plan if isinstance(item, Step))
        self.slices = tuple(slices)
        keys = [term.key for term in self.terms]
        if not self.terms or len(set(keys)) < len(keys):
            raise ConventionError(
                expected="at least one term, all of different names",
                got=", ".join(keys) or "no term",
                argument="plan",
                advice="Give terms of one kind names of their own.",
            )
        made = [step.name for step in self.steps]
        if len(set(made)) < len(made):
            twice = sorted({name for name in made if made.count(name) > 1})
            raise ConventionError(
                expected="steps that make sides of different names",
                got=f"several that make {', '.join(twice)}",
                argument="plan",
                advice="The later would replace the earlier one; rename one, where it is used too.",
            )
        trained = {id(item): item for part in plan for item in trained_inside(part)}
        self.networks = nn.ModuleList(x for x in trained.values() if isinstance(x, nn.Module))
        self.numbers = nn.ParameterList(x for x in trained.values() if isinstance(x, nn.Parameter))

    def forward(
        self, *, generator: torch.Generator | None = None, **sides: Side | Tensor
    ) -> ObjectiveValue:
        """Evaluate on a batch.

        Args:
            generator: For steps and terms that draw.
            sides: By name. A matrix becomes a side whose rows are called 0, 1, ...: row i of
                every matrix shows object i. The index of rows is given here; what two sides
                share is their ``id``.

        Returns:
            Total and terms.

        Raises:
            ConventionError: A term names a side, or what its rows should know, that is absent, or
                a side has the name of one that a step makes.
        """
        named = {name: _indexed(side, place) for place, (name, side) in enumerate(sides.items())}
        device = next(iter(named.values())).z.device if named else torch.device("cpu")
        batch = Sides(named, self.slices)
        with torch.autocast(device.type, enabled=False):
            for place, step in enumerate(self.steps, len(named)):
                if step.name in named:
                    raise ConventionError(
                        expected=f"no side called {step.name!r}, which a step makes",
                        got=", ".join(named),
                        argument=step.name,
                        advice="Call the side or the step's result by another name.",
                    )
                made = step.side(batch, generator)
                batch.named[step.name] = _indexed(made, place)
            values = {term.key: term.value(batch, generator) for term in self.terms}
        total = torch.stack([term.weight * values[term.key] for term in self.terms]).sum()
        return ObjectiveValue(total, {name: value.detach() for name, value in values.items()})

    def extra_repr(self) -> str:
        return "\n".join(map(str, (*self.steps, *self.terms)))


class Objective(nn.Module):
    """A sum of terms over pairs of views; the action moves the first before they are compared.

    Terms see three sides: ``a`` and ``b``, the views, and ``moved``, ρ(g) a. Row i of each shows
    object i of the batch.

    Args:
        plan: What is summed; :func:`equivariant.losses.preset` has the named ones.
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

    def __init__(self, plan: Sequence[Term | Step], action: Action) -> None:
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
            value: ObjectiveValue = self.loss(
                generator=generator, **{n: Side.of(z, **known) for n, z in sides.items()}
            )
        return value


def _indexed(side: Side | Tensor, place: int) -> Side:
    """A side whose rows have indices of their own among all sides and processes."""
    side = side if isinstance(side, Side) else Side.of(side)
    here = rank()
    number = torch.arange(len(side), device=side.z.device)
    names = {"index": number + (here << 48) + (place << 40)}
    if side.id is None:
        names["id"] = number + (here << 48)
    wide = torch.promote_types(side.z.dtype, torch.float32)
    return side.replace(side.z.to(wide), **names)
