"""Convolutions over edges by compiled kernels: what calls pass to them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.nn.gaunt.compiled.compilation import NUMPY_DTYPES
from equivariant.nn.gaunt.compiled.edges.nonzero_couplings import EdgeTerms
from equivariant.nn.gaunt.compiled.edges.sweeps import derive_edges, multiply_edges
from equivariant.nn.gaunt.compiled.edges.visiting_order import filters, matrices, pairs
from equivariant.nn.gaunt.compiled.instructions.vector_instructions import BYTES, PIECE
from equivariant.nn.gaunt.compiled.row_layout import RowLayout
from equivariant.nn.gaunt.compiled.threads import SMALLEST, in_parts
from equivariant.nn.gaunt.convolution.incidence import Incidence


class EdgeSide(NamedTuple):
    """What does not change from call to call about a feature: bytes of a row, components, blocks.

    See :class:`Feature`.
    """

    stride: int
    width: int
    blocks: int
    records: int


class EdgePlan(NamedTuple):
    """Everything for one dtype: lists for both directions, for pairs and for filters.

    ``filters`` are made of harmonics and weights, or are the harmonics alone. ``kept`` are the
    arrays that addresses point to.
    """

    forward: tuple[int, ...]
    transposed: tuple[int, ...]
    pairs: tuple[int, ...]
    filters: tuple[tuple[int, ...], tuple[int, ...]]
    sides: tuple[EdgeSide, EdgeSide]
    like: Any
    one: Any
    kept: tuple[Any, ...]


class EdgeKernel:
    """The form of :class:`EdgeTerms`, evaluated edge by edge.

    Filters are products of harmonics and weights, or, where weights are None, the first factors
    themselves.

    Args:
        terms: The coefficients, at least one.
        layouts: Of x and y, with the same number of channels.
    """

    def __init__(self, terms: EdgeTerms, layouts: tuple[RowLayout, RowLayout]) -> None:
        self.terms = terms
        self.layouts = layouts
        self._plans: dict[torch.dtype, EdgePlan] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out addresses, which are made again when needed."""
        return {**self.__dict__, "_plans": {}}

    def convolve(
        self,
        x: Tensor,
        harmonics: Tensor,
        weights: Tensor | None,
        ends: Incidence,
        transposed: bool,
    ) -> Tensor:
        """Gradient of the form by y, given x; with ``transposed`` by x, given y in its place.

        Args:
            x: Shape (rows, numbers of a row), float32 or float64, on the CPU.
            harmonics: Shape (edges, harmonics), of the same dtype.
            weights: Shape (edges, weights), of the same dtype, or None.
            ends: Of edges; from rows of x to those of the result, also where transposed.
            transposed: Which of both.

        Returns:
            Shape (rows_out, numbers of a row).
        """
        plan = self._plan(x.dtype)
        shape = ends.rows_out, self.layouts[0 if transposed else 1].length
        inside, outside = plan.sides[::-1] if transposed else plan.sides
        edges = harmonics.shape[0]
        if edges == 0:
            return x.new_zeros(shape)
        x, harmonics = _plain(x), _plain(harmonics)
        weights, source, target = _kept(weights), _kept(ends.source), _kept(ends.target)
        direction = plan.transposed if transposed else plan.forward
        direct = outside.records == 0
        y = x.new_empty(shape) if target is None or not direct else x.new_zeros(shape)
        operands = (
            _feature(x, inside, source),
            _feature(y, outside, target),
            _factors(harmonics, weights, plan),
        )
        lists = (plan.filters[weights is None], direction, plan.like)
        span = (0, edges, self.layouts[0].channels, x.itemsize, 0, direction[-1])
        parts = self._parts(
            span, direction, by_rows=target is not None, direct=outside.records == 0
        )
        in_parts(multiply_edges, [(operands, lists, part) for part in parts])
        return y

    def derive(
        self, features: tuple[Tensor, Tensor], harmonics: Tensor, weights: Tensor | None,
        ends: Incidence, needs: Sequence[bool],
    ) -> list[Tensor | None]:  # fmt: skip
        """Gradients of the form by x, harmonics and weights.

        Args:
            features: x and y.
            harmonics: As for :meth:`convolve`. Where ``needs`` is (False, True, False) and
                weights are None, values play no part.
            weights: As for :meth:`convolve`.
            ends: As for :meth:`convolve`.
            needs: Which of the three are wanted, the last only where there are weights.

        Returns:
            Gradients, or None where not wanted.
        """
        x, g = features
        plan = self._plan(x.dtype)
        edges = harmonics.shape[0]
        if edges == 0:
            wanted = zip((x, harmonics, weights), needs, strict=True)
            return [torch.zeros_like(t) if t is not None and w else None for t, w in wanted]
        cut = torch.get_num_threads() > 1 and ends.source is not None and needs[0]
        if cut or not any(needs[1:]):
            to_x = (
                self.convolve(g, harmonics, weights, ends.transposed(), True) if needs[0] else None
            )
            rest: list[Tensor | None] = [None, None]
            if any(needs[1:]):
                _, *rest = self.derive(features, harmonics, weights, ends, (False, *needs[1:]))
            return [to_x, *rest]
        x, g, harmonics = _plain(x), _plain(g), _plain(harmonics)
        weights, source, target = _kept(weights), _kept(ends.source), _kept(ends.target)
        to_x = to_harmonics = to_weights = None
        if needs[0]:
            zeros = source is not None and plan.sides[0].records == 0
            to_x = torch.zeros_like(x) if zeros else torch.empty_like(x)
        if needs[1]:
            to_harmonics = torch.empty_like(harmonics)
        if needs[2] and weights is not None:
            to_weights = torch.empty_like(weights)
        first = _feature(x, plan.sides[0], source)
        operands = (
            first,
            _feature(g, plan.sides[1], target),
            _factors(harmonics, weights, plan),
            (0 if to_x is None else to_x.data_ptr(), *first[1:]),
            _gradients(to_harmonics, to_weights),
        )
        lists = (plan.filters[weights is None], plan.transposed, plan.pairs, plan.like)
        span = (0, edges, self.layouts[0].channels, x.itemsize, 0, plan.transposed[-1])
        parts = self._parts(span, plan.transposed, by_rows=False, direct=False)
        in_parts(derive_edges, [(operands, lists, part) for part in parts])
        return [to_x, to_harmonics, to_weights]

    def _parts(
        self, span: tuple[int, ...], direction: tuple[int, ...], *, by_rows: bool, direct: bool
    ) -> list[tuple[int, ...]]:
        """Parts of a sweep that write to different places: of edges, or of rows of the result."""
        threads = torch.get_num_threads()
        if threads == 1 or (by_rows and not direct):
            return [span]
        _, edges, channels, size, _, blocks = span
        units = blocks if by_rows else -(-edges // (PIECE // size))
        work = edges * direction[-2] * -(-channels * size // BYTES)
        count = max(1, min(threads, units, work // SMALLEST))
        cuts = [units * part // count for part in range(count + 1)]
        if by_rows:
            return [(0, edges, channels, size, one, other) for one, other in pairwise(cuts)]
        step = PIECE // size
        return [
            (one * step, min(other * step, edges), channels, size, 0, blocks)
            for one, other in pairwise(cuts)
        ]

    def _plan(self, dtype: torch.dtype) -> EdgePlan:
        """Lists and addresses, made once."""
        if dtype not in self._plans:
            numbers = NUMPY_DTYPES[dtype]
            transposed = self.terms.transposed()
            made = (
                matrices(self.terms, numbers), matrices(transposed, numbers),
                pairs(self.terms, numbers), filters(self.terms), filters(self.terms.alone()),
            )  # fmt: skip
            forward, back, products, both, alone = (tuple(addresses) for addresses, _ in made)
            blocks = [
                np.ascontiguousarray(layout.records * (numbers.itemsize, 1, 1), np.int64)
                for layout in self.layouts
            ]
            one = np.ones(1, numbers)
            sides = [
                _side(layout, block, numbers.itemsize)
                for layout, block in zip(self.layouts, blocks, strict=True)
            ]
            self._plans[dtype] = EdgePlan(
                forward, back, products, (both, alone), (sides[0], sides[1]),
                numbers.type(0), one, (blocks, *(kept for _, kept in made)),
            )  # fmt: skip
        return self._plans[dtype]


def _side(layout: RowLayout, blocks: Any, size: int) -> EdgeSide:
    whole = layout.order == "ir_mul" or all(width == 1 for width in layout.widths)
    direct = whole and layout.channels * size % PIECE == 0
    address, count = (0, 0) if direct else (blocks.ctypes.data, len(blocks))
    return EdgeSide(layout.length * size, layout.size, address, count)


def _feature(x: Tensor, side: EdgeSide, index: Tensor | None) -> tuple[int, ...]:
    """The fields of :class:`Feature`."""
    return (x.data_ptr(), *side, 0 if index is None else index.data_ptr(), x.shape[0])


def _factors(harmonics: Tensor, weights: Tensor | None, plan: EdgePlan) -> tuple[int, ...]:
    """The fields of :class:`Factors`; one weight of 1 serves all edges where there are none."""
    first = harmonics.data_ptr(), harmonics.shape[1] * harmonics.itemsize
    if weights is None:
        return (*first, plan.one.ctypes.data, 0)
    return (*first, weights.data_ptr(), weights.shape[1] * weights.itemsize)


def _gradients(harmonics: Tensor | None, weights: Tensor | None) -> tuple[int, ...]:
    """The fields of :class:`Factors` for results, 0 where not wanted."""
    places: tuple[int, ...] = ()
    for each in (harmonics, weights):
        places += (0, 0) if each is None else (each.data_ptr(), each.shape[1] * each.itemsize)
    return places


def _kept(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _plain(tensor)


def _plain(tensor: Tensor) -> Tensor:
    """The tensor with its numbers in memory, row after row.

    Raises:
        ConventionError: They are in the memory of another device.
    """
    if not tensor.is_cpu:
        raise ConventionError(
            expected="all tensors on the CPU, where x is",
            got=str(tensor.device),
            argument="edge_index or radial_weights",
            advice="Move everything to one device.",
        )
    if tensor.is_neg() or tensor._is_zerotensor():
        tensor = tensor.resolve_neg().clone()
    return tensor.contiguous()
