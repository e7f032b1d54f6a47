"""Names of sides in a plan: which it needs, and the same plan over sides of other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from equivariant.losses.objective.plan import BothWaysTerm, ContrastTerm, FunctionTerm, Step, Term


def input_names(items: Sequence[Term | Step]) -> list[str]:
    """Names of the sides that a plan needs, in the order in which it names them."""
    made, found = set[str](), dict[str, None]()
    for item in items:
        for names in _names(item):
            for name in names.partition(".")[0].split("+"):
                last = name.removesuffix("?").split("|")[-1]
                if last not in made:
                    found.setdefault(last)
        if isinstance(item, Step):
            made.add(item.name)
    return list(found)


def read_names(items: Sequence[Term | Step]) -> list[str] | None:
    """Every name that a plan reads, also optional ones and alternatives.

    Returns:
        The names; None where a term of another kind may read any.
    """
    found = dict[str, None]()
    for item in items:
        if not isinstance(item, Step | FunctionTerm | ContrastTerm | BothWaysTerm):
            return None
        for names in _names(item):
            for name in names.partition(".")[0].split("+"):
                found.update(dict.fromkeys(name.removesuffix("?").split("|")))
    return list(found)


def over(items: Sequence[Term | Step], names: Mapping[str, str]) -> list[Term | Step]:
    """A plan that reads sides of other names; what its own steps make keeps its name.

    Args:
        items: Terms and steps.
        names: From a plan's names to those of the sides that it reads instead.
    """
    made = {item.name for item in items if isinstance(item, Step)}
    new = {old: name for old, name in names.items() if old not in made}

    def rewritten(text: str) -> str:
        rows, dot, attribute = text.partition(".")
        joined = "+".join(
            "|".join(new.get(one, one) for one in name.removesuffix("?").split("|"))
            + ("?" if name.endswith("?") else "")
            for name in rows.split("+")
        )
        return f"{joined}{dot}{attribute}"

    def changed(item: Term | Step) -> Term | Step:
        if isinstance(item, Step | FunctionTerm):
            return replace(item, of=tuple(map(rewritten, item.of)))
        if isinstance(item, ContrastTerm):
            anchors, candidates = rewritten(item.anchors), rewritten(item.candidates)
            return replace(item, anchors=anchors, candidates=candidates)
        if isinstance(item, BothWaysTerm):
            return replace(item, a=rewritten(item.a), b=rewritten(item.b))
        return item

    return [changed(item) for item in items]


def _names(item: Term | Step) -> tuple[str, ...]:
    if isinstance(item, Step | FunctionTerm):
        return item.of
    if isinstance(item, ContrastTerm):
        return (item.anchors, item.candidates)
    return (item.a, item.b) if isinstance(item, BothWaysTerm) else ()
