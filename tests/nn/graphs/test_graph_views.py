"""Graphs, encoder, augmentations and communities against dense matrices, loops and networkx."""

from __future__ import annotations

import networkx
import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.losses import community_strength
from equivariant.nn import (
    Graph,
    GraphEncoder,
    communities,
    community_drop_probabilities,
    community_mask_probabilities,
    drop_edges,
    drop_nodes,
    mask_features,
    modularity,
)

WRONG = (EquivariantError, TypeCheckError)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def random_graph(nodes, share, seed=0):
    pairs = torch.combinations(torch.arange(nodes))
    return Graph(pairs[torch.rand(len(pairs), generator=source(seed)) < share], nodes)


def dense(graph):
    """D^(-1/2) (A + I) D^(-1/2) by loops."""
    a = torch.eye(graph.nodes, dtype=torch.float64)
    for i, j in graph.edges.tolist():
        a[i, j] = a[j, i] = 1.0
    d = a.sum(1)
    return a / (d[:, None] * d[None]).sqrt()


def test_meshes_and_neighbours_by_loops():
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [3, 4, 2]])
    expected = {tuple(sorted((f[i], f[(i + 1) % 3]))) for f in faces.tolist() for i in range(3)}
    assert set(map(tuple, Graph.of_mesh(faces, 6).edges.tolist())) == expected
    points = torch.randn(15, 3, generator=source())
    distance = (points[:, None] - points).norm(dim=2)
    near = {
        tuple(sorted((i, j)))
        for i in range(15)
        for j in sorted(range(15), key=lambda j: float(distance[i, j]))[1:4]
    }
    assert set(map(tuple, Graph.nearest(points, 3).edges.tolist())) == near
    square = Graph.of_mesh(torch.tensor([[0, 1, 2, 3]]))
    assert square.edges.tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]  # no diagonal


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_encoder_is_that_of_dense_matrices(share):
    graph = random_graph(9, share)
    torch.manual_seed(0)
    encoder = GraphEncoder((4, 6, 5, 3)).double()
    x = torch.randn(9, 4, generator=source(), dtype=torch.float64)
    a, h = dense(graph), x
    for number, layer in enumerate(encoder.layers):
        h = a @ (h.relu() if number else h) @ layer.weight + layer.bias
    torch.testing.assert_close(encoder(x, graph), h)
    rows, columns = graph.entries()
    assert torch.equal(torch.stack([rows, columns], 1), dense(graph).nonzero())
    twin = dense(graph) - torch.diag(dense(graph).diagonal())  # without a node's own features
    if share:
        assert (graph.propagate(x) - twin @ x).abs().max() > 0.1


def test_renumbered_nodes_give_renumbered_rows_and_unions_stay_apart():
    graph, x = random_graph(9, 0.4), torch.randn(9, 4, generator=source())
    torch.manual_seed(0)
    encoder = GraphEncoder((4, 6, 3))
    order = torch.randperm(9, generator=source())
    place = order.argsort()
    moved = Graph.of(place[graph.edges], 9)
    torch.testing.assert_close(encoder(x[order], moved), encoder(x, graph)[order])
    other = random_graph(5, 0.5)
    both = encoder(torch.cat([x, x[:5]]), Graph.union([graph, other]))
    torch.testing.assert_close(both, torch.cat([encoder(x, graph), encoder(x[:5], other)]))


def test_edges_are_left_out_with_their_probability_within_the_budget():
    graph = random_graph(40, 0.5)
    p = torch.rand(len(graph.edges), generator=source(3))
    p[:5], p[5:10] = 0.0, 1.0
    kept = torch.zeros(len(p))
    keys = graph.edges[:, 0] * 40 + graph.edges[:, 1]
    draws = source(1)
    for _ in range(400):
        fewer = drop_edges(graph, p, generator=draws)
        kept += torch.isin(keys, fewer.edges[:, 0] * 40 + fewer.edges[:, 1])
    assert torch.equal(kept[:5], torch.full((5,), 400.0)) and not kept[5:10].any()
    assert (kept / 400 - (1 - p)).abs().max() < 0.12
    budget = torch.randint(0, 4, (40,), generator=source(2))
    for _ in range(20):
        fewer = drop_edges(graph, 0.7, generator=draws, budget=budget)
        assert bool((graph.degrees() - fewer.degrees() <= budget).all())
        assert len(fewer.edges) < len(graph.edges)
    broken = drop_edges(graph, 0.7, generator=draws)  # without the budget
    assert not bool((graph.degrees() - broken.degrees() <= budget).all())
    everything = drop_edges(graph, 1.0, generator=draws, budget=graph.degrees())
    assert len(everything.edges) == 0


def test_nodes_and_columns_are_left_out():
    graph, x = random_graph(20, 0.4), torch.randn(20, 6, generator=source())
    p = torch.zeros(20)
    p[[3, 7]] = 1.0
    fewer, y = drop_nodes(graph, x, p, generator=source())
    gone = {3, 7}
    left = [e for e in graph.edges.tolist() if not gone & set(e)]
    assert fewer.edges.tolist() == left and not y[[3, 7]].any()
    torch.testing.assert_close(y[[0, 19]], x[[0, 19]])
    masked = mask_features(x, torch.tensor([0.0, 1, 0, 0, 1, 0]), generator=source())
    assert not masked[:, [1, 4]].any() and torch.equal(masked[:, [0, 2, 3, 5]], x[:, [0, 2, 3, 5]])


def planted():
    """Three groups, the first dense, and edges between them."""
    group = torch.arange(3).repeat_interleave(12)
    pairs = torch.combinations(torch.arange(36))
    within = group[pairs[:, 0]] == group[pairs[:, 1]]
    share = torch.where(within, torch.tensor([0.95, 0.7, 0.7])[group[pairs[:, 0]]], 0.03)
    return Graph(pairs[torch.rand(len(pairs), generator=source(4)) < share], 36), group


def test_modularity_and_communities_against_networkx():
    graph, group = planted()
    theirs = networkx.Graph(graph.edges.tolist())
    theirs.add_nodes_from(range(36))
    sets = [set((group == g).nonzero().flatten().tolist()) for g in range(3)]
    assert modularity(graph, group) == pytest.approx(networkx.community.modularity(theirs, sets))
    strength = community_strength(graph.edges, group)
    by_group = torch.stack([strength[group == g][0] for g in range(3)])
    assert float(by_group.sum()) == pytest.approx(modularity(graph, group), abs=1e-6)
    for seed in range(5):
        found = communities(graph, generator=source(seed))
        assert torch.equal(found, group)  # the groups are clear, and numbered by first nodes
    loose = random_graph(40, 0.12, seed=9)
    theirs = networkx.Graph(loose.edges.tolist())
    theirs.add_nodes_from(range(40))
    best = networkx.community.louvain_communities(theirs, seed=0)
    reached = modularity(loose, communities(loose, generator=source()))
    assert reached > networkx.community.modularity(theirs, best) - 0.03
    assert reached > modularity(loose, torch.arange(40) % 6) + 0.2
    assert communities(random_graph(4, 0.0), generator=source()).tolist() == [0, 1, 2, 3]


def test_strong_communities_keep_their_edges_and_columns():
    graph, group = planted()
    strength = community_strength(graph.edges, group)
    p = community_drop_probabilities(graph, group, strength, mean=0.3)
    a, b = graph.edges.unbind(1)
    scores = [
        float(strength[i] if group[i] == group[j] else -(strength[i] + strength[j]))
        for i, j in graph.edges.tolist()
    ]
    low, high = min(scores), max(scores)
    u = [(s - low) / (high - low) for s in scores]
    average = sum(u) / len(u)
    expected = torch.tensor([1 - min(max(0.7 * v / average, 0.0), 1.0) for v in u])
    torch.testing.assert_close(p, expected, atol=1e-6, rtol=0)
    across = group[a] != group[b]
    assert p[across].min() > p[~across].max()
    capped = community_drop_probabilities(graph, group, strength, mean=0.3, most=0.6)
    torch.testing.assert_close(capped, expected.clamp(max=0.6), atol=1e-6, rtol=0)
    even = community_drop_probabilities(graph, torch.zeros_like(group), 0 * strength, mean=0.3)
    torch.testing.assert_close(even, torch.full_like(even, 0.3))
    x = torch.zeros(36, 3)
    weakest = int(strength.argmin())
    x[int(strength.argmax()), 0], x[weakest, 1], x[:, 2] = 1.0, -1.0, 1.0
    masks = community_mask_probabilities(x, strength, mean=0.3)
    votes = (x.abs() * strength[:, None]).sum(0).log()
    u = (votes.max() - votes) / (votes.max() - votes.min())
    torch.testing.assert_close(masks, (0.3 * u / u.mean()).clamp(max=1.0))
    assert masks[2] == 0 and masks[1] > masks[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: Graph(torch.tensor([[1, 0]]), 2), lambda: Graph(torch.tensor([[0, 2]]), 2),
        lambda: Graph(torch.tensor([[0, 1], [0, 1]]), 2), lambda: Graph(torch.zeros(2, 2), 3),
        lambda: Graph(torch.zeros(0, 2, dtype=torch.int64), 0), lambda: Graph.union([]),
        lambda: Graph.nearest(torch.randn(4, 3), 4), lambda: GraphEncoder((3,)),
        lambda: Graph.of_mesh(torch.tensor([[0, 1]])),
        lambda: GraphEncoder((3, 2))(torch.randn(4, 3), random_graph(5, 1.0)),
        lambda: drop_edges(random_graph(5, 1.0), 1.2, generator=source()),
        lambda: drop_edges(random_graph(5, 1.0), torch.ones(3), generator=source()),
        lambda: drop_edges(
            random_graph(5, 1.0), 0.5, generator=source(), budget=torch.full((5,), -1)
        ),
        lambda: modularity(random_graph(5, 1.0), torch.zeros(4, dtype=torch.int64)),
        lambda: community_mask_probabilities(torch.ones(3, 2), torch.ones(3), mean=1.0),
    ],
)  # fmt: skip
def test_refusals(call):
    with pytest.raises(WRONG):
        call()
