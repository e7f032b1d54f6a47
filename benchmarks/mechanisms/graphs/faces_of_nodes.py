"""What meta-paths join, against what they pass through.

Hypothesis: vertices know their object, which two views of one graph agree on; faces know the kind
alone, so the coarse view of vertices, contrasted with the fine one through faces, keeps the
kind. Faces that know the kind of another object leave nothing in common.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.graphs.node_scene import (
    DIM,
    encoder_and_head,
    node_accuracy,
    node_scene,
    train_nodes,
)
from benchmarks.mechanisms.training import Run, fresh
from equivariant.losses import preset
from equivariant.nn import (
    Graph,
    MetaPath,
    MetaPathEncoder,
    Relation,
    drop_edges,
    mask_features,
)
from equivariant.training import NodeContrastLearner

TAU, NOISE, NUISANCE = 0.4, 1.0, 2.0


def experiment() -> Experiment:
    return Experiment(
        name="faces_of_nodes",
        title="MEOW's coarse and fine views (meta-paths) against two views of one graph",
        planted="triangles know the kind of their object, vertices that and much else of it",
        control="the triangles of other objects",
        metric="node_accuracy",
        higher=True,
        steps=150,
        measure=measure,
        shared_baseline=True,
    )


class FineView(nn.Module):
    """What paths through edges and through triangles pass, without arguments."""

    def __init__(self, features: dict[str, Tensor], paths: list[MetaPath]) -> None:
        super().__init__()
        self.features, self.paths = features, paths
        self.encoder = MetaPathEncoder({kind: x.shape[1] for kind, x in features.items()}, DIM)

    def forward(self) -> Tensor:
        z: Tensor = self.encoder(self.features, self.paths)
        return z


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    scene, draws = node_scene(run.seed), torch.Generator().manual_seed(run.seed)
    objects = int(scene.owner.max()) + 1
    apart = NUISANCE * torch.randn(objects, DIM, generator=draws)[scene.owner]
    noise = NOISE * torch.randn(scene.code.shape, generator=draws)
    x = torch.cat([scene.code + noise, apart + noise.flip(0)], 1)
    triangles = closed_triples(scene.graph)
    of_faces = codes_of_kinds(scene.code, scene.label)[triangles[:, 0]]
    if condition == "control":
        of_faces = of_faces[torch.randperm(len(of_faces), generator=draws)]
    of_faces = of_faces + NOISE * torch.randn(of_faces.shape, generator=draws)
    member = torch.arange(len(triangles))[:, None].expand_as(triangles).flatten()
    sizes = scene.graph.nodes, len(triangles)
    path = MetaPath.there_and_back(
        Relation(triangles.flatten(), member, "vertex", "triangle", sizes)
    )
    (fine,) = fresh(run, lambda: FineView({"triangle": of_faces}, [path]))
    coarse = path.graph()
    encoder, head = encoder_and_head(run, x.shape[1])
    loss = preset("nt_xent", tau=TAU).build()
    other = fine if arm == "mechanism" else None
    learner = NodeContrastLearner(encoder, coarse, x, loss, view=view, head=head, other=other)
    train_nodes(learner, coarse.nodes, run)
    with torch.no_grad():
        z = encoder(x, coarse)
    return {"node_accuracy": node_accuracy(z, scene)}


def view(graph: Graph, x: Tensor, *, generator: torch.Generator) -> tuple[Graph, Tensor]:
    """Some edges and columns left out."""
    fewer = drop_edges(graph, 0.3, generator=generator)
    return fewer, mask_features(x, 0.2, generator=generator)


def codes_of_kinds(code: Tensor, label: Tensor) -> Tensor:
    """The mean code of each node's kind."""
    kinds = int(label.max()) + 1
    sums = torch.zeros(kinds, code.shape[1]).index_add(0, label, code)
    return (sums / label.bincount(minlength=kinds)[:, None])[label]


def closed_triples(graph: Graph) -> Tensor:
    """Triples of nodes with all three edges, ascending, shape (T, 3)."""
    near = [set[int]() for _ in range(graph.nodes)]
    for a, b in graph.edges.tolist():
        near[a].add(b)  # larger numbers only
    found = [(a, b, c) for a, b in graph.edges.tolist() for c in sorted(near[a] & near[b])]
    return torch.tensor(found).reshape(-1, 3)
