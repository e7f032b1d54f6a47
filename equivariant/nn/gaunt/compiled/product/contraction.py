"""The inner loops: sums over the coefficients that are not zero, for a block of lanes at once.

A schedule is nested lists, each a range of the next one, so that all that is summed into a row
stays in registers. Addresses within a block of lanes stand in the lists as offsets in bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.compilation import kernel
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import (
    add,
    fused,
    load,
    multiply,
    splat,
    store,
)

Offsets = NDArray[np.int64]
Numbers = NDArray[Any]


class Nested(NamedTuple):
    """Row r has the groups from rows[r] to rows[r+1], group k the terms groups[k] to groups[k+1].

    A term is a coefficient times the entry at ``term_at``; a group multiplies the sum of its terms
    by the entry at ``group_at``. ``mirrored`` lists hold each pair of a row and a group once, for
    a form that is symmetric in them, with half the coefficient where both are equal.

    Where ``code`` is not 0 it is the address of a function with all of this written out, see
    :mod:`unrolled`, and the lists are empty; ``coefficients`` are its last argument.
    """

    rows: Offsets
    row_at: Offsets
    groups: Offsets
    group_at: Offsets
    term_at: Offsets
    coefficients: Numbers
    mirrored: bool
    code: int


class Flat(NamedTuple):
    """Rows of segments of terms; a term has two factors, a segment is weighted as a whole."""

    rows: Offsets
    row_at: Offsets
    segments: Offsets
    segment_at: Offsets
    first_at: Offsets
    second_at: Offsets
    coefficients: Numbers


class Deep(NamedTuple):
    """Rows of weighted segments of groups of terms."""

    rows: Offsets
    row_at: Offsets
    segments: Offsets
    segment_at: Offsets
    groups: Offsets
    group_at: Offsets
    term_at: Offsets
    coefficients: Numbers


@kernel
def contract(x: int, y: int, z: int, plan: Nested) -> None:
    """z_c = Σ_a x_a (Σ_b G_abc y_b): rows are c, groups a, terms b."""
    like = plan.coefficients[0]
    for row in range(plan.row_at.shape[0]):
        total = splat(like - like)
        for group in range(plan.rows[row], plan.rows[row + 1]):
            first = plan.groups[group]
            inner = multiply(splat(plan.coefficients[first]), load(y + plan.term_at[first], like))
            for term in range(first + 1, plan.groups[group + 1]):
                factor = load(y + plan.term_at[term], like)
                inner = fused(splat(plan.coefficients[term]), factor, inner)
            total = fused(load(x + plan.group_at[group], like), inner, total)
        store(z + plan.row_at[row], total)


@kernel
def derive(x: int, y: int, g: int, to_x: int, to_y: int, plan: Nested) -> None:
    """Both gradients from one sweep: rows are a, groups b, terms c.

    t_ab = Σ_c G_abc g_c;  to_x_a = Σ_b t_ab y_b;  to_y_b += Σ_a t_ab x_a.
    """
    like = plan.coefficients[0]
    for row in range(plan.row_at.shape[0]):
        total = splat(like - like)
        own = load(x + plan.row_at[row], like)
        for group in range(plan.rows[row], plan.rows[row + 1]):
            first = plan.groups[group]
            inner = multiply(splat(plan.coefficients[first]), load(g + plan.term_at[first], like))
            for term in range(first + 1, plan.groups[group + 1]):
                factor = load(g + plan.term_at[term], like)
                inner = fused(splat(plan.coefficients[term]), factor, inner)
            total = fused(load(y + plan.group_at[group], like), inner, total)
            there = to_y + plan.group_at[group]
            store(there, fused(own, inner, load(there, like)))
        store(to_x + plan.row_at[row], total)


@kernel
def contract_mirrored(x: int, y: int, z: int, plan: Nested) -> None:
    """z_c += Σ_a<=b G_abc (x_a y_b + x_b y_a): rows are a, groups b, terms c."""
    like = plan.coefficients[0]
    for row in range(plan.row_at.shape[0]):
        own_x, own_y = load(x + plan.row_at[row], like), load(y + plan.row_at[row], like)
        for group in range(plan.rows[row], plan.rows[row + 1]):
            other = plan.group_at[group]
            pair = multiply(own_y, load(x + other, like))
            pair = fused(own_x, load(y + other, like), pair)
            for term in range(plan.groups[group], plan.groups[group + 1]):
                there = z + plan.term_at[term]
                store(there, fused(splat(plan.coefficients[term]), pair, load(there, like)))


@kernel
def derive_mirrored(x: int, y: int, g: int, to_x: int, to_y: int, plan: Nested) -> None:
    """Both gradients from one sweep over unordered pairs: rows are a, groups b, terms c.

    With t_ab = Σ_c G_abc g_c, to_x_a += t_ab y_b and to_x_b += t_ab y_a, and so for to_y.
    """
    like = plan.coefficients[0]
    for row in range(plan.row_at.shape[0]):
        here = plan.row_at[row]
        own_x, own_y = load(x + here, like), load(y + here, like)
        sum_x, sum_y = splat(like - like), splat(like - like)
        for group in range(plan.rows[row], plan.rows[row + 1]):
            first = plan.groups[group]
            inner = multiply(splat(plan.coefficients[first]), load(g + plan.term_at[first], like))
            for term in range(first + 1, plan.groups[group + 1]):
                factor = load(g + plan.term_at[term], like)
                inner = fused(splat(plan.coefficients[term]), factor, inner)
            other = plan.group_at[group]
            sum_x = fused(load(y + other, like), inner, sum_x)
            sum_y = fused(load(x + other, like), inner, sum_y)
            store(to_x + other, fused(own_y, inner, load(to_x + other, like)))
            store(to_y + other, fused(own_x, inner, load(to_y + other, like)))
        store(to_x + here, add(sum_x, load(to_x + here, like)))
        store(to_y + here, add(sum_y, load(to_y + here, like)))


@kernel
def contract_weighted(x: int, y: int, w: int, z: int, plan: Flat) -> None:
    """z_c = Σ_p w_p Σ_ab∈p G_abc x_a y_b: rows are c, segments the couplings p.

    With other lists the gradient by the weights: rows are p, segments c, and ``w`` holds g.
    """
    like = plan.coefficients[0]
    for row in range(plan.row_at.shape[0]):
        total = splat(like - like)
        for segment in range(plan.rows[row], plan.rows[row + 1]):
            part = splat(like - like)
            for term in range(plan.segments[segment], plan.segments[segment + 1]):
                factor = load(x + plan.first_at[term], like)
                scaled = multiply(splat(plan.coefficients[term]), factor)
                part = fused(scaled, load(y + plan.second_at[term], like), part)
            total = fused(load(w + plan.segment_at[segment], like), part, total)
        store(z + plan.row_at[row], total)


@kernel
def derive_weighted(
    x: int, y: int, g: int, w: int, to_x: int, to_y: int, to_w: int, plan: Deep
) -> None:
    """All three gradients from one sweep: rows are a, segments p, groups b, terms c.

    t_ab = Σ_c∈p G_abc g_c and s_a = Σ_b t_ab y_b for each p:
    to_x_a = Σ_p w_p s_a;  to_y_b += Σ_a,p w_p t_ab x_a;  to_w_p += Σ_a x_a s_a.
    """
    like = plan.coefficients[0]
    for row in range(plan.row_at.shape[0]):
        total = splat(like - like)
        own = load(x + plan.row_at[row], like)
        for segment in range(plan.rows[row], plan.rows[row + 1]):
            weight = load(w + plan.segment_at[segment], like)
            weighted = multiply(weight, own)
            part = splat(like - like)
            for group in range(plan.segments[segment], plan.segments[segment + 1]):
                first = plan.groups[group]
                factor = load(g + plan.term_at[first], like)
                inner = multiply(splat(plan.coefficients[first]), factor)
                for term in range(first + 1, plan.groups[group + 1]):
                    factor = load(g + plan.term_at[term], like)
                    inner = fused(splat(plan.coefficients[term]), factor, inner)
                part = fused(load(y + plan.group_at[group], like), inner, part)
                there = to_y + plan.group_at[group]
                store(there, fused(weighted, inner, load(there, like)))
            total = fused(weight, part, total)
            there = to_w + plan.segment_at[segment]
            store(there, fused(own, part, load(there, like)))
        store(to_x + plan.row_at[row], total)
