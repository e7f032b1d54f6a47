"""Coefficients of a convolution: what filters are made of, and what they do to features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from equivariant.harmonics.real_harmonics import Kind, Normalization
from equivariant.harmonics.sphere_grid import dense_table
from equivariant.nn.gaunt.compiled.availability import edge_kernel, no_kernel, sparse_fits
from equivariant.nn.gaunt.compiled.edges.nonzero_couplings import EdgeTerms
from equivariant.nn.gaunt.compiled.nonzero_coefficients import SMALLEST
from equivariant.nn.gaunt.compiled.row_layout import RowLayout
from equivariant.nn.gaunt.constants import Constants
from equivariant.nn.gaunt.convolution.edge_form import FilterColumns
from equivariant.nn.gaunt.convolution.filter_matrices import FilterMatrices, Piece
from equivariant.nn.gaunt.methods.fastest import prefers_edges
from equivariant.nn.gaunt.paths import Parity, Path
from equivariant.nn.irreps_layout import IrrepsLayout
from equivariant.nn.tracing import as_seen, real_tables, records_operations
from equivariant.shapes import Float

if TYPE_CHECKING:
    from equivariant.nn.gaunt.compiled.edges.kernel import EdgeKernel


EdgeMethod = Literal["auto", "sparse", "dense"]


class FilterWork(NamedTuple):
    """What filters are made of, and what they do to features, by matrices or by a kernel."""

    columns: FilterColumns
    matrices: FilterMatrices
    kernel: EdgeKernel | None


class FilterTables:
    """Tables for weights per degree of the filter, and for weights per coupling.

    Args:
        inside: Irreps of the input.
        filters: Irreps of the filter, all degrees from 0 on.
        outside: Irreps of the result, with the same multiplicity and layout.
        paths: Couplings, by input, output and degree of the filter.
        parity: "even" or "full".
        normalization: See :func:`real_harmonics`.

    Example:
        >>> one, scalar = IrrepsLayout("2x1o"), IrrepsLayout("0e + 1o")
        >>> paths = [Path(*(one.each[0], scalar.each[0], one.each[0]))]
        >>> tables = FilterTables(one, scalar, one, paths, parity="even", normalization="norm")
        >>> work = tables.work(torch.ones(1), 1 << 20, per_path=True, method="dense")
        >>> work.columns.weight
        tensor([0])
    """

    def __init__(
        self,
        inside: IrrepsLayout,
        filters: IrrepsLayout,
        outside: IrrepsLayout,
        paths: Sequence[Path],
        *,
        parity: Parity,
        normalization: Normalization,
    ) -> None:
        self._layouts = _layout(inside), _layout(outside)
        self.widths = inside.width, outside.width
        with real_tables():
            self._owner = filters.owner()
            table = coupling_table(inside, filters, outside, parity, normalization)
            self._build(table, inside, outside, paths)

    def _build(
        self, table: Tensor, inside: IrrepsLayout, outside: IrrepsLayout, paths: Sequence[Path]
    ) -> None:
        """Coefficients, and which weight and harmonic makes each number of a filter."""
        before, after = (dict(zip(b.each, b.slices, strict=True)) for b in (inside, outside))
        pieces: dict[str, Tensor] = {"whole": table.flatten(1)}
        self._pieces: list[tuple[slice, slice, slice]] = []
        weights: list[Tensor] = []
        harmonics: list[Tensor] = []
        found: list[tuple[Tensor, tuple[int, int, int]]] = []
        start = 0
        for (first, out), number in Counter((p.first, p.out) for p in paths).items():
            rows = []
            for path in paths[len(weights) : len(weights) + number]:
                span = path.second.l**2, (path.second.l + 1) ** 2
                rows.append(torch.arange(*span, device="cpu"))
                weights.append(torch.full_like(rows[-1], len(weights)))
            harmonics += rows
            stop = start + sum(map(len, rows))
            where = slice(start, stop), before[first], after[out]
            block = table[torch.cat(rows)][:, where[1], where[2]]
            pieces[f"piece{len(self._pieces)}"] = block.flatten(1)
            found.append((block, (start, where[1].start, where[2].start)))
            self._pieces.append(where)
            start = stop
        self._constants = Constants(**pieces)
        self._columns = torch.cat(harmonics), torch.cat(weights)
        width = len(table)
        self._terms = (
            _terms([(table, (0, 0, 0))], self.widths, (torch.arange(width), self._owner), width),
            _terms(found, self.widths, self._columns, width),
        )
        self._kernels: dict[bool, EdgeKernel] = {}
        self._work: dict[tuple[object, ...], FilterWork] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kernels": {}, "_work": {}}

    def work(
        self, like: Tensor, filter_bytes: int, *, per_path: bool, method: EdgeMethod
    ) -> FilterWork:
        """What evaluates the convolution.

        Args:
            like: A tensor of the dtype and on the device of the features.
            filter_bytes: See :class:`FilterMatrices`.
            per_path: Whether weights are per coupling, and not per degree.
            method: "sparse" asks for a kernel, "dense" for none and "auto" for the faster.

        Returns:
            The same object in every call with equal arguments, except where torch traces,
            when there is no kernel.

        Raises:
            ConventionError: No kernel can take such features.
        """
        if records_operations():
            return self._made(like, filter_bytes, per_path)
        key = like.dtype, like.device, filter_bytes, per_path, method
        found = self._work.get(key)
        if found is None:
            found = self._made(like, filter_bytes, per_path)
            if self._takes_kernel(like, method):
                found = found._replace(kernel=self._kernel(per_path))
            self._work[key] = found
        return found

    def _takes_kernel(self, like: Tensor, method: EdgeMethod) -> bool:
        if method == "dense":
            return False
        if method == "auto":
            return prefers_edges(like)
        if not sparse_fits(like.device, like.dtype):
            raise no_kernel(like.device, 'Use method="auto", which takes matrices there.')
        return True

    def _made(self, like: Tensor, filter_bytes: int, per_path: bool) -> FilterWork:
        constants = self._constants.at(like.dtype, like.device)
        if per_path:
            harmonic, weight = (as_seen(index).to(like.device) for index in self._columns)
            columns = FilterColumns(harmonic, weight)
            tables = [constants[f"piece{n}"] for n in range(len(self._pieces))]
            places = self._pieces
        else:
            columns = FilterColumns(None, as_seen(self._owner).to(like.device))
            tables = [constants["whole"]]
            before, after = self.widths
            places = [(slice(0, len(self._owner)), slice(0, before), slice(0, after))]
        pieces = tuple(Piece(*place, t) for place, t in zip(places, tables, strict=True))
        matrices = FilterMatrices(pieces, *self.widths, len(columns.weight), filter_bytes)
        return FilterWork(columns, matrices, None)

    def _kernel(self, per_path: bool) -> EdgeKernel:
        if per_path not in self._kernels:
            self._kernels[per_path] = edge_kernel(self._terms[per_path], self._layouts)
        return self._kernels[per_path]


def coupling_table(
    inside: IrrepsLayout,
    filters: IrrepsLayout,
    outside: IrrepsLayout,
    parity: Parity,
    normalization: Normalization,
) -> Float[Tensor, "filters inputs outputs"]:
    """Coefficient of each component of the filter, the input and the output.

    Args:
        inside: Irreps of the input.
        filters: Irreps of the filter, all degrees from 0 on.
        outside: Irreps of the result.
        parity: "even" or "full".
        normalization: See :func:`real_harmonics`.

    Returns:
        Float64, on the processor.

    Example:
        >>> scalar, filters, vector = (IrrepsLayout(text) for text in ("0e", "0e + 1o", "1o"))
        >>> coupling_table(scalar, filters, vector, "even", "component").shape
        torch.Size([4, 1, 3])
    """
    lmax = len(filters.each) - 1
    shape = filters.width, inside.width, outside.width
    table = torch.zeros(shape, dtype=torch.float64, device="cpu")
    for sign, other in product((1, -1), repeat=2):
        degrees = inside.degree(sign), lmax, outside.degree(other)
        kind: Kind = "even" if sign == other else "odd"
        if min(degrees) < 0 or (kind == "odd" and parity == "even"):
            continue
        settings = (normalization, torch.float64, torch.device("cpu"))
        whole = dense_table(degrees, kind, *settings).unflatten(0, (-1, len(table)))
        rows, columns = (
            torch.tensor([part == s for part, _ in blocks.parts], device="cpu")[blocks.owner()]
            for blocks, s in ((inside, sign), (outside, other))
        )
        part = whole.transpose(0, 1)[:, inside.positions()[rows]]
        part = part[:, :, outside.positions()[columns]]
        table[:, rows.nonzero(), columns.nonzero().T] = part
    return table


def _layout(blocks: IrrepsLayout) -> RowLayout:
    widths = tuple(2 * degree + 1 for _, degree in blocks.parts)
    return RowLayout(widths, blocks.multiplicity, blocks.layout)


def _terms(
    blocks: list[tuple[Tensor, tuple[int, int, int]]],
    widths: tuple[int, int],
    factors: tuple[Tensor, Tensor],
    harmonics: int,
) -> EdgeTerms:
    """The coefficients that are not zero, of parts that start at given places."""
    places, values = [], []
    for block, starts in blocks:
        present = (block.abs() > SMALLEST).nonzero()
        places.append((present + torch.tensor(starts)).numpy())
        values.append(block[tuple(present.T)].numpy())
    column, row, out = np.concatenate(places).T
    harmonic, weight = (each.numpy() for each in factors)
    return EdgeTerms(
        row, column, out, np.concatenate(values), (widths[0], len(weight), widths[1]),
        harmonic, weight, (harmonics, int(weight.max()) + 1),
    )  # fmt: skip
