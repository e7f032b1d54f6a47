"""Terms of an objective, and steps before them, as data: what is compared with what, and how."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.checks import check_finite, check_share
from equivariant.losses.contrast.anchor_candidates import MakeOwn
from equivariant.losses.contrast.core import Contrast, Evaluation, contrast, contrast_both
from equivariant.losses.contrast.pairs import Pairs, Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import Similarity
from equivariant.losses.contrast.statistics import Form, Hardest, Link, Pull, Push
from equivariant.losses.temperatures.temperature import Temperature, temperature_of
from equivariant.losses.transforms import traced
from equivariant.processes import across_processes, collect
from equivariant.shapes import Float

T = TypeVar("T")
TermKind = Literal["anchors", "moments"]
"""What several processes share: ``anchors`` keep their own rows and gather the candidates,
``moments`` see the rows of all."""

Reduction = Literal["mean", "log-mean-exp"]


class Sides:
    """Named sides; ``"a+b"`` joins rows, ``"a.label"`` is what a's rows know.

    ``"a+b?"`` is a alone where there is no b, and ``"moved|a"`` is a where nothing is called moved.

    Args:
        named: Sides by name.
        slices: Columns of each part, for terms that see one part of the vectors.
        numbered: Of sides whose rows were called 0, 1, ... by their place: how many rows.
        twins: Names by which one tensor was passed twice, and the first of them.
    """

    def __init__(
        self,
        named: Mapping[str, Side],
        slices: Sequence[slice] = (),
        numbered: Mapping[str, int] | None = None,
        twins: Mapping[str, str] | None = None,
    ) -> None:
        self.named = dict(named)
        self.slices = tuple(slices)
        self.numbered = dict(numbered or {})
        self.twins = dict(twins or {})

    def side(self, names: str, part: int | None = None) -> Side:
        """The rows of one side, or of several joined by ``+``.

        Raises:
            ConventionError: A name is not among the sides, or the part does not exist.
        """
        return Side.join(*(self._one(name, part) for name in self.found(names)))

    def found(self, names: str) -> list[str]:
        """The names meant by joined, optional and alternative ones."""
        chosen = []
        for name in names.split("+"):
            wanted, optional = name.removesuffix("?").split("|"), name.endswith("?")
            there = [one for one in wanted if one in self.named]
            if there or not optional:
                chosen.append((there or wanted)[0])
        return chosen

    def check_rows(self, names: Sequence[str], pairs: Pairs) -> None:
        """Refuse rows that cannot be what pairs take them for.

        Args:
            names: What anchors and candidates are called.
            pairs: Who attracts whom.

        Raises:
            ShapeError: Rows are paired by place, and sides have different numbers of them.
            ConventionError: One tensor came as two sides, whose rows would be positives of
                themselves.
        """
        used = set(_strings_in(pairs))
        found = [one for name in names for one in self.found(name)]
        lengths = {one: self.numbered[one] for one in found if one in self.numbered}
        if "id" in used and len(set(lengths.values())) > 1:
            shown = ", ".join(f"{count} of {one}" for one, count in lengths.items())
            raise ShapeError(
                expected="as many rows of every side, row i showing object i",
                got=shown,
                argument=found[0],
                advice="Pass sides that know their id, Side.of(z, id=...), if rows are not paired.",
            )
        twice = [one for one in found if self.twins.get(one) in found]
        if "label" in used and twice:
            raise ConventionError(
                expected="two views of each object",
                got=f"one tensor as {self.twins[twice[0]]} and {twice[0]}",
                argument=twice[0],
                advice="Pass one view alone, loss(z, labels): its copy would be its own positive.",
            )

    def tensor(self, name: str, part: int | None = None) -> Tensor:
        """Embeddings of ``"a"``, or what ``"a.label"`` names; rows of all processes."""
        rows, _, attribute = name.partition(".")
        side = self.side(rows, part)
        return collect(side.get(attribute) if attribute else side.z)

    def _one(self, name: str, part: int | None) -> Side:
        if name not in self.named:
            raise ConventionError(
                expected=f"a side called {name!r}",
                got=", ".join(self.named) or "none",
                argument="sides",
                advice=f"Pass {name}= when calling the loss.",
            )
        side = self.named[name]
        if part is None:
            return side
        if not 0 <= part < len(self.slices):
            raise ConventionError(
                expected=f"a part below {len(self.slices)}",
                got=str(part),
                argument="part",
                advice="A part is the index of a summand of the action: 0 is the first.",
            )
        return side.replace(side.z[:, self.slices[part]], irreps=None)


@dataclass(frozen=True)
class TermValue:
    """The value of a term.

    Args:
        value: Before the weight, a scalar.
        contrasts: Values per anchor by what their name adds to the term's: ``""`` for the only
            one; empty where a term is no contrast.
    """

    value: Float[Tensor, ""]
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)


@dataclass(frozen=True)
class Term(ABC):
    """One summand of an objective.

    Args:
        name: How it is called in logs.
        weight: Factor; negative rewards.
        part: Index of the part of the vectors that the term sees; None sees them whole.
    """

    name: str
    weight: float = 1.0
    part: int | None = None

    def __post_init__(self) -> None:
        check_finite(self.weight, "weight", "0 leaves a term out of the sum.")

    @property
    def key(self) -> str:
        """The name with the part."""
        return self.name if self.part is None else f"{self.name}_{self.part}"

    @property
    @abstractmethod
    def kind(self) -> TermKind:
        """What the term shares with other processes."""

    @abstractmethod
    def value(self, sides: Sides, generator: torch.Generator | None) -> Float[Tensor, ""]:
        """The term before its weight."""

    def evaluate(self, sides: Sides, generator: torch.Generator | None) -> TermValue:
        """The term before its weight, and the contrasts that it is made of."""
        return TermValue(self.value(sides, generator))


@dataclass(frozen=True)
class ContrastTerm(Term):
    """A contrast of two sides; the fields beyond are the arguments of :func:`contrast`.

    Args:
        anchors: Sides whose rows are the anchors, joined by ``+``.
        candidates: Sides whose rows are the candidates.
        reduce: ``mean`` over valid anchors, or the logarithm of the mean exponential.
        own: Makes candidates that each anchor has alone, beside the shared ones.
        shared: Whether every process holds the same candidates (prototypes, words): they are
            then not gathered.
        method: How it is evaluated; see :func:`contrast`.
    """

    anchors: str = "a+b"
    candidates: str = "a+b"
    pairs: Pairs = field(default_factory=lambda: Same("id").not_self())
    tau: float | Temperature = 0.1
    similarity: Similarity | None = None
    keep: float = 1.0
    pull: Pull = "mean"
    push: Push = "lse"
    link: Link = "gap"
    hardest: Hardest | None = None
    reduce: Reduction = "mean"
    own: MakeOwn | None = None
    shared: bool = False
    method: Evaluation = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        temperature_of(self.tau)  # refused before a batch comes
        Form(self.keep, self.pull, self.push, self.link, self.hardest)

    @property
    def kind(self) -> TermKind:
        return "anchors"

    def value(self, sides: Sides, generator: torch.Generator | None) -> Float[Tensor, ""]:
        return self.evaluate(sides, generator).value

    def evaluate(self, sides: Sides, generator: torch.Generator | None) -> TermValue:
        sides.check_rows((self.anchors, self.candidates), self.pairs)
        anchors = sides.side(self.anchors, self.part)
        candidates = sides.side(self.candidates, self.part)
        result = contrast(
            anchors,
            candidates,
            self.pairs,
            tau=self.tau,
            similarity=self.similarity,
            keep=self.keep,
            pull=self.pull,
            push=self.push,
            link=self.link,
            hardest=self.hardest,
            gather=not self.shared,
            own=None if self.own is None else self.own(anchors, candidates, generator),
            method=self.method,
        )
        result = replace(result, gathered=across_processes())
        _say_if_none_counts(result, self)
        if self.reduce == "mean":
            return TermValue(result.mean(), {"": result})
        rows = collect(result.per_anchor[result.valid])
        value = rows.sum() if len(rows) == 0 else rows.logsumexp(0) - math.log(len(rows))
        return TermValue(value, {"": result})


@dataclass(frozen=True)
class BothWaysTerm(Term):
    """Two sides, each anchors once: ``forward`` times one direction, the rest times the other.

    Args:
        a: One side.
        b: The other.
        pairs: Who attracts and who repels whom.
        tau: Temperature.
        forward: Share of the direction from a to b, in [0, 1].
        method: How it is evaluated; see :func:`contrast`.
    """

    a: str = "a"
    b: str = "b"
    pairs: Pairs = field(default_factory=lambda: Same("id"))
    tau: float | Temperature = 0.1
    forward: float = 0.5
    method: Evaluation = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        temperature_of(self.tau)  # refused before a batch comes
        check_share(self.forward, "forward", "0.5 weighs both directions equally.")

    @property
    def kind(self) -> TermKind:
        return "anchors"

    def value(self, sides: Sides, generator: torch.Generator | None) -> Float[Tensor, ""]:
        return self.evaluate(sides, generator).value

    def evaluate(self, sides: Sides, generator: torch.Generator | None) -> TermValue:
        sides.check_rows((self.a, self.b), self.pairs)
        a, b = sides.side(self.a, self.part), sides.side(self.b, self.part)
        there, back = contrast_both(a, b, self.pairs, tau=self.tau, gather=True, method=self.method)
        _say_if_none_counts(there, self)
        value = self.forward * there.mean() + (1.0 - self.forward) * back.mean()
        return TermValue(value, {f"_{self.a}_{self.b}": there, f"_{self.b}_{self.a}": back})


@dataclass(frozen=True)
class FunctionTerm(Term):
    """A function of whole sides: statistics of columns, a sort, a bound.

    Args:
        function: Takes the tensors named by ``of`` and the settings; returns a scalar, or one
            number per row, which are averaged (0 of none).
        of: Sides (``"a"``), or what their rows know (``"a.label"``); of all processes.
        settings: Keyword arguments.
        draws: Whether the function also takes ``generator=``.
    """

    function: Callable[..., Tensor] = torch.add
    of: tuple[str, ...] = ("a", "b")
    settings: Mapping[str, Any] = field(default_factory=dict)
    draws: bool = False

    @property
    def kind(self) -> TermKind:
        return "moments"

    def value(self, sides: Sides, generator: torch.Generator | None) -> Float[Tensor, ""]:
        tensors = [sides.tensor(name, self.part) for name in self.of]
        drawn = {"generator": generator} if self.draws else {}
        values = self.function(*tensors, **self.settings, **drawn)
        return values.mean() if values.numel() else values.sum()


@dataclass(frozen=True)
class Step:
    """Makes one more side from others, before terms are evaluated.

    Args:
        name: What the new side is called.
        function: Takes the sides named by ``of`` and the settings; returns a side.
        of: Names of sides.
        settings: Keyword arguments.
        draws: Whether the function also takes ``generator=``.
    """

    name: str
    function: Callable[..., Side]
    of: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    draws: bool = False

    def side(self, sides: Sides, generator: torch.Generator | None) -> Side:
        """The new side."""
        drawn = {"generator": generator} if self.draws else {}
        return self.function(*map(sides.side, self.of), **self.settings, **drawn)


def _say_if_none_counts(result: Contrast, term: Term) -> None:
    """Warn where a contrast is 0 because no anchor has what it takes."""
    if across_processes() or traced() or not len(result.valid) or bool(result.valid.any()):
        return
    warnings.warn(
        f"{term.key}: no anchor counts, so its value is 0 without a gradient. Anchors need a "
        "positive among the candidates, and something to repel: look at ids and labels",
        stacklevel=2,
    )


def _strings_in(value: object) -> Iterator[str]:
    """Names that pairs go by, wherever they stand."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            yield from _strings_in(getattr(value, f.name))


def trained_inside(value: object) -> Iterator[nn.Module | nn.Parameter]:
    """Modules and parameters in the fields of terms, wherever they are."""
    if isinstance(value, nn.Module | nn.Parameter):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            yield from trained_inside(getattr(value, f.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from trained_inside(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from trained_inside(item)


def with_numbers(value: T, numbers: Mapping[int, Tensor]) -> T:
    """A term or step whose parameters are replaced, wherever they are.

    Args:
        value: The term or step; it stays as it is where it holds none of them.
        numbers: What stands in place of a parameter, by its ``id``.
    """
    found: Any = value
    if isinstance(found, nn.Parameter):
        return cast(T, numbers.get(id(found), found))
    if is_dataclass(found) and not isinstance(found, type):
        now = {f.name: getattr(found, f.name) for f in fields(found) if f.init}
        changed = {name: with_numbers(item, numbers) for name, item in now.items()}
        if any(changed[name] is not now[name] for name in now):
            return cast(T, replace(found, **changed))
    return value
