"""The order in which kernels visit coefficients, as flat arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.kernels.contraction import Deep, Flat, Nested
from equivariant.nn.gaunt.kernels.couplings import Couplings, Integers


class Offsets(NamedTuple):
    """Offset in bytes of every coefficient of the three operands, and of every weight."""

    operands: tuple[Integers, Integers, Integers]
    weights: Integers


def nested(
    terms: Couplings, roles: tuple[int, int, int], offsets: Offsets, dtype: np.dtype[np.generic]
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
        terms.value[order].astype(dtype),
    )  # fmt: skip


def flat(
    terms: Couplings, row: int, segment: int, offsets: Offsets, dtype: np.dtype[np.generic]
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
    terms: Couplings, roles: tuple[int, int, int], offsets: Offsets, dtype: np.dtype[np.generic]
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
