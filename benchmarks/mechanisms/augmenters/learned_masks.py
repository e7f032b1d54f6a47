"""The times of a series that tell what it is.

Hypothesis: where a part of a motion tells its kind and the rest is noise, a mask that is trained
to keep what the series shares with its own view, and little else, finds that part; masks drawn at
random hide it half of the time. Where every time tells the kind there is no part to find.

A first trial was unfair in three ways. A series and its masked view had the same noise, which told
series apart as well as their motion did, so that no mask had a reason to drop it; half of the
mechanism's steps were the augmenter's, so that its encoder moved half as often as the baseline's;
and the control was at its ceiling (0.999). In the second trial every motion is recorded twice, the
masked view is of the second recording, both encoders move equally often, and the control has the
planted swing's energy spread over all frames, under the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.training import Run, batch, fresh, knn_accuracy, train
from equivariant.losses import kernel_discrepancy, preset
from equivariant.nn import MaskAndScale
from equivariant.training import AlternatingLearner

KINDS, TIMES, PART, JOINTS, ROWS = 6, 24, 6, 6, 360
BATCH, TAU, DIM, OPEN, SPARSE, EVERY = 64, 0.2, 16, 0.4, 1.0, 2


def experiment() -> Experiment:
    return Experiment(
        name="learned_masks",
        title="AutoTCL (a trained mask over times) against masks drawn at random",
        planted="a quarter of the frames shows the kind of motion, the others noise",
        control="every frame shows it, at a quarter of the energy",
        metric="knn_accuracy",
        higher=True,
        steps=300,
        measure=measure,
    )


class Series(nn.Module):
    """Convolutions over time and their mean."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv1d(JOINTS, 32, 3, padding=1), nn.ReLU(), nn.Conv1d(32, outputs, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """One row for each time."""
        rows: Tensor = self.network(x.transpose(1, 2)).transpose(1, 2)
        return rows


class RandomMask(nn.Module):
    """Half of the times, drawn."""

    def forward(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        return x * (torch.rand(*x.shape[:2], 1, generator=generator) < 0.5)


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    x, again, label, telling = motions(condition, torch.Generator().manual_seed(run.seed))
    known, asked = slice(0, ROWS // 2), slice(ROWS // 2, None)
    encoder, made, drawn = fresh(
        run, lambda: Series(DIM), lambda: MaskAndScale(Series(2)), RandomMask
    )
    draws = run.generator()
    nt_xent = preset("nt_xent", tau=TAU).build()

    def pooled(model: nn.Module, x: Tensor) -> Tensor:
        z: Tensor = model(x).mean(1)
        return z

    def of_model(
        model: nn.Module, made: nn.Module, series: Mapping[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        v = (made if arm == "mechanism" else drawn)(series["again"], generator=generator)
        total: Tensor = nt_xent(pooled(model, series["x"]), pooled(model, v)).total
        return total

    def of_augmenter(
        model: nn.Module, made: nn.Module, series: Mapping[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        v = made(series["again"], generator=generator)
        apart = kernel_discrepancy(pooled(model, series["x"]), pooled(model, v))
        open_share = made.open_probability(series["again"]).mean()  # type: ignore[operator]
        return apart + SPARSE * (open_share - OPEN).relu()

    learner = AlternatingLearner(encoder, made, of_model, augmenter_loss=of_augmenter, every=EVERY)
    learner.generator = draws

    def loss() -> Tensor:
        if arm == "baseline":
            learner.done.zero_()  # always the encoder's turn
        rows = batch(ROWS // 2, BATCH, draws)
        total: Tensor = learner(x=x[rows], again=again[rows])[0]
        return total

    alternate = run.steps * EVERY // (EVERY - 1)  # as many steps of the encoder as the baseline
    train([learner], loss, replace(run, steps=alternate) if arm == "mechanism" else run)
    with torch.no_grad():
        z = pooled(encoder, x)
        p = made.open_probability(x)
    result = {"knn_accuracy": knn_accuracy(z[known], label[known], z[asked], label[asked])}
    result["opened_where_told"] = float(p[telling].mean())
    result["opened_elsewhere"] = float(p[~telling].mean()) if not telling.all() else 0.0
    return result


def motions(condition: Condition, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two recordings (ROWS, TIMES, JOINTS) of swinging joints, kinds, and which frames tell them.

    Recordings of one motion differ in noise alone.
    """
    label = torch.randint(KINDS, (ROWS,), generator=draws)
    amplitude = torch.randn(KINDS, JOINTS, generator=draws)[label]
    time = torch.arange(TIMES)
    phase = torch.rand(ROWS, 1, 1, generator=draws)
    swing = amplitude[:, None] * torch.sin(math.tau * (time[:, None] / 6 + phase))
    start = torch.randint(TIMES - PART + 1, (ROWS, 1), generator=draws)
    telling = (time >= start) & (time < start + PART)
    if condition == "control":
        telling = torch.ones_like(telling)
        swing, noise_there = (PART / TIMES) ** 0.5 * swing, 1.0
    else:
        noise_there = 0.3
    noises = torch.randn(2, ROWS, TIMES, JOINTS, generator=draws)
    first, second = (
        torch.where(telling[:, :, None], swing + noise_there * noise, noise) for noise in noises
    )
    return first, second, label, telling
