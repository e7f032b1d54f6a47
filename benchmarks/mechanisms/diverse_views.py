"""Views chosen by confidence and unlikeness against the most confident ones.

Hypothesis: where confident views are alike, greedy choice takes one object again and again, and
contrastive search takes others. Where every view shows another object there is nothing to gain.
Shuffled embeddings would be no control: any likeness at all spreads the choice over objects.
"""

from __future__ import annotations

import torch

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.redundant_views import radii
from benchmarks.mechanisms.shapes import about_z, posed, shapes
from benchmarks.mechanisms.training import Run
from equivariant.measure import select_diverse

OBJECTS, VIEWS, CHOSEN = 40, 8, 20


def experiment() -> Experiment:
    return Experiment(
        name="diverse_views",
        title="Contrastive search (α 0.6) against greedy choice of 20 views",
        planted="confidence is the object's, with a little noise: confident views are alike",
        control="one view of each object",
        metric="objects_seen",
        higher=True,
        steps=0,
        measure=measure,
    )


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, _ = shapes(run.seed)
    draws = run.generator()
    count, views = (OBJECTS, VIEWS) if condition == "planted" else (OBJECTS * VIEWS, 1)
    picked = torch.randperm(len(objects), generator=draws)[:count]
    owner = picked.repeat_interleave(views)
    clouds = posed(objects.surface[owner], about_z(len(owner), draws), draws)
    z = radii(clouds)
    z = (z - z.mean(0)) / z.std(0)
    quality = torch.rand(len(picked), generator=draws).repeat_interleave(views)
    confidence = quality + 0.02 * torch.randn(len(owner), generator=draws)
    alpha = 0.0 if arm == "baseline" else 0.6
    chosen = select_diverse(confidence, z, CHOSEN, alpha=alpha)
    return {
        "objects_seen": float(len(owner[chosen].unique())),
        "confidence": float(confidence[chosen].mean()),
    }
