"""Coefficients of a convolution: what filters are made of, and what they do to features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from equivariant.nn.gaunt.blocks import Blocks
from equivariant.nn.gaunt.constants import Constants
from equivariant.nn.gaunt.edge_form import FilterColumns
from equivariant.nn.gaunt.filter_matrices import FilterMatrices, Piece
from equivariant.nn.gaunt.kernels.couplings import SMALLEST
from equivariant.nn.gaunt.kernels.edge_terms import EdgeTerms
from equivariant.nn.gaunt.kernels.engine import edge_kernel
from equivariant.nn.gaunt.kernels.layouts import Layout
from equivariant.nn.gaunt.paths import Parity, Path
from equivariant.nn.gaunt.tables import Kind, Normalization, dense_table
from equivariant.shapes import Float

if TYPE_CHECKING:
    from equivariant.nn.gaunt.kernels.edge_kernel import EdgeKernel


class FilterTables(nn.Module):
    """Tables for weights per degree of the filter, and for weights per coupling.

    Args:
        inside: Irreps of the input.
        filters: Irreps of the filter, all degrees from 0 on.
        outside: Irreps of the result, with the same multiplicity and layout.
        paths: Couplings, by input, output and degree of the filter.
        parity: "even" or "full".
        normalization: See :func:`real_harmonics`.

    Example:
        >>> one, scalar = Blocks("2x1o", "irreps"), Blocks("0e + 1o", "filters")
        >>> paths = [Path(*(one.each[0], scalar.each[0], one.each[0]))]
        >>> tables = FilterTables(one, scalar, one, paths, parity="even", normalization="norm")
        >>> tables.columns(per_path=True).weight
        tensor([0])
    """

    owner: Tensor
    weight_of_column: Tensor
    harmonic_of_column: Tensor

    def __init__(
        self,
        inside: Blocks,
        filters: Blocks,
        outside: Blocks,
        paths: Sequence[Path],
        *,
        parity: Parity,
        normalization: Normalization,
    ) -> None:
        super().__init__()
        self._layouts = _layout(inside), _layout(outside)
        self.widths = inside.width, outside.width
        self.register_buffer("owner", filters.owner.clone(), persistent=False)
        table = coupling_table(inside, filters, outside, parity, normalization)
        self._build(table, inside, outside, paths)

    def _build(self, table: Tensor, inside: Blocks, outside: Blocks, paths: Sequence[Path]) -> None:
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
        for name, index in (
            ("weight_of_column", torch.cat(weights)),
            ("harmonic_of_column", torch.cat(harmonics)),
        ):
            self.register_buffer(name, index, persistent=False)
        width = len(table)
        self._terms = (
            _terms([(table, (0, 0, 0))], self.widths, (torch.arange(width), self.owner), width),
            _terms(found, self.widths, (self.harmonic_of_column, self.weight_of_column), width),
        )
        self._kernels: dict[bool, EdgeKernel] = {}

    def columns(self, *, per_path: bool) -> FilterColumns:
        """What filters are made of.

        Args:
            per_path: Whether weights are per coupling, and not per degree.

        Returns:
            Numbers of harmonics and weights.
        """
        if per_path:
            return FilterColumns(self.harmonic_of_column, self.weight_of_column)
        return FilterColumns(None, self.owner)

    def matrices(self, like: Tensor, filter_bytes: int, *, per_path: bool) -> FilterMatrices:
        """What filters do to features, by matrices.

        Args:
            like: A tensor of the dtype and on the device of the features.
            filter_bytes: See :class:`FilterMatrices`.
            per_path: As for :meth:`columns`.

        Returns:
            The form, whose tables are shared.
        """
        constants = self._constants.at(like.dtype, like.device)
        places = [(slice(0, len(self.owner)), slice(0, self.widths[0]), slice(0, self.widths[1]))]
        tables = [constants["whole"]]
        if per_path:
            places = self._pieces
            tables = [constants[f"piece{n}"] for n in range(len(places))]
        pieces = tuple(Piece(*place, t) for place, t in zip(places, tables, strict=True))
        width = len(self.weight_of_column if per_path else self.owner)
        return FilterMatrices(pieces, *self.widths, width, filter_bytes)

    def kernel(self, *, per_path: bool) -> EdgeKernel:
        """What filters do to features, by a compiled kernel.

        Args:
            per_path: As for :meth:`columns`.

        Returns:
            The same object in every call.
        """
        if per_path not in self._kernels:
            self._kernels[per_path] = edge_kernel(self._terms[per_path], self._layouts)
        return self._kernels[per_path]


def coupling_table(
    inside: Blocks, filters: Blocks, outside: Blocks, parity: Parity, normalization: Normalization
) -> Float[Tensor, "filter in out"]:
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
        >>> scalar, vector = Blocks("0e", "irreps"), Blocks("1o", "irreps")
        >>> coupling_table(scalar, Blocks("0e + 1o", "irreps"), vector, "even", "component").shape
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
            torch.tensor([part == s for part, _ in blocks.parts], device="cpu")[blocks.owner]
            for blocks, s in ((inside, sign), (outside, other))
        )
        part = whole.transpose(0, 1)[:, inside.positions[rows]]
        part = part[:, :, outside.positions[columns]]
        table[:, rows.nonzero(), columns.nonzero().T] = part
    return table


def _layout(blocks: Blocks) -> Layout:
    widths = tuple(2 * degree + 1 for _, degree in blocks.parts)
    return Layout(widths, blocks.multiplicity, blocks.layout)


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
