"""The coefficients of a convolution over edges that are not zero."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from equivariant.nn.gaunt.compiled.nonzero_coefficients import Integers


@dataclass(frozen=True, eq=False)
class EdgeTerms:
    """The form Σ_e Σ value · x[row] h_e[filter] y[column], and what filters are made of.

    h_e[f] is the number ``harmonic[f]`` of an edge's harmonics times the number ``weight[f]`` of
    its weights.

    Args:
        row: Places in x, shape (terms,).
        filter: Places in h.
        column: Places in y.
        value: Coefficients, float64.
        sizes: Components of x, of h and of y.
        harmonic: Shape (filters,).
        weight: Shape (filters,).
        factors: Numbers of harmonics and of weights of an edge.
    """

    row: Integers
    filter: Integers
    column: Integers
    value: NDArray[np.float64]
    sizes: tuple[int, int, int]
    harmonic: Integers
    weight: Integers
    factors: tuple[int, int]

    def alone(self) -> EdgeTerms:
        """The same form with filters given as they are, one harmonic each and a weight of 1."""
        number = np.arange(self.sizes[1])
        none = np.zeros_like(number)
        return replace(self, harmonic=number, weight=none, factors=(self.sizes[1], 1))

    def transposed(self) -> EdgeTerms:
        """The same form with x and y exchanged."""
        sizes = self.sizes[2], self.sizes[1], self.sizes[0]
        return replace(self, row=self.column, column=self.row, sizes=sizes)
