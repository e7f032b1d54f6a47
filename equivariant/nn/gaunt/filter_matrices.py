"""Convolution by matrices that are made of filters, shared by channels, and derived exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.nn.gaunt.incidence import Incidence
from equivariant.nn.gaunt.precision import without_autocast
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
        >>> convolve(torch.ones(3, 2, 5), torch.ones(3, 1), form).shape
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
        shape = (len(filters), self.width_in, self.width_out)
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
    x: Tensor,
    filters: Float[Tensor, "edges b"],
    form: FilterMatrices,
    *,
    incidence: Incidence | None = None,
) -> Tensor:
    """Gather, multiply by the matrices of the edges, and add up at their ends.

    Derivatives of every order are convolutions and correlations again. Only x, the filters and,
    where all matrices fit into ``form.filter_bytes``, those are kept for them.

    Args:
        x: Shape (rows, width_in, channels).
        filters: Shape (edges, filter_width), of the same dtype.
        form: The matrices.
        incidence: Ends of edges. None: edge e leads from row e to row e.

    Returns:
        Shape (rows_out, width_out, channels).
    """
    if incidence is None:
        incidence = Incidence(None, None, len(x), len(x))
    if torch.compiler.is_compiling():
        gathered = x if incidence.source is None else x.index_select(0, incidence.source)
        with without_autocast(x.device):
            y = form.matrices(filters).mT @ gathered
        if incidence.target is None:
            return y
        return y.new_zeros(incidence.rows_out, *y.shape[1:]).index_add(0, incidence.target, y)
    matrices = None
    setting = (form, incidence, False)
    if _derived(x, filters) and len(filters) <= form.chunk(x):
        with torch.no_grad(), without_autocast(x.device):
            matrices = form.matrices(filters.detach())
    return _convolved(x, filters, matrices, setting)


Setting = tuple[FilterMatrices, Incidence, bool]


def _ranges(edges: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, edges)) for start in range(0, edges, step)]


def _taken(x: Tensor, index: Tensor | None, part: slice) -> Tensor:
    return x[part] if index is None else x.index_select(0, index[part])


class _Convolution(torch.autograd.Function):
    """Linear in x and in the filters. With ``transposed`` matrices are, and x is an output."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, filters: Tensor, matrices: Tensor | None, setting: Setting) -> Tensor:
        form, incidence, transposed = setting
        ends = incidence.turned() if transposed else incidence
        width = form.width_in if transposed else form.width_out
        shape = (width, x.shape[2])
        parts: list[Tensor] = []
        for part in _ranges(len(filters), form.chunk(x)):
            made = form.matrices(filters[part]) if matrices is None else matrices
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

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, filters, matrices, ctx.setting = inputs
        ctx.save_for_backward(x, filters, matrices)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, filters, matrices = ctx.saved_tensors
        form, incidence, transposed = ctx.setting
        of_x = of_filters = None
        if ctx.needs_input_grad[0]:
            of_x = _convolved(gradient, filters, matrices, (form, incidence, not transposed))
        if ctx.needs_input_grad[1]:
            first, last = (gradient, x) if transposed else (x, gradient)
            of_filters = _correlated(first, last, len(filters), (form, incidence, False))
        return of_x, of_filters, None, None


class _Correlation(torch.autograd.Function):
    """The gradient of the form by its filters, linear in the input and in the output."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, edges: int, setting: Setting) -> Tensor:
        form, incidence, _ = setting
        parts = []
        for part in _ranges(edges, form.chunk(x)):
            before, after = _taken(x, incidence.source, part), _taken(y, incidence.target, part)
            parts.append(form.filters(before @ after.mT))
        return torch.cat(parts) if parts else x.new_zeros(0, form.filter_width)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, y, _, ctx.setting = inputs
        ctx.save_for_backward(x, y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, y = ctx.saved_tensors
        form, incidence, _ = ctx.setting
        of_x = of_y = None
        if ctx.needs_input_grad[0]:
            of_x = _convolved(y, gradient, None, (form, incidence, True))
        if ctx.needs_input_grad[1]:
            of_y = _convolved(x, gradient, None, (form, incidence, False))
        return of_x, of_y, None, None


def _convolved(x: Tensor, filters: Tensor, matrices: Tensor | None, setting: Setting) -> Tensor:
    with without_autocast(x.device):
        if not _derived(x, filters):
            return _Convolution.forward(x, filters, matrices, setting)
        result: Tensor = _Convolution.apply(x, filters, matrices, setting)  # type: ignore[no-untyped-call]
    return result


def _correlated(x: Tensor, y: Tensor, edges: int, setting: Setting) -> Tensor:
    with without_autocast(x.device):
        if not _derived(x, y):
            return _Correlation.forward(x, y, edges, setting)
        result: Tensor = _Correlation.apply(x, y, edges, setting)  # type: ignore[no-untyped-call]
    return result


def _derived(*operands: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in operands)
