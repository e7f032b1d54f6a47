"""The order in which kernels visit coefficients, as flat arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.nonzero_coefficients import Couplings, Integers
from equivariant.nn.gaunt.compiled.product.contraction import Deep, Flat, Nested
from equivariant.nn.gaunt.compiled.product.unrolled import Purpose, written_out


class PlaceList(NamedTuple):
    """Offset in bytes of every coefficient of the three operands, and of every weight."""

    operands: tuple[Integers, Integers, Integers]
    weights: Integers


def nested(
    terms: Couplings, roles: tuple[int, int, int], offsets: PlaceList, dtype: np.dtype[np.generic]
) -> Nested:
    """Order for kernels without weights.

    Args:
        terms: The coefficients.
        roles: Which operand makes the rows, which the groups and which the terms.
        offsets: Where coefficients lie.
        dtype: Of the coefficients.

    Returns:
        The lists.
    """
    row, group, term = (_places(terms)[role] for role in roles)
    order = np.lexsort((term, group, row))
    row, group, term = row[order], group[order], term[order]
    starts = _starts(row, group)
    rows = np.searchsorted(row[starts], np.arange(terms.sizes[roles[0]] + 1))
    at = [offsets.operands[role] for role in roles]
    return Nested(
        rows, at[0], _ends(starts, row), at[1][group[starts]], at[2][term],
        terms.value[order].astype(dtype), False, 0,
    )  # fmt: skip


def unrolled(
    terms: Couplings, roles: tuple[int, int, int], offsets: PlaceList, dtype: np.dtype[np.generic],
    *, purpose: Purpose, symmetric: bool,
) -> Nested:  # fmt: skip
    """No order: everything written out.

    Args:
        terms: The coefficients, at most ``MOST_TERMS``.
        roles: Which operands are the factors, and which the result or the cotangent.
        offsets: Where coefficients lie.
        dtype: Of the coefficients.
        purpose: "product" or "gradients".
        symmetric: Whether the factors can change places, coefficients and offsets alike.

    Returns:
        Lists of which only the address and the coefficients count.
    """
    places, sizes = _places(terms), terms.sizes
    one, other, third = roles
    transposed = replace(
        terms, first=places[one], second=places[other], third=places[third],
        sizes=(sizes[one], sizes[other], sizes[third]),
    )  # fmt: skip
    at = (offsets.operands[one], offsets.operands[other], offsets.operands[third])
    made = written_out(transposed, at, dtype, purpose=purpose, symmetric=symmetric)
    empty = np.zeros(0, np.int64)
    return Nested(empty, empty, empty, empty, empty, made.coefficients, symmetric, made.code)


def mirrored(
    terms: Couplings, roles: tuple[int, int, int], offsets: PlaceList, dtype: np.dtype[np.generic]
) -> Nested:
    """Order for kernels without weights, of a form that is symmetric in its first two operands.

    Args:
        terms: The coefficients, see :func:`is_symmetric`.
        roles: (0, 1, 2).
        offsets: Where coefficients lie, alike for the first two operands.
        dtype: Of the coefficients.

    Returns:
        The lists, over pairs that are not ordered.
    """
    kept = terms.first <= terms.second
    first, second, third = (places[kept] for places in _places(terms))
    value = terms.value[kept] * np.where(first == second, 0.5, 1.0)
    half = replace(terms, first=first, second=second, third=third, value=value)
    return nested(half, roles, offsets, dtype)._replace(mirrored=True)


def is_symmetric(terms: Couplings) -> bool:
    """Whether the first two operands can change places.

    Args:
        terms: The coefficients.

    Returns:
        True if every coefficient stands for both orders.
    """
    if terms.sizes[0] != terms.sizes[1]:
        return False
    there = np.lexsort((terms.third, terms.second, terms.first))
    back = np.lexsort((terms.third, terms.first, terms.second))
    return (
        np.array_equal(terms.first[there], terms.second[back])
        and np.array_equal(terms.second[there], terms.first[back])
        and np.array_equal(terms.third[there], terms.third[back])
        and np.allclose(terms.value[there], terms.value[back], rtol=1e-10, atol=0)
    )


def flat(
    terms: Couplings, row: int, segment: int, offsets: PlaceList, dtype: np.dtype[np.generic]
) -> Flat:
    """Order for products with weights, and for the gradient by the weights.

    Args:
        terms: The coefficients.
        row: Operand that makes the rows; 3 stands for the weights.
        segment: Operand that makes the segments, or 3. One of the two is 3.
        offsets: Where coefficients lie.
        dtype: Of the coefficients.

    Returns:
        The lists; both factors of terms are the operands that remain.
    """
    places = [*_places(terms), terms.path]
    at = [*offsets.operands, offsets.weights]
    one, other = sorted({0, 1, 2} - {row, segment})
    order = np.lexsort((places[other], places[one], places[segment], places[row]))
    rows, segments = places[row][order], places[segment][order]
    starts = _starts(rows, segments)
    count = [*terms.sizes, terms.paths][row]
    return Flat(
        np.searchsorted(rows[starts], np.arange(count + 1)), at[row],
        _ends(starts, rows), at[segment][segments[starts]],
        at[one][places[one][order]], at[other][places[other][order]],
        terms.value[order].astype(dtype),
    )  # fmt: skip


def deep(
    terms: Couplings, roles: tuple[int, int, int], offsets: PlaceList, dtype: np.dtype[np.generic]
) -> Deep:
    """Order for all gradients of a product with weights.

    Args:
        terms: The coefficients.
        roles: Which operand makes the rows, which the groups and which the terms.
        offsets: Where coefficients lie.
        dtype: Of the coefficients.

    Returns:
        The lists.
    """
    row, group, term = (_places(terms)[role] for role in roles)
    order = np.lexsort((term, group, terms.path, row))
    row, group, term, path = row[order], group[order], term[order], terms.path[order]
    inner, outer = _starts(row, path, group), _starts(row, path)
    rows = np.searchsorted(row[outer], np.arange(terms.sizes[roles[0]] + 1))
    segments = np.append(np.searchsorted(inner, outer), len(inner))
    at = [offsets.operands[role] for role in roles]
    return Deep(
        rows, at[0], segments, offsets.weights[path[outer]],
        _ends(inner, row), at[1][group[inner]], at[2][term], terms.value[order].astype(dtype),
    )  # fmt: skip


def _places(terms: Couplings) -> tuple[Integers, Integers, Integers]:
    return terms.first, terms.second, terms.third


def _starts(*keys: Integers) -> Integers:
    """Where a new combination of keys begins in sorted lists."""
    new = np.ones(len(keys[0]), bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(new)


def _ends(starts: Integers, whole: NDArray[np.int64]) -> Integers:
    return np.append(starts, len(whole))
