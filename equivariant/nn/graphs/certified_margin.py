"""How far a node stays nearer to its positive than to others, whatever edges are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import softplus

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.graphs.augmentations import check_budget
from equivariant.nn.graphs.encoder import GraphConvolution, GraphEncoder
from equivariant.nn.graphs.graph import Graph
from equivariant.shapes import Float, Int


def margin_directions(other: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Directions in which a node's embedding is nearer to its positive than to the others.

        w_i = ẑ_i - mean_{j≠i} ẑ_j,    ẑ unit rows of the other view, without gradient

    Args:
        other: Embeddings of the other view, shape (n, d), n >= 2.

    Returns:
        w, shape (n, d): ⟨w_i, z_i⟩ is the score of the positive less the mean score of the rest.

    Raises:
        ShapeError: Fewer than two rows.
    """
    if other.ndim != 2 or len(other) < 2:
        raise ShapeError(
            expected="two rows or more", got=f"shape {tuple(other.shape)}", argument="other",
            advice="Pass the embeddings of all nodes of the other view.",
        )  # fmt: skip
    z = torch.nn.functional.normalize(other.detach(), dim=1)
    return z - (z.sum(0) - z) / (len(z) - 1)


def certified_margin(
    encoder: GraphEncoder,
    x: Float[Tensor, "n d"],
    graph: Graph,
    directions: Float[Tensor, "b e"],
    *,
    budget: Int[Tensor, " n"],
    nodes: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, " b"]:
    """A number that ⟨w_i, z_i⟩ does not fall below, whichever edges are left out.

    z is the encoder's output on any graph that has lost edges, at each node no more than its
    budget. Its normalized entries a lie between two numbers each:

        a_ij in [0 if the edge may go, else 1/√(d_i d_j);  1/√((d_i - δ_i) (d_j - δ_j))]

    d degrees + 1, δ budgets. Rectifiers are enclosed between two lines over the range that their
    input has in these intervals, which leaves, with b_j what the lines make of node j,

        ⟨w_i, z_i⟩ >= min_a Σ_j a_ij b_j,    b_j >= min_a Σ_l a_jl t_l + const

    and both minima are taken entry by entry, by the sign of what is multiplied: they are over all
    a, not at a graph that was drawn. The released code of the paper evaluates its lines at a drawn
    graph, which bounds nothing else.

    Args:
        encoder: Of two layers.
        x: Features of the nodes, shape (n, d).
        graph: The graph with all edges.
        directions: w, one row for each node, or for each of ``nodes``.
        budget: δ, edges that each node may lose, shape (n,), integers of at least 0.
        nodes: Which nodes i, shape (b,), int64; None is all. Memory grows with the number of
            paths of length 2 from them times the hidden width.

    Returns:
        The bound for each, shape (b,), with gradient into encoder and x. Budgets of 0 give
        ⟨w_i, z_i⟩ itself.

    Raises:
        ConventionError: The encoder has not two layers, or a budget is negative.
        ShapeError: Features, directions or budgets do not fit the graph.

    Source: Yu et al. 2023 (POT), theorem 2; lines as of CROWN, Zhang et al. 2018.
    """
    if len(encoder.layers) != 2:
        raise ConventionError(
            expected="an encoder of two layers", got=f"one of {len(encoder.layers)}",
            argument="encoder", advice="GraphEncoder((inputs, hidden, outputs)).",
        )  # fmt: skip
    check_budget(graph, budget)
    chosen = torch.arange(graph.nodes, device=x.device) if nodes is None else nodes
    if len(x) != graph.nodes or len(directions) != len(chosen):
        raise ShapeError(
            expected=f"features of {graph.nodes} nodes and {len(chosen)} directions",
            got=f"{len(x)} and {len(directions)}", argument="directions",
            advice="One direction for each node that is asked for.",
        )  # fmt: skip
    first, second = (cast(GraphConvolution, layer) for layer in encoder.layers)
    box = _entry_ranges(graph, budget, x.dtype)
    y = x @ first.weight
    low, high = _activation_ranges(box, y, first.bias)
    v = directions @ second.weight.T  # what a unit of each hidden feature is worth, (b, k)
    outer = _of_rows(box, chosen)
    node, anchor = box.columns[outer.entry], outer.place
    slope, constant = _lines(v[anchor], low[node], high[node])
    constant = constant + slope @ first.bias
    inner = _of_rows(box, node)
    worth = (slope[inner.place] * y[box.columns[inner.entry]]).sum(1)
    reached = constant.index_add(0, inner.place, _least(box, inner.entry, worth))
    bound = directions @ second.bias
    return bound.index_add(0, anchor, _least(box, outer.entry, reached))


def certified_margin_loss(bound: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """mean_i log(1 + exp(-bound_i)): nodes whose margin is not certain count most.

    Args:
        bound: Of :func:`certified_margin`, shape (n,).

    Source: Yu et al. 2023 (POT); their objective is (1 - κ) InfoNCE + κ of this, κ 0.5.
    """
    return softplus(-bound).mean()


@dataclass(frozen=True)
class _Box:
    """Ranges of the entries of Â, by rows."""

    columns: Tensor
    start: Tensor
    count: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class _Entries:
    """Entries of several rows one after the other, and at which place each row was asked for."""

    entry: Tensor
    place: Tensor


def _entry_ranges(graph: Graph, budget: Tensor, dtype: torch.dtype) -> _Box:
    rows, columns = graph.entries()
    budget, own = budget.to(rows.device), rows == columns
    may_go = ~own & (budget[rows] > 0) & (budget[columns] > 0)
    degree = graph.degrees()
    loss = torch.minimum(budget, torch.bincount(rows[may_go], minlength=graph.nodes))
    whole, least = (degree + 1).to(dtype), (degree + 1 - loss).to(dtype)
    with_edge = least.clamp_min(2.0)  # where an edge stays, the node keeps that one
    low = (whole[rows] * whole[columns]).rsqrt().masked_fill(may_go, 0.0)
    apart = (with_edge[rows] * with_edge[columns]).rsqrt()
    high = torch.where(own, 1.0 / least[rows], apart)
    start = torch.cumsum(degree + 1, 0) - (degree + 1)
    return _Box(columns, start, degree + 1, low, high)


def _of_rows(box: _Box, rows: Tensor) -> _Entries:
    count = box.count[rows]
    place = torch.arange(len(rows), device=rows.device).repeat_interleave(count)
    within = torch.arange(len(place), device=rows.device)
    within = within - (torch.cumsum(count, 0) - count)[place]
    return _Entries(box.start[rows][place] + within, place)


def _least(box: _Box, entry: Tensor, worth: Tensor) -> Tensor:
    """Smallest a · worth over the range of each entry a."""
    return torch.minimum(box.low[entry] * worth, box.high[entry] * worth)


def _activation_ranges(box: _Box, y: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Ranges of Â y + bias, shape (n, k) each."""
    row = torch.arange(len(box.count), device=y.device).repeat_interleave(box.count)
    ends = box.low[:, None] * y[box.columns], box.high[:, None] * y[box.columns]
    start = torch.zeros_like(y) + bias
    low = start.index_add(0, row, torch.minimum(*ends))
    return low, start.index_add(0, row, torch.maximum(*ends))


def _lines(v: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and constant of a line below v · relu(p) for every p in the range, summed over k."""
    crossing = (low < 0) & (high > 0)
    width = torch.where(crossing, high - low, 1.0)
    above = torch.where(crossing, high / width, (low >= 0).to(v))
    below = torch.where(crossing, (high > -low).to(v), above)
    slope = torch.where(v > 0, v * below, v * above)
    lift = torch.where(crossing & (v < 0), -v * above * low, 0.0)
    return slope, lift.sum(1)
