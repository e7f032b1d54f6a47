"""How the numbers of a feature lie in a row of memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equivariant.nn.gaunt.compiled.nonzero_coefficients import Integers
from equivariant.nn.irreps_layout import Layout


@dataclass(frozen=True)
class RowLayout:
    """A row of blocks, one for each irrep.

    "mul_ir", e3nn's order, puts the 2l+1 coefficients of a channel side by side; "ir_mul" the
    channels of a coefficient.

    Args:
        widths: 2l+1 of each irrep.
        channels: Multiplicity of every irrep.
        order: "mul_ir" or "ir_mul".
        shared: Whether the row has one channel, which serves all.

    Example:
        >>> RowLayout((1, 3), 2, "mul_ir").records.tolist()
        [[0, 0, 1], [2, 1, 3]]
        >>> RowLayout((1, 3), 2, "ir_mul").records.tolist()
        [[0, 0, 1], [2, 1, 1], [4, 2, 1], [6, 3, 1]]
    """

    widths: tuple[int, ...]
    channels: int
    order: Layout
    shared: bool = False

    @property
    def size(self) -> int:
        """Number of coefficients of a channel."""
        return sum(self.widths)

    @property
    def length(self) -> int:
        """Numbers in a row."""
        return self.size if self.shared else self.size * self.channels

    @property
    def records(self) -> Integers:
        """For each run of records, one per channel: its place in the row, first coefficient, width.

        One channel makes one record of the whole row, whatever the order.
        """
        if self.shared or self.channels == 1:
            return np.array([[0, 0, self.size]])
        widths = self.widths if self.order == "mul_ir" else (1,) * self.size
        firsts = np.cumsum((0, *widths[:-1]))
        return np.stack([firsts * self.channels, firsts, np.array(widths)], axis=1)
