"""How group elements move graphs that are kept in flat arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from equivariant.actions import Action
from equivariant.errors import ShapeError
from equivariant.measure.motions.motion import Motion, Part, TreeMotion, move_tensor
from equivariant.shapes import Matrix
from equivariant.tree import as_tensor, leaves, of_kind, rebuild

RowsOf = Literal["nodes", "edges", "graphs"]
"""What an array has one row for."""


class GraphMotion(Motion):
    """Graphs in flat arrays, as PyTorch Geometric, MACE and ASE keep them.

    Arrays stand in dictionaries, tuples or records (``Data``); a key is their path, such as
    ``"forces"``, ``"1"`` for the second of a tuple, ``""`` for an output that is one array. An
    array may have any shape with ``action.dim`` entries per row: energies (graphs,) or
    (graphs, 1), cells and stresses (graphs, 3, 3), or stacked as (3 graphs, 3).

    Args:
        nodes: Action on each array with one row per node. ``Points`` moves one position per
            node, ``Vectors`` and ``IrrepsAction`` features.
        edges: Action on each array with one row per edge: ``Vectors`` for shifts in units of
            length and for edge vectors. Shifts in numbers of cells do not move: leave them out.
        graphs: Action on each array with one row per graph: ``Trivial(1)`` for energies,
            ``Vectors(group, 3)`` for cells with lattice vectors as rows,
            ``CartesianTensors(group, 2)`` for stress.
        index: The graph that each node belongs to, shape (nodes,), int64: its key, or the
            tensor itself, for outputs that do not carry it. None says that there is one graph;
            then its arrays need no axis for graphs.
        edge_index: The two ends of each edge, shape (2, edges), int64: its key, or the tensor.
            Needed with ``edges`` and more than one graph.

    Raises:
        ConventionError: There is no action, or two belong to different groups.

    Example:
        >>> from equivariant.actions import Points
        >>> from equivariant.groups import SE3
        >>> motion = GraphMotion(nodes={"pos": Points(SE3())})
        >>> x = {"pos": torch.zeros(5, 3), "batch": torch.tensor([0, 0, 0, 1, 1])}
        >>> motion.items(x)
        2
    """

    def __init__(
        self,
        *,
        nodes: Mapping[str, Action] | None = None,
        edges: Mapping[str, Action] | None = None,
        graphs: Mapping[str, Action] | None = None,
        index: str | Tensor | None = "batch",
        edge_index: str | Tensor = "edge_index",
    ) -> None:
        kinds: dict[RowsOf, Mapping[str, Action]] = {
            "nodes": nodes or {}, "edges": edges or {}, "graphs": graphs or {}
        }  # fmt: skip
        tree = TreeMotion({kind: dict(actions) for kind, actions in kinds.items()})
        super().__init__(tree.group, batched=True)
        self.actions: dict[str, Action] = {}
        self.kinds: dict[str, RowsOf] = {}
        for kind in kinds:
            for name in kinds[kind]:
                self.actions[name] = tree.actions[f"{kind}.{name}"]
                self.kinds[name] = kind
        self.index, self.edge_index = index, edge_index

    def move(self, g: Matrix, x: Any) -> Any:
        parts = self.parts(x)

        def one(name: str, leaf: Any) -> Any:
            if name not in parts:
                return leaf
            part, action = parts[name], self.actions[name]
            own = g if g.ndim == 2 or part.item_of_row is None else g[part.item_of_row]
            alone = part.tensor.ndim <= action.event_dim  # one point per row, not a cloud
            rows = part.tensor.unsqueeze(1) if alone else part.tensor
            return of_kind(move_tensor(action, own, rows).reshape(leaf.shape), leaf)

        return rebuild(x, one)

    def parts(self, y: Any) -> dict[str, Part]:
        found = {name: as_tensor(leaf) for name, leaf in leaves(y).items()}
        wanted = [*self.actions, *self._keys()]
        missing = [key for key in wanted if found.get(key) is None]
        if missing:
            raise ShapeError(
                expected=f"tensors at {wanted}",
                got=f"{sorted(found)}, of which no tensor at {missing}",
                argument="act_in or act_out",
                advice="Outputs that do not carry the index: GraphMotion(..., index=x['batch']), "
                "edge_index=x['edge_index'] for edges; index=None for a single graph.",
            )
        tensors = {name: leaf for name, leaf in found.items() if leaf is not None}
        graph_of_node = self._graph_of_node(tensors)
        items = self._count(graph_of_node)
        parts = {}
        for name, action in self.actions.items():
            rows = self._rows(self.kinds[name], tensors, graph_of_node)
            expected = (
                items if self.kinds[name] == "graphs" else None if rows is None else len(rows)
            )
            value = _in_rows(name, tensors[name], action, expected, self.kinds[name])
            if rows is None and self.kinds[name] != "graphs":  # one graph: every row is its own
                rows = torch.zeros(len(value), dtype=torch.int64, device=value.device)
            parts[name] = Part(value, rows)
        return parts

    def items(self, x: Any) -> int:
        found = {name: as_tensor(leaf) for name, leaf in leaves(x).items()}
        return self._count(self._graph_of_node({n: v for n, v in found.items() if v is not None}))

    def _keys(self) -> list[str]:
        keys = [self.index] if isinstance(self.index, str) else []
        if self.index is not None and isinstance(self.edge_index, str) and self._has_edges:
            keys.append(self.edge_index)
        return keys

    @property
    def _has_edges(self) -> bool:
        return "edges" in self.kinds.values()

    def _graph_of_node(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        index = tensors.get(self.index) if isinstance(self.index, str) else self.index
        return None if index is None else index.long()

    def _count(self, graph_of_node: Tensor | None) -> int:
        if graph_of_node is None:
            return 1
        return int(graph_of_node.max()) + 1 if len(graph_of_node) else 0

    def _rows(
        self, kind: RowsOf, tensors: Mapping[str, Tensor], graph_of_node: Tensor | None
    ) -> Tensor | None:
        """The graph of each row; None for rows that are graphs, and for a single graph."""
        if kind == "graphs" or graph_of_node is None:
            return None
        if kind == "nodes":
            return graph_of_node
        ends = self.edge_index
        ends = tensors[ends] if isinstance(ends, str) else ends
        if ends.ndim != 2 or len(ends) != 2:
            raise ShapeError(
                expected="the ends of edges, shape (2, edges)",
                got=f"shape {tuple(ends.shape)}",
                argument="edge_index",
                advice="Transpose pairs of shape (edges, 2).",
            )
        return graph_of_node[ends[0].long()]


def _in_rows(
    name: str, value: Tensor, action: Action, expected: int | None, kind: RowsOf
) -> Tensor:
    """An array as (rows, ...) with the axes that the action moves last."""
    if value.is_floating_point() and action.event_dim == 1:
        size, rows = action.dim, expected
        if rows is None and value.ndim > 0:
            rows = len(value)
        # (graphs,), (graphs, 3, 3) and, one below the other, (3 graphs, 3) are told by their size
        if rows and value.numel() == rows * size and (kind == "graphs" or len(value) == rows):
            return value.reshape(rows, size)
    alone = kind == "graphs" and expected == 1 and value.shape[:1] != (1,)
    value = value.unsqueeze(0) if alone and value.is_floating_point() else value
    if value.ndim == 0 or (expected is not None and value.shape[0] != expected):
        raise ShapeError(
            expected=f"{'rows' if expected is None else f'{expected} rows'}",
            got=f"shape {tuple(value.shape)}",
            argument=name,
            advice=f"One row per {kind[:-1]}.",
        )
    if not value.is_floating_point() or (
        action.event_dim == 1 and math.prod(value.shape[1:]) % action.dim
    ):
        raise ShapeError(
            expected=f"floating-point numbers, {action.dim} a row for {type(action).__name__}",
            got=f"shape {tuple(value.shape)}, {value.dtype}",
            argument=name,
            advice="Shifts in numbers of cells and species do not move: leave them out.",
        )
    return value
