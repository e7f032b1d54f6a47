"""Many objects in one graph of neighbouring points, and what nodes are probed for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.shapes import Shapes, resample, shapes
from benchmarks.mechanisms.training import Run, batch, fresh, linear_accuracy, perceptron, train
from equivariant.nn import Graph, GraphEncoder
from equivariant.training import NodeContrastLearner

KINDS, TRAIN, HELD_OUT = 8, 6, 4  # objects of each kind
POINTS, NEIGHBORS = 24, 3
DIM, WIDTH, BATCH = 16, 32, 256


@dataclass(frozen=True, eq=False)
class NodeScene:
    """Points of many objects.

    Args:
        graph: Nearest points of the same object.
        code: What the depth map of a point's object says of it, shape (nodes, DIM).
        label: Kind of a point's object, shape (nodes,).
        owner: Number of a point's object, shape (nodes,).
        held_out: Which points are of held-out objects, shape (nodes,), bool.
    """

    graph: Graph
    code: Tensor
    label: Tensor
    owner: Tensor
    held_out: Tensor


@lru_cache(maxsize=4)
def node_scene(seed: int) -> NodeScene:
    """The scene of a seed."""
    draws = torch.Generator().manual_seed(seed)
    train_set, test_set = shapes(seed, KINDS)
    chosen = _some(train_set, TRAIN), _some(test_set, HELD_OUT)
    clouds = resample(torch.cat([side.surface for side in chosen]), draws, POINTS)
    depth = torch.cat([side.depth for side in chosen])
    code = (depth - depth.mean(0)) @ torch.randn(depth.shape[1], DIM, generator=draws)
    code = code / code.std()
    owner = torch.arange(len(clouds)).repeat_interleave(POINTS)
    return NodeScene(
        Graph.union([Graph.nearest(cloud, NEIGHBORS) for cloud in clouds]),
        code[owner],
        torch.cat([side.label for side in chosen])[owner],
        owner,
        owner >= len(chosen[0]),
    )


def _some(side: Shapes, each: int) -> Shapes:
    """The first objects of each kind."""
    kinds = range(side.classes)
    return side[torch.cat([(side.label == c).nonzero().squeeze(1)[:each] for c in kinds])]


def encoder_and_head(run: Run, width: int = DIM) -> tuple[GraphEncoder, nn.Module]:
    """An encoder of two layers and a head for the space in which a loss compares."""
    encoder, head = fresh(
        run, lambda: GraphEncoder((width, WIDTH, DIM)), lambda: perceptron(DIM, WIDTH, DIM)
    )
    assert isinstance(encoder, GraphEncoder)
    return encoder, head


def train_nodes(learner: NodeContrastLearner, nodes: int, run: Run) -> None:
    """Train on batches of nodes, drawing views from a generator of the seed."""
    draws = learner.generator = run.generator()

    def loss() -> Tensor:
        total: Tensor = learner(row=batch(nodes, min(BATCH, nodes), draws))[0]
        return total

    train([learner], loss, run)


def node_accuracy(z: Tensor, scene: NodeScene) -> float:
    """Linear accuracy for kinds on the nodes of held-out objects."""
    known = ~scene.held_out
    return linear_accuracy(
        z[known], scene.label[known], z[scene.held_out], scene.label[scene.held_out]
    )
