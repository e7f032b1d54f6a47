"""Weighted sums of squares and cubes in compiled kernels on the CPU, and their first gradients."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equivariant.harmonics.real_harmonics import Normalization
from equivariant.nn.gaunt.compiled.compilation import NUMPY_DTYPES
from equivariant.nn.gaunt.compiled.instructions.channel_blocks import Extent
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import BYTES
from equivariant.nn.gaunt.compiled.powers.plans import (
    Parts,
    PlanFields,
    PowerShape,
    fields,
    plan_of,
)
from equivariant.nn.gaunt.compiled.powers.sweeps import derive_all_powers, raise_all
from equivariant.nn.gaunt.compiled.threads import in_parts, number_of_parts
from equivariant.nn.irreps_layout import Layout

NO_KINDS = np.zeros(0, np.int64)
Known = tuple[PlanFields, tuple[Any, ...], int]


class PowerForm:
    """Σ_ν w_ν f^ν for features in memory, up to ν = 2 or 3.

    Args:
        shape: Irreps, channels and the largest power.
    """

    def __init__(self, shape: PowerShape) -> None:
        self.shape = shape
        self._known: dict[torch.dtype, Known] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again when needed."""
        return {**self.__dict__, "_known": {}}

    def value(self, x: Tensor, weight: Tensor, kinds: Tensor | None) -> Tensor:
        """The sum itself.

        Args:
            x: Features, shape (rows, components · channels), float32 or float64, on the CPU.
            weight: Shape (correlation, kinds, channels, irreps of the result), of x's dtype.
            kinds: Of every row, int64, shape (rows,), or None where all are of the first.

        Returns:
            Shape (rows, components of the result · channels).
        """
        at, plan, terms = self._prepared(x.dtype)
        x, w = x.contiguous(), weight.permute(1, 0, 3, 2).contiguous()
        y = x.new_empty(len(x), at.result[1] * self.shape.channels)
        operands = (
            (x.data_ptr(), *at.features), (y.data_ptr(), *at.result),
            (w.data_ptr(), *at.weights), _numbers(kinds),
        )  # fmt: skip
        extents = self._extents(len(x), x.dtype.itemsize, terms)
        in_parts(raise_all, [(operands, plan, extent) for extent in extents])
        return y

    def gradients(
        self, x: Tensor, weight: Tensor, kinds: Tensor | None, cotangent: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of ⟨value, cotangent⟩ by x and by the weights.

        Args:
            x: As for :meth:`value`.
            weight: As for :meth:`value`.
            kinds: As for :meth:`value`.
            cotangent: Of the shape of the value.

        Returns:
            Shapes of x and of the weights.
        """
        at, plan, terms = self._prepared(x.dtype)
        x, g, w = x.contiguous(), cotangent.contiguous(), weight.permute(1, 0, 3, 2).contiguous()
        extents = self._extents(len(x), x.dtype.itemsize, 2 * terms)
        to_x, to_w = torch.empty_like(x), w.new_zeros(len(extents), *w.shape)
        shared = (
            (x.data_ptr(), *at.features), (g.data_ptr(), *at.result),
            (w.data_ptr(), *at.weights), (to_x.data_ptr(), *at.features),
        )  # fmt: skip
        numbers = _numbers(kinds)
        parts = [
            ((*shared, (own.data_ptr(), *at.weights), numbers), plan, extent)
            for own, extent in zip(to_w, extents, strict=True)
        ]
        in_parts(derive_all_powers, parts)
        total = to_w[0] if len(extents) == 1 else to_w.sum(0)
        return to_x, total.permute(1, 0, 3, 2)

    def _prepared(self, dtype: torch.dtype) -> Known:
        """What the kernels are told, and the number of terms of one value."""
        if dtype not in self._known:
            plan = plan_of(self.shape, NUMPY_DTYPES[dtype])
            terms = self.shape.functions * (len(plan.squares[5]) + len(plan.products[5]))
            plain = tuple(tuple(one) if isinstance(one, tuple) else one for one in plan)
            self._known[dtype] = fields(self.shape, dtype.itemsize), plain, terms
        return self._known[dtype]

    def _extents(self, count: int, size: int, terms: int) -> list[tuple[int, ...]]:
        """Nearly equal parts of the rows, one per thread."""
        group = max(1, BYTES // size // self.shape.channels)
        whole = Extent(0, count, self.shape.channels, group, size)
        if torch.get_num_threads() == 1:
            return [tuple(whole)]
        parts, blocks = number_of_parts(whole, terms, single=False), (count + group - 1) // group
        edges = [min(count, blocks * part // parts * group) for part in range(parts + 1)]
        return [tuple(whole._replace(first=a, last=b)) for a, b in pairwise(edges)]


@lru_cache(maxsize=64)
def power_form(
    inside: Parts,
    outside: Parts,
    correlation: int,
    *,
    channels: int,
    order: Layout,
    normalization: Normalization,
) -> PowerForm:
    """The form for given irreps, kept: see :class:`PowerShape` for the arguments.

    Args:
        inside: Sign and degree of each irrep of the features.
        outside: The same of the result.
        correlation: Largest power, 2 or 3.
        channels: Multiplicity of every irrep.
        order: Of features and result in memory.
        normalization: See :func:`real_harmonics`; not "norm".

    Returns:
        One object per set of arguments.
    """
    shape = PowerShape(inside, outside, correlation, channels, order, normalization)
    return PowerForm(shape)


def _numbers(kinds: Tensor | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    return NO_KINDS if kinds is None else kinds.contiguous().numpy()
