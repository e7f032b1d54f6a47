"""From which row of features each edge starts, and to which it leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.tracing import records_operations
from equivariant.shapes import Float, Int

Size = Any
"""A number of rows: int, or what torch calls a size while it makes a graph (SymInt, a tensor)."""


@dataclass(frozen=True)
class Incidence:
    """From which rows of x edges start and at which rows of y they end; None: row e for edge e.

    Args:
        source: Shape (edges,), int64, or None.
        target: Shape (edges,), int64, or None.
        rows_in: Number of rows of x.
        rows_out: Number of rows of y.

    Example:
        >>> Incidence(None, None, 3, 3).transposed().rows_out
        3
    """

    source: Int[Tensor, " edges"] | None
    target: Int[Tensor, " edges"] | None
    rows_in: Size
    rows_out: Size

    def transposed(self) -> Incidence:
        """Edges the other way round."""
        return Incidence(self.target, self.source, self.rows_out, self.rows_in)


def incidence_of(
    x: Float[Tensor, "rows dim"],
    of_edges: Float[Tensor, "edges numbers"],
    edge_index: Int[Tensor, "2 ends"] | None,
    num_nodes: int | None,
) -> Incidence:
    """Ends of edges, or refuse what are none.

    Args:
        x: Features, shape (nodes, dim), or (edges, dim) without ``edge_index``.
        of_edges: What edges bring, one row for each.
        edge_index: Shape (2, edges), int64: sources and targets. None: row e for edge e.
        num_nodes: Number of rows of the result. None: those of x.

    Returns:
        The ends. Ranges are checked on the processor only, and not while compiling.

    Raises:
        ShapeError: Shapes do not fit together, or num_nodes comes without ``edge_index``.
        ConventionError: Indices are not int64 or out of range.

    Example:
        >>> ends = torch.tensor([[0], [3]])
        >>> incidence_of(torch.zeros(4, 1), torch.ones(1, 9), ends, None).rows_out
        4
    """
    edges = of_edges.shape[0]
    if edge_index is None:
        if x.shape[0] != edges or num_nodes is not None:
            raise ShapeError(
                expected=f"{edges} rows, one per edge, and no num_nodes",
                got=f"{len(x)} rows, num_nodes={num_nodes}",
                argument="x",
                advice="Pass edge_index where x has one row per node.",
            )
        return Incidence(None, None, edges, edges)
    if tuple(edge_index.shape) != (2, edges):
        raise ShapeError(
            expected=f"(2, {edges})",
            got=str(tuple(edge_index.shape)),
            argument="edge_index",
            advice="Row 0 holds sources and row 1 targets.",
        )
    if edge_index.dtype != torch.int64:
        raise ConventionError(
            expected="int64",
            got=str(edge_index.dtype),
            argument="edge_index",
            advice="Convert it by .long().",
        )
    rows = x.shape[0] if num_nodes is None else num_nodes
    source, target = edge_index.unbind(0)
    known = edge_index.device.type == "cpu" and not records_operations()
    if (
        known
        and edges
        and (int(edge_index.min()) < 0 or int(source.max()) >= len(x) or int(target.max()) >= rows)
    ):
        raise ConventionError(
            expected=f"sources from 0 to {len(x) - 1} and targets from 0 to {rows - 1}",
            got=f"{edge_index.amin(1).tolist()} to {edge_index.amax(1).tolist()}",
            argument="edge_index",
            advice="Sources are rows of x, targets rows of the result.",
        )
    return Incidence(source, target, x.shape[0], rows)
