"""What keeps a space open: uniformity, or variance and covariance, beside alignment.

Hypothesis: alignment alone lets all objects fall together, and kinds with them; a term on the
whole space prevents it. Where a contrast with other objects keeps the space open already (NT-Xent
in both arms), the same term must not help.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import Loss, preset

BATCH, TAU = 64, 0.1
Term = Literal["align_uniform", "vicreg"]


def experiments() -> tuple[Experiment, ...]:
    titles = {
        "align_uniform": "Uniformity with alignment against alignment alone",
        "vicreg": "VICReg against its alignment alone",
    }
    return tuple(
        Experiment(
            name=name,
            title=title,
            planted="nothing but the term keeps objects apart",
            control="NT-Xent in both arms keeps them apart",
            metric="knn_accuracy",
            higher=True,
            steps=200,
            measure=partial(measure, name),
        )
        for name, title in titles.items()
    )


def objective(name: Term, arm: Arm) -> Loss:
    """The preset, or its alignment only."""
    off = {"align_uniform": {"weight": 0.0}, "vicreg": {"std": 0.0, "cov": 0.0}}[name]
    return preset(name, **(off if arm == "baseline" else {})).build()


def measure(name: Term, condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    (encoder,) = fresh(run, CloudEncoder)
    draws = run.generator()
    term, apart = objective(name, arm), preset("nt_xent", tau=TAU).build()

    def loss() -> torch.Tensor:
        surface = objects.surface[batch(len(objects), BATCH, draws)]
        a, b = encoder(torch.cat([view(surface, draws), view(surface, draws)])).chunk(2)
        moved = {"moved": a} if name == "vicreg" else {}
        value = term(a=a, b=b, **moved).total
        return value if condition == "planted" else value + apart(a=a, b=b).total

    train([encoder], loss, run)
    with torch.no_grad():
        x, y = (encoder.body(view(side.surface, draws)) for side in (objects, held_out))
    return {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}
