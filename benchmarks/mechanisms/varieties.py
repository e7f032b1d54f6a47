"""Supervised contrast for families whose members are nearly alike: before classification, or in it.

Each kind of object comes in four varieties, tapered up or down and bulged out or in, of which few
examples are known. Hypothesis: a loss that compares embeddings by the varieties' labels, as
pre-training for half of the steps or as a term beside cross-entropy, separates what differs little
and is confused by cross-entropy alone. Where the four names are drawn within a kind they name
nothing that can be seen, and the same loss must not help.

The objectives that are compared, and both uses, are the question of a study of regional varieties
of speech (2024); that it is asked of shapes is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import Shapes, shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, train
from equivariant.losses import Side, preset

Use = Literal["pretraining", "term"]
KINDS, VARIETIES, BATCH, WIDTH, DIM, WEIGHT, DEFORMATION = 8, 4, 64, 16, 32, 1.0, 0.25
OBJECTIVES = {
    "supcon_out": "SupCon (outer sum)",
    "supcon_in": "SupCon (inner sum)",
    "triplet": "Triplets",
}


def experiments() -> tuple[Experiment, ...]:
    uses: dict[Use, str] = {
        "pretraining": "{} for half of the steps, then cross-entropy, against cross-entropy alone",
        "term": "{} beside cross-entropy against cross-entropy alone",
    }
    return tuple(
        Experiment(
            name=f"varieties_{use}_{objective}",
            title=title.format(called),
            planted="four varieties of every kind, tapered and bulged, 8 examples of each",
            control="the names of varieties are drawn within each kind",
            metric="accuracy",
            higher=True,
            steps=300,
            measure=partial(measure, objective, use),
        )
        for objective, called in OBJECTIVES.items()
        for use, title in uses.items()
    )


def measure(objective: str, use: Use, condition: Condition, arm: Arm, run: Run) -> Numbers:
    if arm == "baseline":
        return dict(without(condition, run))
    return trained(condition, run, objective, use)


@lru_cache(maxsize=64)
def without(condition: Condition, run: Run) -> tuple[tuple[str, float], ...]:
    """Cross-entropy alone, which is the baseline of every objective and use."""
    return tuple(trained(condition, run, None, "term").items())


def trained(condition: Condition, run: Run, objective: str | None, use: Use) -> Numbers:
    """Train with an objective beside or before cross-entropy, or without one."""
    known, asked = families(run.seed, condition)
    encoder, classifier = fresh(
        run, lambda: CloudEncoder(DIM, WIDTH), lambda: nn.Linear(4 * WIDTH, KINDS * VARIETIES)
    )
    assert isinstance(encoder, CloudEncoder)
    draws = run.generator()
    compared = None if objective is None else preset(objective).build()

    def step(told: float, contrasted: float) -> Callable[[], Tensor]:
        def loss() -> Tensor:
            rows = batch(len(known), BATCH, draws)
            surface, label = known.surface[rows], known.label[rows]
            y = encoder.body(torch.cat([view(surface, draws), view(surface, draws)]))
            total = told * nn.functional.cross_entropy(classifier(y), label.repeat(2))
            if compared is not None and contrasted:
                a, b = encoder.head(y).chunk(2)
                value = compared(a=Side.of(a, label=label), b=Side.of(b, label=label)).total
                total = total + contrasted * value
            return total

        return loss

    modules = [encoder, classifier]
    if compared is None or use == "term":
        train(modules, step(1.0, WEIGHT), run)
    else:
        half = replace(run, steps=run.steps // 2)
        train([encoder], step(0.0, 1.0), half)
        train(modules, step(1.0, 0.0), half)
    with torch.no_grad():
        found = classifier(encoder.body(view(asked.surface, draws))).argmax(1)
    return scores(found, asked.label)


def scores(found: Tensor, label: Tensor) -> Numbers:
    """Accuracy for varieties, for their kinds, and the share that is of the kind, but not it."""
    kind = (found // VARIETIES == label // VARIETIES).float().mean()
    accuracy = (found == label).float().mean()
    return {
        "accuracy": float(accuracy),
        "kind_accuracy": float(kind),
        "confused_within_kind": float(kind - accuracy),
    }


def families(seed: int, condition: Condition) -> tuple[Shapes, Shapes]:
    """Training and held-out objects, each deformed into a variety of its kind.

    Labels are VARIETIES · kind + variety; every variety has as many objects. In the control they
    name other varieties of the kind, drawn.
    """
    draws = torch.Generator().manual_seed(seed)
    sides = []
    for side in shapes(seed, KINDS):
        each = len(side) // KINDS
        variety = torch.arange(each).remainder(VARIETIES).repeat(KINDS)
        # objects of a kind stand together: row i of every kind is of variety i mod VARIETIES
        order = side.label.argsort(stable=True)
        sorted_side = side[order]
        named = variety
        if condition == "control":
            named = torch.cat([
                variety[:each][torch.randperm(each, generator=draws)] for _ in range(KINDS)
            ])  # fmt: skip
        label = VARIETIES * sorted_side.label + named
        sides.append(Shapes(deformed(sorted_side.surface, variety), label, sorted_side.depth))
    return sides[0], sides[1]


def deformed(surface: Tensor, variety: Tensor) -> Tensor:
    """Surfaces tapered and bulged: x and y times 1 ± d z and 1 ± d (1 - 2z²).

    Args:
        surface: Shape (objects, points, 3), z in [-1, 1].
        variety: Shape (objects,): bit 0 is the sign of the taper, bit 1 that of the bulge.
    """
    taper, bulge = (
        DEFORMATION * (2.0 * (variety // bit).remainder(2) - 1.0)[:, None, None] for bit in (1, 2)
    )
    z = surface[..., 2:]
    across = surface[..., :2] * (1.0 + taper * z) * (1.0 + bulge * (1.0 - 2.0 * z.square()))
    return torch.cat([across, z], -1)
