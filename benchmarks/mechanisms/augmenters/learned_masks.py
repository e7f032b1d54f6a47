"""The times of a series that tell what it is.

Hypothesis: where a part of a motion tells its kind and the rest is noise, a mask that is trained
to keep what the series shares with its own view, and little else, finds that part; masks drawn at
random hide it half of the time. Where every time tells the kind there is no part to find.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.training import Run, batch, fresh, knn_accuracy, train
from equivariant.losses import kernel_discrepancy, preset
from equivariant.nn import MaskAndScale
from equivariant.training import AlternatingLearner

KINDS, TIMES, PART, JOINTS, ROWS = 6, 24, 6, 6, 360
BATCH, TAU, DIM, OPEN, SPARSE = 64, 0.2, 16, 0.4, 1.0


def experiment() -> Experiment:
    return Experiment(
        name="learned_masks",
        title="AutoTCL (a trained mask over times) against masks drawn at random",
        planted="a quarter of the frames shows the kind of motion, the others noise",
        control="every frame shows it",
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
    x, label, telling = motions(condition, torch.Generator().manual_seed(run.seed))
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
        v = (made if arm == "mechanism" else drawn)(series["x"], generator=generator)
        total: Tensor = nt_xent(pooled(model, series["x"]), pooled(model, v)).total
        return total

    def of_augmenter(
        model: nn.Module, made: nn.Module, series: Mapping[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        v = made(series["x"], generator=generator)
        apart = kernel_discrepancy(pooled(model, series["x"]), pooled(model, v))
        open_share = made.open_probability(series["x"]).mean()  # type: ignore[operator]
        return apart + SPARSE * (open_share - OPEN).relu()

    learner = AlternatingLearner(encoder, made, of_model, augmenter_loss=of_augmenter, every=2)
    learner.generator = draws

    def loss() -> Tensor:
        if arm == "baseline":
            learner.done.zero_()  # always the encoder's turn
        total: Tensor = learner(x=x[batch(ROWS // 2, BATCH, draws)])[0]
        return total

    train([learner], loss, run)
    with torch.no_grad():
        z = pooled(encoder, x)
        p = made.open_probability(x)
    result = {"knn_accuracy": knn_accuracy(z[known], label[known], z[asked], label[asked])}
    result["opened_where_told"] = float(p[telling].mean())
    result["opened_elsewhere"] = float(p[~telling].mean()) if not telling.all() else 0.0
    return result


def motions(condition: Condition, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Series (ROWS, TIMES, JOINTS) of swinging joints, their kinds, and which frames tell them."""
    label = torch.randint(KINDS, (ROWS,), generator=draws)
    amplitude = torch.randn(KINDS, JOINTS, generator=draws)[label]
    time = torch.arange(TIMES)
    phase = torch.rand(ROWS, 1, 1, generator=draws)
    swing = amplitude[:, None] * torch.sin(math.tau * (time[:, None] / 6 + phase))
    start = torch.randint(TIMES - PART + 1, (ROWS, 1), generator=draws)
    telling = (time >= start) & (time < start + PART)
    if condition == "control":
        telling = torch.ones_like(telling)
    noise = torch.randn(ROWS, TIMES, JOINTS, generator=draws)
    return torch.where(telling[:, :, None], swing + 0.3 * noise, noise), label, telling
