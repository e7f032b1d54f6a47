"""The inner loops of powers: squares of functions, and products with them, a block at a time.

Every list holds unordered pairs of a and b once, with half the coefficient where both are equal,
as :func:`mirrored` makes them: rows are a, groups b, terms c. All three coefficients may be
exchanged, so that a sum over pairs serves both a and b.
"""

from __future__ import annotations

from equivariant.nn.gaunt.compiled.compilation import kernel
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import (
    BYTES,
    add,
    fused,
    load,
    multiply,
    splat,
    store,
)
from equivariant.nn.gaunt.compiled.product.contraction import Nested


@kernel
def square(f: int, s: int, plan: Nested) -> None:
    """s_c += Σ_ab G_abc f_a f_b, each pair once: f_a f_b counts twice, and half that if a = b."""
    like = plan.coefficients[0]
    for row in range(plan.row_at.shape[0]):
        own = load(f + plan.row_at[row], like)
        twice = add(own, own)
        for group in range(plan.rows[row], plan.rows[row + 1]):
            pair = multiply(twice, load(f + plan.group_at[group], like))
            for term in range(plan.groups[group], plan.groups[group + 1]):
                there = s + plan.term_at[term]
                store(there, fused(splat(plan.coefficients[term]), pair, load(there, like)))


@kernel
def multiply_functions(s: int, f: int, z: int, plan: Nested) -> None:
    """z_a += Σ_b t_ab f_b with t_ab = Σ_c G_abc s_c: the product of s and f."""
    like = plan.coefficients[0]
    for row in range(plan.row_at.shape[0]):
        here = plan.row_at[row]
        own = load(f + here, like)
        total = splat(like - like)
        for group in range(plan.rows[row], plan.rows[row + 1]):
            first = plan.groups[group]
            inner = multiply(splat(plan.coefficients[first]), load(s + plan.term_at[first], like))
            for term in range(first + 1, plan.groups[group + 1]):
                factor = load(s + plan.term_at[term], like)
                inner = fused(splat(plan.coefficients[term]), factor, inner)
            other = plan.group_at[group]
            total = fused(load(f + other, like), inner, total)
            store(z + other, fused(own, inner, load(z + other, like)))
        store(z + here, add(total, load(z + here, like)))


@kernel
def multiply_both(s: int, f: int, z: int, g: int, to: int, plan: Nested) -> None:
    """:func:`multiply_functions` of f into z and of g into ``to``, from one sweep with one t."""
    like = plan.coefficients[0]
    for row in range(plan.row_at.shape[0]):
        here = plan.row_at[row]
        own_f, own_g = load(f + here, like), load(g + here, like)
        sum_f, sum_g = splat(like - like), splat(like - like)
        for group in range(plan.rows[row], plan.rows[row + 1]):
            first = plan.groups[group]
            inner = multiply(splat(plan.coefficients[first]), load(s + plan.term_at[first], like))
            for term in range(first + 1, plan.groups[group + 1]):
                factor = load(s + plan.term_at[term], like)
                inner = fused(splat(plan.coefficients[term]), factor, inner)
            other = plan.group_at[group]
            sum_f = fused(load(f + other, like), inner, sum_f)
            sum_g = fused(load(g + other, like), inner, sum_g)
            store(z + other, fused(own_f, inner, load(z + other, like)))
            store(to + other, fused(own_g, inner, load(to + other, like)))
        store(z + here, add(sum_f, load(z + here, like)))
        store(to + here, add(sum_g, load(to + here, like)))


@kernel
def clear_rows(address: int, rows: int, like: float) -> None:
    """Zeros in rows that are about to be summed."""
    for row in range(rows):
        store(address + row * BYTES, splat(like - like))


@kernel
def fold(source: int, target: int, rows: int, scale: float) -> None:
    """From f and h, one after the other, f+h and f−h, times a number; may be in place."""
    factor = splat(scale)
    opposite = splat(-scale)
    for row in range(rows):
        here, there = row * BYTES, (row + rows) * BYTES
        f, h = load(source + here, scale), load(source + there, scale)
        scaled = multiply(factor, f)
        store(target + here, fused(factor, h, scaled))
        store(target + there, fused(opposite, h, scaled))
