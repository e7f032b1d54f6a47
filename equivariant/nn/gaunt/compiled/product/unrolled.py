"""Products and their gradients as straight-line code, one for each list of coefficients."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from hashlib import sha256
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.instructions.machine_code import compile_text, processor
from equivariant.nn.gaunt.compiled.instructions.straight_line import Loads, StraightLine, Value
from equivariant.nn.gaunt.compiled.nonzero_coefficients import Couplings, Integers

MOST_TERMS = 7000  # of a list that is written out: at most about a second of compilation
SPARE = 6  # registers for all but sums
Purpose = Literal["product", "gradients"]


class Unrolled(NamedTuple):
    """Address of a function for one block of lanes, and the coefficients that it reads."""

    code: int
    coefficients: NDArray[Any]


class TermPair(NamedTuple):
    """Places of two factors, and for each term the place of the third and of the coefficient."""

    first: int
    second: int
    terms: tuple[tuple[int, int], ...]


class CodePlan(NamedTuple):
    """What is written out.

    With ``symmetric`` pairs stand for both orders of their factors, which have half the coefficient
    where both are equal. Offsets are those of all places of the three operands, in bytes.
    """

    pairs: list[TermPair]
    offsets: tuple[Integers, Integers, Integers]
    symmetric: bool
    dtype: np.dtype[np.generic]


_made: dict[str, Unrolled] = {}


def written_out(
    terms: Couplings, offsets: tuple[Integers, Integers, Integers],
    dtype: np.dtype[np.generic], *, purpose: Purpose, symmetric: bool,
) -> Unrolled:  # fmt: skip
    """Compile a product or its gradients; equal lists share one function.

        product(x, y, z, coefficients):                   z_c = Σ_ab G_abc x_a y_b
        gradients(x, y, g, to_x, to_y, coefficients):     t_ab = Σ_c G_abc g_c,
                                                          to_x_a = Σ_b t_ab y_b,
                                                          to_y_b = Σ_a t_ab x_a

    Args:
        terms: The coefficients G.
        offsets: Where the places of x, y and z or g lie, in bytes; gradients lie as x and y.
        dtype: Of operands and coefficients.
        purpose: "product" or "gradients".
        symmetric: Whether x and y can change places, coefficients and offsets alike.

    Returns:
        The address of the function, for one block of lanes, and the coefficients.
    """
    parts = (terms.first, terms.second, terms.third, terms.value, *offsets)
    settings = f"{purpose} {dtype} {symmetric} {terms.sizes} {processor()}".encode()
    key = sha256(settings + b"".join(part.tobytes() for part in parts)).hexdigest()
    if key not in _made:
        pairs, numbers = _pairs(terms, symmetric=symmetric)
        plan = CodePlan(pairs, offsets, symmetric, dtype)
        write = _write_product if purpose == "product" else _write_gradients
        _made[key] = Unrolled(compile_text(write(plan), purpose), numbers.astype(dtype))
    return _made[key]


def _pairs(terms: Couplings, *, symmetric: bool) -> tuple[list[TermPair], NDArray[np.float64]]:
    """Terms by pairs of the first two factors, and their coefficients in that order."""
    kept = terms.first <= terms.second if symmetric else np.ones(len(terms.value), bool)
    half = symmetric & (terms.first == terms.second)
    order = np.lexsort((terms.third, terms.second, terms.first))
    order = order[kept[order]]
    first, second, third = (
        part[order].tolist() for part in (terms.first, terms.second, terms.third)
    )
    pairs = [
        TermPair(a, b, tuple((third[place], place) for place in places))
        for (a, b), places in groupby(range(len(order)), lambda n: (first[n], second[n]))
    ]
    return pairs, (terms.value * np.where(half, 0.5, 1.0))[order]


def _classes(met: Iterable[tuple[Hashable, int]]) -> dict[int, int]:
    """Places that something has met, each with the least of those that it meets alike.

    Harmonics fall into the eight ways in which functions behave under reflections of x, y and z.
    """
    parent: dict[int, int] = {}
    latest: dict[Hashable, int] = {}

    def least(place: int) -> int:
        while parent.setdefault(place, place) != place:
            place = parent[place]
        return place

    for key, place in met:
        one, other = least(place), least(latest.setdefault(key, place))
        parent[max(one, other)] = min(one, other)
    return {place: least(place) for place in parent}


def _writer(name: str, operands: tuple[str, ...], plan: CodePlan) -> StraightLine:
    scalar = "float" if plan.dtype.itemsize == 4 else "double"
    return StraightLine(name, operands, scalar, processor())


def _write_product(plan: CodePlan) -> str:
    """Pairs in groups with the same results, which stay in registers to their end."""
    code = _writer("product", ("x", "y", "z"), plan)
    places = sum(len(offsets) for offsets in plan.offsets)
    registers = processor().registers
    together = len(plan.offsets[2]) <= registers - SPARE
    kind = _classes(((pair.first, pair.second), c) for pair in plan.pairs for c, _ in pair.terms)
    of_pair = lambda pair: 0 if together else kind[pair.terms[0][0]]  # noqa: E731
    for _, group in groupby(sorted(plan.pairs, key=of_pair), of_pair):
        with code.pieces():
            _write_sums(code, plan, group, fenced=places > registers)
    rest = [at for place, at in enumerate(plan.offsets[2].tolist()) if place not in kind]
    _write_zeros(code, "z", rest)
    return code.text()


def _write_sums(
    code: StraightLine, plan: CodePlan, pairs: Iterator[TermPair], *, fenced: bool
) -> None:
    """z_c = Σ G_abc x_a y_b over some pairs, or x_a y_b + x_b y_a."""
    at_x, at_y, at_z = (offsets.tolist() for offsets in plan.offsets)
    load = Loads(code, kept=not fenced)
    sums: dict[int, Value] = {}
    for a, row in groupby(pairs, lambda pair: pair.first):
        own_x, own_y = load("x", at_x[a]), load("y", at_y[a]) if plan.symmetric else ""
        for pair in row:
            both = code.multiply(own_x, load("y", at_y[pair.second]))
            if plan.symmetric:
                both = code.fused(own_y, load("x", at_x[pair.second]), both)
            for c, place in pair.terms:
                sums[c] = code.fused(code.number(place), both, sums.get(c))
            if fenced:
                code.fence()
    for c, total in sums.items():
        code.store("z", at_z[c], total)


def _write_gradients(plan: CodePlan) -> str:
    """Pairs in blocks of two classes, whose few sums are in registers at the same time."""
    code = _writer("gradients", ("x", "y", "g", "to_x", "to_y"), plan)
    terms = [(pair, c) for pair in plan.pairs for c, _ in pair.terms]
    of_first = [((pair.second, c), pair.first) for pair, c in terms]
    of_second = [((pair.first, c), pair.second) for pair, c in terms]
    if plan.symmetric:
        of_first = of_second = of_first + of_second
    first, second = _classes(of_first), _classes(of_second)
    pairs = [
        TermPair(pair.second, pair.first, pair.terms)
        if plan.symmetric and second[pair.second] < first[pair.first] else pair
        for pair in plan.pairs
    ]  # fmt: skip
    pairs.sort(key=lambda pair: (first[pair.first], second[pair.second], *pair[:2]))
    sums: dict[tuple[str, int], Value] = {}
    fenced = len(plan.offsets[0]) + len(plan.offsets[1]) > processor().registers
    blocks = groupby(pairs, lambda pair: (first[pair.first], second[pair.second]))
    with code.pieces():
        for _, block in blocks:
            _write_block(code, plan, block, sums)
            if fenced:
                code.fence()
        for (operand, offset), value in sums.items():
            code.store(operand, offset, value)
    for operand, offsets in (("to_x", plan.offsets[0]), ("to_y", plan.offsets[1])):
        _write_zeros(code, operand, [at for at in offsets.tolist() if (operand, at) not in sums])
    return code.text()


def _write_block(
    code: StraightLine,
    plan: CodePlan,
    pairs: Iterator[TermPair],
    sums: dict[tuple[str, int], Value],
) -> None:
    """What some pairs add to both gradients."""
    at_x, at_y, at_g = (offsets.tolist() for offsets in plan.offsets)

    def add(operand: str, offset: int, a: Value, b: Value) -> None:
        sums[operand, offset] = code.fused(a, b, sums.get((operand, offset)))

    for a, row in groupby(pairs, lambda pair: pair.first):
        own_x, own_y = code.load("x", at_x[a]), code.load("y", at_y[a]) if plan.symmetric else ""
        for _, b, terms in row:
            (c, place), *others = terms
            t = code.multiply(code.number(place), code.load("g", at_g[c]))
            for c, place in others:
                t = code.fused(code.number(place), code.load("g", at_g[c]), t)
            add("to_x", at_x[a], t, code.load("y", at_y[b]))
            add("to_y", at_y[b], t, own_x)
            if plan.symmetric:
                add("to_y", at_y[a], t, code.load("x", at_x[b]))
                add("to_x", at_x[b], t, own_y)


def _write_zeros(code: StraightLine, operand: str, offsets: list[int]) -> None:
    """Zeros where nothing is summed."""
    if offsets:
        with code.pieces():
            for offset in offsets:
                code.store(operand, offset, "zeroinitializer")
