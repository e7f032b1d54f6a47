"""A temperature for each object where some kinds are seen often and others hardly ever.

Hypothesis: an object of a frequent kind has many negatives that are like it and should not be
pushed hard, one of a rare kind has none; temperatures that are learned (iSogCLR, for each object)
or predicted (TempNet, from its embedding) rise for the frequent kinds, keep them together, and all
kinds are told better than at one temperature. Where all kinds are equally frequent there is less
to choose, and one temperature does as well.

The baseline is the same loss at one temperature, near the mean that the others end at. ρ is 0.3: at
the published 6 no batch of 64 (126 negatives, log 126 = 4.8) has a temperature of that divergence,
and of a larger ρ than about 1 objects of frequent kinds get the *lower* temperatures.

A first trial, in which kinds had 32 to 2 objects in even steps, gained 0.009 ± 0.006 (iSogCLR) and
0.004 ± 0.012 (TempNet). Too weak a structure: temperatures did not follow how frequent a kind is
(rank correlation -0.52 to 0.55 over seeds), since kinds differ by as much in how like others they
are. Hence two sorts of kinds instead of steps; a batch holds about 15 objects of each frequent one.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Literal

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import Shapes, shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, fresh, knn_accuracy, train
from equivariant.losses import Loss, Side, preset

Kind = Literal["isogclr", "tempnet"]
BATCH, DIM, WIDTH, START = 64, 32, 16, 0.4
LOW, HIGH, RHO, RATE = 0.05, 1.0, 0.3, 0.01
FREQUENT, FEWEST = 3, 3  # kinds of which all objects are seen, and objects of the others
TITLES: dict[Kind, str] = {
    "isogclr": "iSogCLR (a temperature of each object) against one temperature",
    "tempnet": "TempNet (temperatures from embeddings) against one temperature",
}


def experiments() -> tuple[Experiment, ...]:
    return tuple(
        Experiment(
            name=f"long_tail_{kind}",
            title=title,
            planted="three kinds of 32 objects, thirteen of 3",
            control="as many objects, all kinds alike",
            metric="knn_accuracy",
            higher=True,
            steps=150,
            measure=partial(measure, kind),
        )
        for kind, title in TITLES.items()
    )


def measure(kind: Kind, condition: Condition, arm: Arm, run: Run) -> Numbers:
    return dict(trained(None if arm == "baseline" else kind, condition, run))


@lru_cache(maxsize=64)
def trained(kind: Kind | None, condition: Condition, run: Run) -> tuple[tuple[str, float], ...]:
    """Train with one temperature, which is the baseline of both, or with many."""
    every, held_out = shapes(run.seed)
    objects, often = seen(every, condition, run.seed)
    encoder, loss_of = fresh(
        run, lambda: CloudEncoder(DIM, WIDTH), lambda: objective(kind, len(objects))
    )
    assert isinstance(encoder, CloudEncoder)
    draws = run.generator()

    def loss() -> Tensor:
        rows = torch.randperm(len(objects), generator=draws)[:BATCH]
        surface = objects.surface[rows]
        a, b = encoder(torch.cat([view(surface, draws), view(surface, draws)])).chunk(2)
        total: Tensor = loss_of(a=Side.of(a, sample=rows), b=b).total
        return total

    train([encoder, loss_of], loss, run)
    with torch.no_grad():
        x, y = (encoder.body(view(side.surface, draws)) for side in (every, held_out))
        tau = temperatures(kind, loss_of, encoder(view(objects.surface, draws)))
    rare = often[held_out.label] <= often.median()
    numbers = {
        "knn_accuracy": knn_accuracy(x, every.label, y, held_out.label),
        "knn_accuracy_of_rare_kinds": knn_accuracy(x, every.label, y[rare], held_out.label[rare]),
        "mean_temperature": float(tau.mean()),
        "temperature_with_frequency": 0.0,
    }
    if kind is not None and len(often.unique()) > 1:
        found = spearmanr(tau.numpy(), often[objects.label].numpy()).statistic
        numbers["temperature_with_frequency"] = float(found)
    return tuple(numbers.items())


def objective(kind: Kind | None, samples: int) -> nn.Module:
    """The loss of one or many temperatures."""
    if kind == "tempnet":
        return preset("tempnet", dim=DIM, prototypes=64, rho=RHO, low=LOW, high=HIGH).build()
    low, high = (START, START) if kind is None else (LOW, HIGH)
    return preset(
        "isogclr", samples=samples, rho=RHO, start=START, low=low, high=high, rate=RATE
    ).build()


def temperatures(kind: Kind | None, loss: nn.Module, z: Tensor) -> Tensor:
    """τ of each training object after training."""
    assert isinstance(loss, Loss)
    state = next(m for m in loss.modules() if hasattr(m, "rho"))
    tau: Tensor = state.temperature(z) if kind == "tempnet" else state.tau.mean(0)  # type: ignore[operator, union-attr]
    return tau


def seen(every: Shapes, condition: Condition, seed: int) -> tuple[Shapes, Tensor]:
    """Objects to train on, and how many of each kind there are; which kinds are rare is drawn."""
    draws = torch.Generator().manual_seed(seed)
    classes, most = every.classes, int(every.label.bincount().max())
    often = torch.full((classes,), FEWEST)
    often[:FREQUENT] = most
    often = often[torch.randperm(classes, generator=draws)]
    if condition == "control":
        often = torch.full_like(often, round(float(often.sum()) / classes))
    kept = [(every.label == c).nonzero()[:, 0][: int(often[c])] for c in range(classes)]
    return every[torch.cat(kept)], often
