"""The certified margin lies below every graph that the budgets allow, all of them enumerated."""

from __future__ import annotations

import itertools

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.nn import (
    Graph,
    GraphEncoder,
    certified_margin,
    certified_margin_loss,
    drop_edges,
    margin_directions,
)

WRONG = (EquivariantError, TypeCheckError)


def case(nodes, edges, seed, budget=None):
    draws = torch.Generator().manual_seed(seed)
    pairs = torch.combinations(torch.arange(nodes))
    chosen = torch.randperm(len(pairs), generator=draws)[:edges].sort().values
    graph = Graph(pairs[chosen], nodes)
    torch.manual_seed(seed)
    encoder = GraphEncoder((3, 7, 4)).double()
    with torch.no_grad():
        for layer in encoder.layers:
            layer.bias.normal_(0.0, 0.3)
    x = torch.randn(nodes, 3, generator=draws, dtype=torch.float64)
    directions = margin_directions(torch.randn(nodes, 4, generator=draws, dtype=torch.float64))
    if budget is None:
        allowed = torch.randint(0, 3, (nodes,), generator=draws)
    else:
        allowed = torch.full((nodes,), budget)
    return encoder, x, graph, directions, allowed


def values(encoder, x, graph, directions):
    return (encoder(x, graph) * directions).sum(1)


def all_graphs(graph, budget):
    """Every graph that lost, at each node, no more edges than its budget."""
    for keep in itertools.product([False, True], repeat=len(graph.edges)):
        fewer = graph.kept(torch.tensor(keep, dtype=torch.bool))
        if bool((graph.degrees() - fewer.degrees() <= budget).all()):
            yield fewer


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("budget", [None, 1, 2, 5])
def test_below_every_graph(seed, budget):
    encoder, x, graph, directions, budget = case(6, 8, seed, budget)
    bound = certified_margin(encoder, x, graph, directions, budget=budget)
    least = torch.full_like(bound, torch.inf)
    with torch.no_grad():
        for fewer in all_graphs(graph, budget):
            least = torch.minimum(least, values(encoder, x, fewer, directions))
    assert bool((bound <= least + 1e-12).all())
    assert bool((bound > least - 20 * (1 + least.abs())).all())  # and not by saying nothing


@pytest.mark.parametrize("seed", range(4))
def test_below_every_drawn_augmentation_of_a_larger_graph(seed):
    encoder, x, _, _, _ = case(60, 1, seed)
    graph = Graph.nearest(x, 5)
    draws = torch.Generator().manual_seed(seed)
    directions = margin_directions(encoder(x, graph))
    budget = torch.randint(0, 4, (60,), generator=draws)
    with torch.no_grad():
        bound = certified_margin(encoder, x, graph, directions, budget=budget)
        for share in (0.1, 0.5, 1.0):
            for _ in range(60):
                fewer = drop_edges(graph, share, generator=draws, budget=budget)
                assert bool((bound <= values(encoder, x, fewer, directions) + 1e-12).all())


def test_a_bound_at_one_graph_is_none():
    """The twin, which takes the value at the whole graph for the least one, is refuted."""
    refuted = 0
    for seed in range(6):
        encoder, x, graph, directions, budget = case(6, 8, seed, 2)
        twin = values(encoder, x, graph, directions)
        for fewer in all_graphs(graph, budget):
            refuted += int((values(encoder, x, fewer, directions) < twin - 1e-9).sum())
    assert refuted > 100


def test_limits():
    encoder, x, graph, directions, _ = case(8, 14, 0)
    exact = values(encoder, x, graph, directions)
    nothing = torch.zeros(8, dtype=torch.int64)
    bound = certified_margin(encoder, x, graph, directions, budget=nothing)
    torch.testing.assert_close(bound, exact)  # nothing may go
    last = bound
    for most in range(1, 5):
        wider = certified_margin(encoder, x, graph, directions, budget=nothing + most)
        assert bool((wider <= last + 1e-12).all())  # the more may go, the less is certain
        last = wider
    some = torch.tensor([5, 2])
    chosen = certified_margin(encoder, x, graph, directions[some], budget=nothing + 1, nodes=some)
    every = certified_margin(encoder, x, graph, directions, budget=nothing + 1)
    torch.testing.assert_close(chosen, every[some])
    lonely = Graph(graph.edges[:0], 8)
    bound = certified_margin(encoder, x, lonely, directions, budget=nothing + 3)
    torch.testing.assert_close(bound, values(encoder, x, lonely, directions))


def test_directions_and_loss_by_loops():
    z = torch.randn(5, 3, dtype=torch.float64)
    w = margin_directions(z)
    unit = [row / row.norm() for row in z]
    for i in range(5):
        rest = sum(unit[j] for j in range(5) if j != i) / 4
        torch.testing.assert_close(w[i], unit[i] - rest)
    bound = torch.tensor([0.3, -2.0], dtype=torch.float64)
    expected = sum((1 + (-b).exp()).log() for b in bound) / 2
    torch.testing.assert_close(certified_margin_loss(bound), expected)


def test_gradient_is_that_of_finite_differences_and_training_raises_the_bound():
    encoder, x, graph, directions, budget = case(6, 8, 1, 1)
    x.requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda x: certified_margin(encoder, x, graph, directions, budget=budget), (x,)
    )
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-2)
    bounds = []
    for _ in range(60):
        bound = certified_margin(encoder, x.detach(), graph, directions, budget=budget)
        bounds.append(float(bound.detach().min()))
        optimizer.zero_grad()
        certified_margin_loss(bound).backward()
        optimizer.step()
    assert bounds[-1] > bounds[0]


def test_refusals():
    encoder, x, graph, directions, budget = case(6, 8, 0)
    for call in (
        lambda: certified_margin(GraphEncoder((3, 4)), x, graph, directions, budget=budget),
        lambda: certified_margin(encoder, x, graph, directions, budget=budget - 5),
        lambda: certified_margin(encoder, x, graph, directions[:2], budget=budget),
        lambda: certified_margin(encoder, x[:3], graph, directions, budget=budget),
        lambda: margin_directions(x[:1]),
    ):  # fmt: skip
        with pytest.raises(WRONG):
            call()
