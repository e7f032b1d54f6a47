"""The coefficients of all couplings between irreps, as one list."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from e3nn.o3 import Irrep, Irreps

from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.nn.gaunt.compiled.nonzero_coefficients import (
    Couplings,
    Integers,
    harmonic_couplings,
)
from equivariant.nn.gaunt.paths import Parity
from equivariant.nn.gaunt.product.path_norm import PathNorm, degree_factors
from equivariant.nn.irreps import irreps_of, sign_of


@dataclass(frozen=True)
class IrrepsProduct:
    """Which couplings between irreps are summed, and with which constants.

    Args:
        irreps_in1: Irreps of the first operand, each once; multiplicities play no part.
        irreps_in2: Of the second.
        irreps_out: Of the result.
        parity: "even" or "full", see :class:`GauntTensorProduct`.
        normalization: See :func:`real_harmonics`.
        path_norm: See :func:`degree_factors`.

    Example:
        >>> both = Irreps("0e + 1o")
        >>> IrrepsProduct(both, both, both, "even", "integral", "none").paths
        ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0))
    """

    irreps_in1: Irreps
    irreps_in2: Irreps
    irreps_out: Irreps
    parity: Parity
    normalization: Normalization
    path_norm: PathNorm

    @property
    def operands(self) -> tuple[Irreps, Irreps, Irreps]:
        """Irreps of both operands and of the result."""
        return self.irreps_in1, self.irreps_in2, self.irreps_out

    @property
    def degrees(self) -> tuple[int, int, int]:
        """Largest degree of each."""
        first, second, third = (max(irrep.l for irrep in irreps_of(o)) for o in self.operands)
        return first, second, third

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Products, or products and brackets."""
        return ("even",) if self.parity == "even" else ("even", "odd")

    @property
    def paths(self) -> tuple[tuple[int, int, int], ...]:
        """Couplings as places of irreps in the three lists, in lexical order."""
        first, second, third = (irreps_of(irreps) for irreps in self.operands)
        return tuple(
            (i, j, k)
            for i, one in enumerate(first)
            for j, other in enumerate(second)
            for k, out in enumerate(third)
            if out in one * other and kind_of(one, other, out) in self.kinds
        )


def kind_of(first: Irrep, second: Irrep, third: Irrep) -> Kind:
    """Whether functions or brackets couple irreps.

    Args:
        first: Of the first operand.
        second: Of the second.
        third: Of the result.

    Returns:
        "even" or "odd", the parity of l1 + l2 + l3.

    Example:
        >>> kind_of(Irrep("1o"), Irrep("1o"), Irrep("1e"))
        'odd'
    """
    return "odd" if (first.l + second.l + third.l) % 2 else "even"


@lru_cache(maxsize=64)
def irreps_couplings(product: IrrepsProduct) -> Couplings:
    """All coefficients that are not zero, with places of coefficients counted within irreps.

    Args:
        product: Which couplings.

    Returns:
        The list; paths are numbered as in ``product.paths``.

    Example:
        >>> both = Irreps("0e + 1o")
        >>> len(irreps_couplings(IrrepsProduct(both, both, both, "even", "norm", "none")).value)
        10
    """
    found = []
    L1, L2, L3 = product.degrees
    for kind in product.kinds:
        whole = harmonic_couplings(L1, L2, L3, kind, product.normalization)
        factors = degree_factors(
            L1, L2, L3,
            kind=kind, normalization=product.normalization, path_norm=product.path_norm,
        )  # fmt: skip
        value = whole.value
        listed = (whole.first, whole.second, whole.third)
        for factor, places in zip(factors, listed, strict=True):
            value = value * np.repeat(factor, 2 * np.arange(len(factor)) + 1)[places]
        for sign1 in (1, -1):
            for sign2 in (1, -1):
                signs = (sign1, sign2, sign1 * sign2 * (1 if kind == "even" else -1))
                three = [
                    _places(irreps, degree, sign)[place]
                    for irreps, degree, sign, place in zip(
                        product.operands, product.degrees, signs, listed, strict=True
                    )
                ]
                kept = (three[0] >= 0) & (three[1] >= 0) & (three[2] >= 0)
                found.append((*(place[kept] for place in three), value[kept]))
    first, second, third, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    entries = [_entries(irreps) for irreps in product.operands]
    counts = [len(irreps_of(irreps)) for irreps in product.operands]
    number = np.full(counts, -1)
    for place, path in enumerate(product.paths):
        number[path] = place
    path = number[entries[0][first], entries[1][second], entries[2][third]]
    sizes = (len(entries[0]), len(entries[1]), len(entries[2]))
    return Couplings(first, second, third, path, value, sizes, len(product.paths))


def _places(irreps: Irreps, degree: int, sign: int) -> Integers:
    """For every harmonic up to a degree its place within the irreps of a sign, or -1."""
    places = np.full((degree + 1) ** 2, -1)
    start = 0
    for irrep in irreps_of(irreps):
        if sign_of(irrep) == sign:
            places[irrep.l**2 : (irrep.l + 1) ** 2] = np.arange(start, start + irrep.dim)
        start += irrep.dim
    return places


def _entries(irreps: Irreps) -> Integers:
    """Number of the irrep that every coefficient belongs to."""
    dims = [irrep.dim for irrep in irreps_of(irreps)]
    return np.repeat(np.arange(len(dims)), dims)
