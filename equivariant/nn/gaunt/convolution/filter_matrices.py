"""Convolution by matrices that are made of filters and shared by channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.nn.gaunt.convolution.incidence import Incidence
from equivariant.shapes import Float


@dataclass(frozen=True)
class Piece:
    """One part of the matrices: which filter coefficients make which of their entries.

    Args:
        filters: Columns of the filter.
        rows: Rows of the matrices, components of the input.
        columns: Columns of the matrices, components of the output.
        table: Shape (filters, rows · columns), floating point.
    """

    filters: slice
    rows: slice
    columns: slice
    table: Tensor


@dataclass(frozen=True)
class FilterMatrices:
    """The trilinear form of input, filter and output, evaluated filter first.

        M_e[a, c] = Σ_b h_eb T_bac,   y_t = Σ_{e: target(e)=t} x_{source(e)} M_e

    x and y have shape (rows, components, channels); M_e is the same for all channels.

    Args:
        pieces: The nonzero parts of T. Every filter column belongs to one piece, in order.
        width_in: Components of an input channel.
        width_out: Components of an output channel.
        filter_width: Coefficients of a filter.
        filter_bytes: Memory that matrices may take at a time, and features with messages.

    Example:
        >>> whole = Piece(slice(0, 1), slice(0, 2), slice(0, 2), torch.eye(2).reshape(1, 4))
        >>> form = FilterMatrices((whole,), 2, 2, 1, 1 << 20)
        >>> ends = Incidence(None, None, 3, 3)
        >>> form.convolve(torch.ones(3, 2, 5), torch.ones(3, 1), ends).shape
        torch.Size([3, 2, 5])
    """

    pieces: tuple[Piece, ...]
    width_in: int
    width_out: int
    filter_width: int
    filter_bytes: int

    def matrices(self, filters: Float[Tensor, "edges b"]) -> Float[Tensor, "edges a c"]:
        """M of every edge.

        Args:
            filters: h, shape (edges, filter_width).

        Returns:
            Shape (edges, width_in, width_out).
        """
        shape = (filters.shape[0], self.width_in, self.width_out)
        first = self.pieces[0]
        if len(self.pieces) == 1 and first.table.shape[1] == self.width_in * self.width_out:
            return (filters[:, first.filters] @ first.table).view(shape)
        result = filters.new_zeros(shape)
        for piece in self.pieces:
            entries = filters[:, piece.filters] @ piece.table
            part = result[:, piece.rows, piece.columns]
            result[:, piece.rows, piece.columns] = entries.view(part.shape)
        return result

    def filters(self, matrices: Float[Tensor, "edges a c"]) -> Float[Tensor, "edges b"]:
        """The transpose of :meth:`matrices`.

        Args:
            matrices: Shape (edges, width_in, width_out).

        Returns:
            Shape (edges, filter_width).
        """
        parts = [
            matrices[:, piece.rows, piece.columns].flatten(1) @ piece.table.T
            for piece in self.pieces
        ]
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]

    def chunk(self, x: Tensor) -> int:
        """How many edges have matrices, and features with messages, in the memory allowed."""
        channels = x.shape[2]
        matrices, rows = self.width_in * self.width_out, self.width_in + self.width_out
        return max(1, self.filter_bytes // (max(matrices, rows * channels) * x.element_size()))

    def convolve(
        self,
        x: Tensor,
        filters: Float[Tensor, "edges b"],
        ends: Incidence,
        *,
        transposed: bool = False,
        matrices: Float[Tensor, "edges a c"] | None = None,
    ) -> Tensor:
        """Gather, multiply by the matrices of the edges, and add up at their ends, in chunks.

        Args:
            x: Shape (rows, width_in, channels), or (rows, width_out, channels) where transposed.
            filters: h, shape (edges, filter_width), of the same dtype.
            ends: Of edges, from rows of x to those of the result, also where transposed.
            transposed: Whether x is multiplied by the transposed matrices.
            matrices: Of all edges, where they were made before and are few enough.

        Returns:
            Shape (rows_out, width_out, channels), or with width_in where transposed.
        """
        shape = (self.width_in if transposed else self.width_out, x.shape[2])
        parts: list[Tensor] = []
        for part in _ranges(len(filters), self.chunk(x)):
            made = self.matrices(filters[part]) if matrices is None else matrices
            y = (made if transposed else made.mT) @ _taken(x, ends.source, part)
            if ends.target is None:
                parts.append(y)
                continue
            if not parts:
                parts.append(y.new_zeros(ends.rows_out, *shape))
            parts[0].index_add_(0, ends.target[part], y)
        if not parts:
            return x.new_zeros(0 if ends.target is None else ends.rows_out, *shape)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def correlate(self, x: Tensor, y: Tensor, edges: int, ends: Incidence) -> Tensor:
        """Gradient by the filters of ⟨y, convolve(x, filters)⟩, in chunks.

        Args:
            x: Shape (rows, width_in, channels).
            y: Shape (rows_out, width_out, channels), of the same dtype.
            edges: Number of edges.
            ends: From rows of x to rows of y.

        Returns:
            Shape (edges, filter_width).
        """
        parts = []
        for part in _ranges(edges, self.chunk(x)):
            before, after = _taken(x, ends.source, part), _taken(y, ends.target, part)
            parts.append(self.filters(before @ after.mT))
        return torch.cat(parts) if parts else x.new_zeros(0, self.filter_width)

    def convolve_once(self, x: Tensor, filters: Tensor, ends: Incidence) -> Tensor:
        """The same as :meth:`convolve` at once, in operations that compilers see through.

        Args:
            x: Shape (rows, width_in, channels).
            filters: Shape (edges, filter_width), of the same dtype.
            ends: From rows of x to those of the result.

        Returns:
            Shape (rows_out, width_out, channels).
        """
        gathered = x if ends.source is None else x.index_select(0, ends.source)
        y = self.matrices(filters).mT @ gathered
        if ends.target is None:
            return y
        return y.new_zeros(ends.rows_out, *y.shape[1:]).index_add(0, ends.target, y)


def _ranges(edges: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, edges)) for start in range(0, edges, step)]


def _taken(x: Tensor, index: Tensor | None, part: slice) -> Tensor:
    return x[part] if index is None else x.index_select(0, index[part])
