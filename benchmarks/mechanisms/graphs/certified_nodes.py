"""Margins that no left-out edges undo.

Hypothesis: a margin that is asked for whatever edges are left out is certain for more nodes than
one that is asked for on the whole graph. Where no edge may go the two are the same question, and
there is nothing to gain.

What is measured is what the mechanism trains. Against NT-Xent alone, on a seed that is not among
the reported ones, the margin raised accuracy with missing edges and without any, which would not
have told what the bound adds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.graphs.node_scene import (
    encoder_and_head,
    node_accuracy,
    node_scene,
    train_nodes,
)
from benchmarks.mechanisms.training import Run
from equivariant.losses import preset
from equivariant.nn import (
    Graph,
    certified_margin,
    drop_edges,
    margin_directions,
    mask_features,
)
from equivariant.training import NodeContrastLearner

TAU, NOISE, BUDGET, SHARE = 0.4, 1.0, 2, 0.5


def experiment() -> Experiment:
    return Experiment(
        name="certified_nodes",
        title="POT (certified margin beside NT-Xent, κ 0.5) against the same margin, uncertified",
        planted="every node may lose two edges: the share of nodes whose margin stays above 0",
        control="no edge may go",
        metric="certified_share",
        higher=True,
        steps=150,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    scene, draws = node_scene(run.seed), torch.Generator().manual_seed(run.seed)
    x = scene.code + NOISE * torch.randn(scene.code.shape, generator=draws)
    encoder, head = encoder_and_head(run)
    budget = torch.full((scene.graph.nodes,), BUDGET if condition == "planted" else 0)
    asked = budget if arm == "mechanism" else 0 * budget
    learner = NodeContrastLearner(
        encoder, scene.graph, x, preset("nt_xent", tau=TAU).build(), view=view, head=head,
        certificate=0.5, budget=asked,
    )  # fmt: skip
    train_nodes(learner, scene.graph.nodes, run)
    fewer = drop_edges(scene.graph, 1.0, generator=draws, budget=budget)
    with torch.no_grad():
        z, moved = encoder(x, scene.graph), encoder(x, fewer)
        bound = certified_margin(encoder, x, scene.graph, margin_directions(z), budget=budget)
    shown = torch.where(scene.held_out[:, None], moved, z)  # the probe learns on whole graphs
    return {
        "certified_share": float((bound > 0).float().mean()),
        "node_accuracy": node_accuracy(z, scene),
        "accuracy_without_edges": node_accuracy(shown, scene),
    }


def view(graph: Graph, x: Tensor, *, generator: torch.Generator) -> tuple[Graph, Tensor]:
    """Some edges and columns left out."""
    fewer = drop_edges(graph, SHARE, generator=generator)
    return fewer, mask_features(x, 0.2, generator=generator)
