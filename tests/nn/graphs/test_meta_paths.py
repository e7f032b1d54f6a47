"""Meta-paths against an enumeration of their instances."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.nn import Graph, MetaPath, MetaPathEncoder, Relation, mesh_relations

FACES = torch.tensor([[0, 1, 2], [2, 1, 3], [3, 4, 2]])


def partners(relation, node):
    return [t for s, t in zip(relation.source.tolist(), relation.target.tolist(), strict=True)
            if s == node]  # fmt: skip


def context(relations, features, node):
    """Mean over partners of their features and of what follows, by recursion."""
    first, *rest = relations
    if not rest:
        return 0.0
    near = partners(first, node)
    if not near:
        return torch.zeros(2)
    return sum(features[first.to][m] + context(rest, features, m) for m in near) / len(near)


def ends(relations, node):
    reached = {node}
    for relation in relations:
        reached = {other for n in reached for other in partners(relation, n)}
    return reached


def test_views_by_enumeration():
    edge, face = mesh_relations(FACES, 6)
    assert torch.equal(
        torch.stack([partners_of(edge, e) for e in range(7)]), Graph.of_mesh(FACES, 6).edges
    )
    # faces reached over the edges of a vertex, and back
    over = Relation(*edge_faces(), "edge", "face", (7, 3))
    long = MetaPath((edge, over, face.reversed()))
    features = {name: torch.randn(n, 2) for name, n in (("edge", 7), ("face", 3), ("vertex", 6))}
    for path in (MetaPath.there_and_back(edge), MetaPath.there_and_back(face), long):
        expected = {
            tuple(sorted((i, j))) for i in range(6) for j in ends(path.relations, i) if i != j
        }
        assert set(map(tuple, path.graph().edges.tolist())) == expected
        seen = path.contexts(features)
        for node in range(6):
            right = context(path.relations, features, node)
            torch.testing.assert_close(seen[node], right)
    twin = MetaPath.there_and_back(edge).contexts(features)  # another kind in between
    assert (twin - MetaPath.there_and_back(face).contexts(features)).abs().max() > 0.1


def partners_of(edge, number):
    return edge.source[edge.target == number].sort().values


def edge_faces():
    edges = Graph.of_mesh(FACES, 6).edges.tolist()
    pairs = [
        (e, f) for e, ends in enumerate(edges) for f, face in enumerate(FACES.tolist())
        if set(ends) <= set(face)
    ]  # fmt: skip
    return torch.tensor(pairs).T


def test_encoder_chooses_among_paths():
    edge, face = mesh_relations(FACES)
    paths = [MetaPath.there_and_back(edge), MetaPath.there_and_back(face)]
    torch.manual_seed(0)
    encoder = MetaPathEncoder({"edge": 2, "face": 3}, 4)
    features = {"edge": torch.randn(7, 2), "face": torch.randn(3, 3)}
    z = encoder(features, paths)
    mapped = {kind: encoder.maps[kind](x) for kind, x in features.items()}
    each = [path.contexts(mapped).tanh() for path in paths]
    share = torch.stack([encoder.score(c).mean() for c in each]).softmax(0)
    torch.testing.assert_close(z, share[0] * each[0] + share[1] * each[1])
    torch.testing.assert_close(encoder(features, paths[:1]), each[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: MetaPath(()), lambda: MetaPath((mesh_relations(FACES)[0],)),
        lambda: MetaPath((mesh_relations(FACES)[0], mesh_relations(FACES)[1].reversed())),
        lambda: MetaPath.there_and_back(mesh_relations(FACES)[0]).contexts({}),
        lambda: Relation(torch.tensor([3]), torch.tensor([0]), "a", "b", (2, 2)),
        lambda: Relation(torch.tensor([0, 1]), torch.tensor([0]), "a", "b", (2, 2)),
        lambda: MetaPathEncoder({"edge": 0}, 4),
    ],
)  # fmt: skip
def test_refusals(call):
    with pytest.raises((EquivariantError, TypeCheckError)):
        call()
