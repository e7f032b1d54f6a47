"""Other views of a graph: edges and nodes left out, features masked, as communities advise."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.graphs.graph import Graph
from equivariant.shapes import Float, Int


def drop_edges(
    graph: Graph,
    probability: float | Float[Tensor, " e"],
    *,
    generator: torch.Generator,
    budget: Int[Tensor, " n"] | None = None,
) -> Graph:
    """The graph without some edges, each left out by itself with a probability.

    With a budget no node loses more edges than it allows: of the edges that are to go, a node
    gives up as many as it may, in random order, and an edge goes only if both its ends give it up.

    Args:
        graph: Which.
        probability: In [0, 1], one for all edges or one for each, shape (E,).
        generator: Of the draws, on the CPU.
        budget: Edges that each node may lose, shape (n,), integers of at least 0.

    Raises:
        ConventionError: A probability is out of range, or a budget negative.
        ShapeError: Not one probability for each edge, or not one budget for each node.

    Example:
        >>> graph = Graph.nearest(torch.randn(30, 3), 5)
        >>> fewer = drop_edges(graph, 0.5, generator=torch.Generator().manual_seed(0))
        >>> len(fewer.edges) < len(graph.edges)
        True
    """
    count = len(graph.edges)
    drop = _drawn(probability, count, generator).to(graph.edges.device)
    order = torch.rand(count, generator=generator).to(graph.edges.device)
    if budget is not None:
        check_budget(graph, budget)
        drop &= _within(graph, drop, order, budget)
    return graph.kept(~drop)


def drop_nodes(
    graph: Graph,
    x: Float[Tensor, "n d"],
    probability: float | Float[Tensor, " n"],
    *,
    generator: torch.Generator,
) -> tuple[Graph, Float[Tensor, "n d"]]:
    """The graph in which some nodes have lost all edges and features; all keep their numbers.

    Args:
        graph: Which.
        x: Features of the nodes, shape (n, d).
        probability: In [0, 1], one for all nodes or one for each, shape (n,).
        generator: Of the draws, on the CPU.

    Returns:
        Graph and features, those of dropped nodes 0.

    Raises:
        ConventionError: A probability is out of range.
        ShapeError: Not one probability for each node.
    """
    drop = _drawn(probability, graph.nodes, generator).to(x.device)
    return graph.kept(~drop[graph.edges].any(1)), x.masked_fill(drop[:, None], 0.0)


def mask_features(
    x: Float[Tensor, "n d"],
    probability: float | Float[Tensor, " d"],
    *,
    generator: torch.Generator,
) -> Float[Tensor, "n d"]:
    """Features of which some columns are 0 at all nodes.

    Args:
        x: Shape (n, d).
        probability: In [0, 1], one for all columns or one for each, shape (d,).
        generator: Of the draws, on the CPU.

    Raises:
        ConventionError: A probability is out of range.
        ShapeError: Not one probability for each column.
    """
    return x.masked_fill(_drawn(probability, x.shape[1], generator).to(x.device), 0.0)


def community_drop_probabilities(
    graph: Graph,
    community: Int[Tensor, " n"],
    strength: Float[Tensor, " n"],
    *,
    mean: float,
    most: float = 1.0,
) -> Float[Tensor, " e"]:
    """Probabilities of leaving edges out: low within strong communities, high across them.

        score = s_c within community c, -(s_a + s_b) across
        keep  = clip((1 - mean) · u / average(u), 1 - most, 1),   u = score scaled to [0, 1]

    Args:
        graph: Which.
        community: Community of each node, shape (n,), int64.
        strength: s of each node's community, shape (n,):
            :func:`equivariant.losses.community_strength`.
        mean: Average probability before clipping, in [0, 1).
        most: Largest probability, in [0, 1].

    Returns:
        One probability for each edge, shape (E,). Where all scores are alike, ``mean``.

    Raises:
        ConventionError: A share is out of range.
        ShapeError: Not one community and strength for each node.

    Source: Chen et al. 2023 (CSGCL), communal edge dropping, and its code.
    """
    _check_shares(mean, most)
    _check_length(community, graph.nodes, "community")
    _check_length(strength, graph.nodes, "strength")
    a, b = graph.edges.unbind(1)
    within = community[a] == community[b]
    score = torch.where(within, strength[a], -(strength[a] + strength[b]))
    return 1.0 - _scaled(score, 1.0 - mean).clamp(1.0 - most, 1.0)


def community_mask_probabilities(
    x: Float[Tensor, "n d"], strength: Float[Tensor, " n"], *, mean: float, most: float = 1.0
) -> Float[Tensor, " d"]:
    """Probabilities of masking columns: low for those that strong communities have.

        w = log(|X|ᵀ s),   probability = min(mean · u / average(u), most),
        u = (max w - w) / (max w - min w)

    Args:
        x: Features of the nodes, shape (n, d).
        strength: s of each node's community, shape (n,).
        mean: Average probability before the cap, in [0, 1).
        most: Largest probability, in [0, 1].

    Returns:
        One probability for each column, shape (d,). A column whose |X|ᵀ s is not positive
        counts as the weakest one; where all are alike, ``mean``.

    Raises:
        ConventionError: A share is out of range.
        ShapeError: Not one strength for each node.

    Source: Chen et al. 2023 (CSGCL), communal attribute voting, and its code.
    """
    _check_shares(mean, most)
    _check_length(strength, len(x), "strength")
    votes = x.abs().T @ strength.to(x)
    positive = votes > 0
    if not bool(positive.any()):
        return torch.full_like(votes, mean)
    weight = votes.clamp_min(float(votes[positive].min())).log()
    return _scaled(-weight, mean).clamp(max=most)


def check_budget(graph: Graph, budget: Tensor) -> None:
    """Refuse budgets that are not one integer of at least 0 for each node."""
    _check_length(budget, graph.nodes, "budget")
    if budget.is_floating_point() or bool((budget < 0).any()):
        raise ConventionError(
            expected="integers of at least 0", got=f"{budget.dtype}, least {budget.min()}",
            argument="budget", advice="Say how many edges each node may lose.",
        )  # fmt: skip


def _within(graph: Graph, drop: Tensor, order: Tensor, budget: Tensor) -> Tensor:
    """Which edges both ends give up: at each end the first of those to go, in this order."""
    ends = graph.edges.T.flatten()  # first ends, then second ends
    rank = torch.where(drop, order, 2.0).repeat(2)  # those that stay come last
    by_node = torch.argsort(rank, stable=True)
    by_node = by_node[torch.argsort(ends[by_node], stable=True)]
    start = torch.cumsum(graph.degrees(), 0) - graph.degrees()
    place = torch.empty_like(ends)
    place[by_node] = torch.arange(len(ends), device=ends.device) - start[ends[by_node]]
    given = place < budget.to(ends.device)[ends]
    return given[: len(drop)] & given[len(drop) :]


def _drawn(probability: float | Tensor, count: int, generator: torch.Generator) -> Tensor:
    p = torch.as_tensor(probability).detach().cpu()
    if p.ndim:
        _check_length(p, count, "probability")
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise ConventionError(
            expected="probabilities in [0, 1]", got=f"{p.min():g} to {p.max():g}",
            argument="probability", advice="0 leaves all there.",
        )  # fmt: skip
    return torch.rand(count, generator=generator, dtype=torch.float64) < p


def _scaled(score: Tensor, mean: float) -> Tensor:
    """Scores from 0 for the least, in proportion, with this mean."""
    if not len(score) or bool(score.max() == score.min()):
        return torch.full_like(score, mean)
    u = (score - score.min()) / (score.max() - score.min())
    return u * (mean / u.mean())


def _check_length(values: Tensor, count: int, argument: str) -> None:
    if values.shape != (count,):
        raise ShapeError(
            expected=f"shape ({count},)", got=f"shape {tuple(values.shape)}", argument=argument,
            advice="One number for each.",
        )  # fmt: skip


def _check_shares(mean: float, most: float) -> None:
    if not (0.0 <= mean < 1.0 and 0.0 <= most <= 1.0):
        raise ConventionError(
            expected="mean in [0, 1), most in [0, 1]", got=f"mean={mean}, most={most}",
            argument="mean", advice="The usual mean is 0.2 to 0.5.",
        )  # fmt: skip
