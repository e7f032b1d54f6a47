"""What kernels for powers need to know beforehand: where numbers lie, and which coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equivariant.harmonics.real_harmonics import Normalization
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import BYTES
from equivariant.nn.gaunt.compiled.nonzero_coefficients import Integers, harmonic_couplings
from equivariant.nn.gaunt.compiled.powers.sweeps import PowerPlan
from equivariant.nn.gaunt.compiled.product.contraction import Nested
from equivariant.nn.gaunt.compiled.product.schedules import PlaceList, mirrored
from equivariant.nn.irreps_layout import Layout

Parts = tuple[tuple[int, int], ...]
Precision = np.dtype[Any]


@dataclass(frozen=True)
class PowerShape:
    """Which sum of powers, of which features in memory.

    Args:
        inside: Sign and degree of each irrep of the features: 1 for the true part.
        outside: The same of the result.
        correlation: Largest power, 2 or 3.
        channels: Multiplicity of every irrep.
        order: Of features and result in memory.
        normalization: See :func:`real_harmonics`; not "norm".

    Example:
        >>> shape = PowerShape(((1, 0), (1, 2)), ((1, 1),), 3, 8, "ir_mul", "component")
        >>> shape.degree, shape.squared_degree, shape.rows, shape.functions
        (2, 3, 9, 1)
    """

    inside: Parts
    outside: Parts
    correlation: int
    channels: int
    order: Layout
    normalization: Normalization

    @property
    def degree(self) -> int:
        """Largest degree of the features."""
        return max(degree for _, degree in self.inside)

    @property
    def degree_out(self) -> int:
        """Largest degree of the result."""
        return max(degree for _, degree in self.outside)

    @property
    def squared_degree(self) -> int:
        """Largest degree of the square that counts: for the result, or for a cube."""
        needed = self.degree_out + (self.degree if self.correlation == 3 else 0)
        return min(2 * self.degree, needed)

    @property
    def rows(self) -> int:
        """Coefficients of one function, and of its cube."""
        return (max(self.degree, self.degree_out) + 1) ** 2

    @property
    def functions(self) -> int:
        """2 where there are true and pseudo parts."""
        return len({sign for sign, _ in self.inside})

    def component_of(self, power: int, sign: int, degree: int) -> tuple[int, int] | None:
        """Which function's power has an irrep, and where it starts there; None if none has."""
        if degree > power * self.degree:
            return None
        if self.functions == 2:
            return int(sign < 0), degree**2
        return (0, degree**2) if sign == self.inside[0][0] ** power else None


class PlanFields(NamedTuple):
    """Fields of :class:`Operand` after the address, for features, result and weights."""

    features: tuple[Any, ...]
    result: tuple[Any, ...]
    weights: tuple[Any, ...]


def fields(shape: PowerShape, size: int) -> PlanFields:
    """How operands lie in memory.

    Args:
        shape: Of the powers.
        size: Bytes of a number.

    Returns:
        Features and results as their order says; weights as kinds, powers, irreps, channels.
    """
    own = [
        degree**2 + (shape.rows if shape.functions == 2 and sign < 0 else 0)
        for sign, degree in shape.inside
    ]
    ends = [0, *accumulate(2 * degree + 1 for _, degree in shape.outside)]
    count = shape.correlation * len(shape.outside)
    step = shape.channels * size
    runs = np.array([(step * row, row, 1) for row in range(count)])
    return PlanFields(
        _field(shape, shape.inside, own, size),
        _field(shape, shape.outside, ends, size),
        (step * count, count, False, False, runs),
    )


def _field(shape: PowerShape, parts: Parts, rows: list[int], size: int) -> tuple[Any, ...]:
    """Irreps in memory, see :mod:`packing`, each with rows of lanes of its own."""
    widths = [2 * degree + 1 for _, degree in parts]
    runs, start = [], 0
    for width, row in zip(widths, rows, strict=False):
        if shape.order == "mul_ir":
            runs.append((start * shape.channels, row, width))
        else:
            runs += [((start + m) * shape.channels, row + m, 1) for m in range(width)]
        start += width
    records = np.array(runs) * (size, 1, 1)
    return start * shape.channels * size, start, False, False, records


def plan_of(shape: PowerShape, dtype: Precision) -> PowerPlan:
    """Everything that does not change from call to call.

    Args:
        shape: Of the powers.
        dtype: Of the operands.

    Returns:
        The plan.
    """
    functions, width = shape.functions, shape.rows
    squared = (shape.squared_degree + 1) ** 2
    folded = functions * width if functions == 2 else 0
    sizes = {
        "own": functions * width,
        "raised": folded,
        "second": functions * squared,
        "third": functions * width,
        "result": sum(2 * degree + 1 for _, degree in shape.outside),
        "weights": 2 * shape.correlation * len(shape.outside),
        "to_own": functions * width,
        "to_raised": folded,
        "to_second": functions * width,
        "to_third": functions * width,
    }
    starts = dict(zip(sizes, (0, *accumulate(sizes.values())), strict=False))
    if not folded:
        starts |= {"raised": starts["own"], "to_raised": starts["to_own"]}
    inside, outside = shape.degree, shape.degree_out
    less, more = sorted((inside, outside))
    products = _pairs(shape, (less, more, shape.squared_degree), dtype)
    return PowerPlan(
        rows=sum(sizes.values()),
        **{name: start * BYTES for name, start in starts.items()},
        functions=functions,
        width=width,
        squared=squared,
        sources=_places(shape, starts, ("own", "second", "third"), (width, squared, width)),
        targets=_places(shape, starts, ("to_own", "to_second", "to_third"), (width,) * 3),
        irreps=np.array([0, *accumulate(2 * degree + 1 for _, degree in shape.outside)]),
        factors=np.array([0, 1, 2, 3, 0.5], dtype),
        squares=_pairs(shape, (inside, inside, shape.squared_degree), dtype),
        products=products if shape.correlation == 3 else _nothing(products),
        pulls=_pairs(shape, (inside, inside, min(outside, 2 * inside)), dtype),
    )


def _places(
    shape: PowerShape, starts: dict[str, int], names: tuple[str, ...], strides: tuple[int, ...]
) -> Integers:
    """Row of every power for every component of the result, in bytes, or −1."""
    found = np.full((shape.correlation, sum(2 * n + 1 for _, n in shape.outside)), -1, np.int64)
    for power in range(1, shape.correlation + 1):
        row = 0
        for sign, degree in shape.outside:
            component = shape.component_of(power, sign, degree)
            if component is not None:
                function, first = component
                start = starts[names[power - 1]] + function * strides[power - 1] + first
                places = (start + np.arange(2 * degree + 1)) * BYTES
                found[power - 1, row : row + 2 * degree + 1] = places
            row += 2 * degree + 1
    return found


def _pairs(shape: PowerShape, degrees: tuple[int, int, int], dtype: Precision) -> Nested:
    """Coefficients between functions, each unordered pair of the first two places once."""
    terms = harmonic_couplings(*degrees, "even", shape.normalization)
    first, second, third = (np.arange(size) * BYTES for size in terms.sizes)
    nothing: NDArray[np.int64] = np.zeros(0, np.int64)
    return mirrored(terms, (0, 1, 2), PlaceList((first, second, third), nothing), dtype)


def _nothing(like: Nested) -> Nested:
    """A list without rows."""
    return like._replace(rows=like.rows[:1], row_at=like.row_at[:0])
