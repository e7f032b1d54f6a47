"""Communities of a graph: groups of nodes with more edges inside than chance would have."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.nn.graphs.graph import Graph
from equivariant.shapes import Int

Weights = list[dict[int, float]]


def modularity(graph: Graph, community: Int[Tensor, " n"]) -> float:
    """How many more edges lie inside communities than chance would have.

        Q = Σ_c [m_c / m - (deg_c / 2m)²]

    Args:
        graph: m edges, m_c of them inside c; deg_c is the sum of degrees in c.
        community: Community of each node, shape (n,), int64, from 0.

    Returns:
        In [-1/2, 1); 0 without edges.

    Raises:
        ShapeError: Not one community for each node.

    Source: Newman 2004.
    """
    if community.shape != (graph.nodes,):
        raise ShapeError(
            expected=f"shape ({graph.nodes},)", got=f"shape {tuple(community.shape)}",
            argument="community", advice="One number for each node.",
        )  # fmt: skip
    m = len(graph.edges)
    if not m:
        return 0.0
    a, b = community[graph.edges].unbind(1)
    degree = torch.zeros(int(community.max()) + 1, dtype=torch.float64)
    degree = degree.index_add(0, community, graph.degrees().double())
    return float((a == b).sum() / m - (degree / (2 * m)).square().sum())


def communities(graph: Graph, *, generator: torch.Generator) -> Int[Tensor, " n"]:
    """Communities of high modularity, by moving nodes and merging what was found.

    In random order each node joins the neighbouring community in which modularity is highest,
    until none moves; then communities become nodes, and so on, until nothing merges.

    Args:
        graph: Which.
        generator: Of the order, on the CPU.

    Returns:
        Community of each node, shape (n,), int64, numbered from 0 by their first nodes. Nodes
        without edges are communities of their own.

    Example:
        >>> pairs = torch.tensor([[0, 1], [1, 2], [0, 2], [3, 4], [4, 5], [3, 5], [2, 3]])
        >>> communities(Graph(pairs.sort(1).values, 6), generator=torch.Generator()).tolist()
        [0, 0, 0, 1, 1, 1]

    Source: Blondel et al. 2008 (Louvain).
    """
    weights: Weights = [{} for _ in range(graph.nodes)]
    for a, b in graph.edges.tolist():
        weights[a][b] = weights[b][a] = 1.0
    inside = [0.0] * graph.nodes  # twice the weight within a node
    found = list(range(graph.nodes))
    while True:
        moved = _moved(weights, inside, generator)
        if len(set(moved)) == len(weights):
            break
        number: dict[int, int] = {}
        moved = [number.setdefault(c, len(number)) for c in moved]
        found = [moved[c] for c in found]
        weights, inside = _merged(weights, inside, moved, len(number))
    number = {}
    return torch.tensor([number.setdefault(c, len(number)) for c in found])


def _moved(weights: Weights, inside: list[float], generator: torch.Generator) -> list[int]:
    """Community of each node when no single move is better."""
    count = len(weights)
    degree = [sum(near.values()) + own for near, own in zip(weights, inside, strict=True)]
    community, total, whole = list(range(count)), list(degree), sum(degree)
    again = whole > 0
    while again:
        again = False
        for node in torch.randperm(count, generator=generator).tolist():
            home = community[node]
            total[home] -= degree[node]
            joined: dict[int, float] = {home: 0.0}
            for other, weight in weights[node].items():
                joined[community[other]] = joined.get(community[other], 0.0) + weight
            gain = {c: w - degree[node] * total[c] / whole for c, w in joined.items()}
            best = max(gain, key=lambda c: (gain[c], -c))
            if gain[best] <= gain[home] + 1e-12:
                best = home
            community[node], again = best, again or best != home
            total[best] += degree[node]
    return community


def _merged(
    weights: Weights, inside: list[float], community: list[int], count: int
) -> tuple[Weights, list[float]]:
    """Communities as nodes: weights between them, and twice the weight within them."""
    between: Weights = [{} for _ in range(count)]
    within = [0.0] * count
    for node, near in enumerate(weights):
        home = community[node]
        within[home] += inside[node]
        for other, weight in near.items():
            to = community[other]
            if to == home:
                within[home] += weight
            else:
                between[home][to] = between[home].get(to, 0.0) + weight
    return between, within
