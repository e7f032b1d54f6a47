"""Undirected graphs as lists of edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.points.neighbors import nearest_neighbors
from equivariant.shapes import Bool, Float, Int


@dataclass(frozen=True)
class Graph:
    """Nodes 0 to n - 1 and undirected edges, each listed once.

    Args:
        edges: Ends (i, j), i < j, no pair twice, shape (E, 2), int64.
        nodes: n, at least 1.

    Raises:
        ShapeError: The edges are no pairs.
        ConventionError: An end is no node, a pair is not ascending, or stands twice.

    Example:
        >>> graph = Graph.of_mesh(torch.tensor([[0, 1, 2], [2, 1, 3]]))
        >>> graph.edges.tolist(), graph.degrees().tolist()
        ([[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]], [2, 3, 3, 2])
    """

    edges: Int[Tensor, "e 2"]
    nodes: int

    def __post_init__(self) -> None:
        edges = self.edges
        if edges.ndim != 2 or edges.shape[1] != 2:
            raise ShapeError(
                expected="pairs of nodes, shape (E, 2)", got=f"shape {tuple(edges.shape)}",
                argument="edges", advice="Graph.of_mesh takes faces, Graph.nearest points.",
            )  # fmt: skip
        good = edges.dtype == torch.int64 and self.nodes >= 1
        if good and len(edges):
            low, high = int(edges.min()), int(edges.max())
            good = low >= 0 and high < self.nodes and bool((edges[:, 0] < edges[:, 1]).all())
            good = good and len(torch.unique(self._keys())) == len(edges)
        if not good:
            raise ConventionError(
                expected=f"int64 pairs i < j of {self.nodes} nodes (at least 1), each once",
                got=f"{edges.dtype}, {_shown(edges)}", argument="edges",
                advice="Graph.of sorts pairs and leaves out loops and repetitions.",
            )  # fmt: skip

    @staticmethod
    def of(pairs: Int[Tensor, "e 2"], nodes: int) -> Graph:
        """The graph of any pairs: sorted, loops and repetitions left out.

        Args:
            pairs: Ends in any order, shape (E, 2), int64.
            nodes: n, at least 1.

        Raises:
            ShapeError: These are no pairs.
            ConventionError: An end is no node.
        """
        if pairs.ndim == 2 and pairs.shape[1] == 2 and len(pairs):
            pairs = pairs.sort(1).values
            pairs = torch.unique(pairs[pairs[:, 0] < pairs[:, 1]], dim=0)
        return Graph(pairs, nodes)

    @staticmethod
    def of_mesh(faces: Int[Tensor, "f k"], nodes: int | None = None) -> Graph:
        """Vertices, joined where a face has an edge between them.

        Args:
            faces: Corners of each face in cyclic order, shape (F, k), k >= 3, int64.
            nodes: Number of vertices; None is one more than the largest corner.

        Raises:
            ShapeError: Faces have fewer than three corners.
            ConventionError: A corner is no vertex.
        """
        if faces.ndim != 2 or faces.shape[1] < 3:
            raise ShapeError(
                expected="faces of shape (F, k), k >= 3", got=f"shape {tuple(faces.shape)}",
                argument="faces", advice="A mesh of triangles has shape (F, 3).",
            )  # fmt: skip
        pairs = torch.stack([faces, faces.roll(-1, 1)], 2).flatten(0, 1)
        return Graph.of(pairs, int(faces.max()) + 1 if nodes is None else nodes)

    @staticmethod
    def nearest(points: Float[Tensor, "n d"], count: int) -> Graph:
        """Points, joined where one is among the nearest of the other.

        Args:
            points: Positions or features, shape (n, d).
            count: Neighbours of each point, itself not counted, in [1, n - 1].

        Raises:
            ShapeError: Not a matrix, or fewer than count + 1 points.
        """
        if points.ndim != 2:
            raise ShapeError(
                expected="points of shape (n, d)", got=f"shape {tuple(points.shape)}",
                argument="points", advice="Join the graphs of several clouds with Graph.union.",
            )  # fmt: skip
        near = nearest_neighbors(points[None], count + 1)[0]
        own = torch.arange(len(points), device=points.device)[:, None].expand_as(near)
        return Graph.of(torch.stack([own, near], 2).flatten(0, 1), len(points))

    @staticmethod
    def union(graphs: Sequence[Graph]) -> Graph:
        """The graphs side by side, the nodes of each after those of the ones before.

        Args:
            graphs: At least one.

        Raises:
            ConventionError: There is none.
        """
        if not graphs:
            raise ConventionError(
                expected="at least one graph", got="none", argument="graphs",
                advice="Pass the graphs of a batch.",
            )  # fmt: skip
        first = [0]
        for graph in graphs:
            first.append(first[-1] + graph.nodes)
        edges = [graph.edges + start for graph, start in zip(graphs, first, strict=False)]
        return Graph(torch.cat(edges), first[-1])

    def kept(self, keep: Bool[Tensor, " e"]) -> Graph:
        """The same nodes with some of the edges.

        Args:
            keep: Which edges stay, shape (E,), bool.
        """
        return Graph(self.edges[keep], self.nodes)

    def degrees(self) -> Int[Tensor, " n"]:
        """Number of edges at every node, shape (n,), int64."""
        return torch.bincount(self.edges.flatten(), minlength=self.nodes)

    def entries(self) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
        """Rows and columns of the entries of A + I, by rows, then columns, each shape (2E + n,)."""
        own = torch.arange(self.nodes, device=self.edges.device)
        rows = torch.cat([self.edges[:, 0], self.edges[:, 1], own])
        columns = torch.cat([self.edges[:, 1], self.edges[:, 0], own])
        order = (rows * self.nodes + columns).argsort()
        return rows[order], columns[order]

    def propagate(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Sums over neighbours, normalized: D^(-1/2) (A + I) D^(-1/2) x, D = degrees + 1.

        Args:
            x: Features of the nodes, shape (n, d).

        Returns:
            Shape (n, d); memory O((E + n) d).

        Raises:
            ShapeError: Not one row for every node.
        """
        if x.ndim != 2 or len(x) != self.nodes:
            raise ShapeError(
                expected=f"one row for each of {self.nodes} nodes", got=f"shape {tuple(x.shape)}",
                argument="x", advice="Pass features of shape (n, d).",
            )  # fmt: skip
        scale = (self.degrees() + 1).to(x).rsqrt()[:, None]
        scaled = x * scale
        first, second = self.edges.unbind(1)
        summed = scaled.index_add(0, first, scaled[second]).index_add(0, second, scaled[first])
        return summed * scale

    def to(self, device: torch.device | str | None = None) -> Graph:
        """The same graph elsewhere."""
        return Graph(self.edges.to(device), self.nodes)

    def _keys(self) -> Tensor:
        return self.edges[:, 0] * self.nodes + self.edges[:, 1]


def _shown(edges: Tensor) -> str:
    return f"{len(edges)} pairs, ends {edges.min()} to {edges.max()}" if len(edges) else "no pair"
