"""Later stages learn what the first one passed over.

Hypothesis: where a color tells most objects apart, a network trained to do so hardly looks at
shapes; one that meets only objects which the first found alike must. Cells of other objects hold
all colors, and the later stages learn what the first did.

A first trial of 100 steps with half the width gained 0.002 ± 0.013 (accuracy 0.20 in both arms):
too short to learn shapes at all, hence 300 steps and a wider network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.mechanisms.experiment import Arm, Condition, Experiment, Numbers
from benchmarks.mechanisms.shapes import Shapes, shapes, view
from benchmarks.mechanisms.training import CloudEncoder, Run, batch, fresh, knn_accuracy, train
from equivariant.losses import k_means, preset
from equivariant.training import StagedModel, composed

BATCH, TAU, CLUSTERS, STAGES, DIM = 48, 0.1, 8, 2, 16
NOISE, STRENGTH = 0.1, 3.0  # of the color's noise, and of its numbers beside coordinates


def experiment() -> Experiment:
    return Experiment(
        name="stages_of_learning",
        title="MCL (a second stage within the first one's clusters) against two networks",
        planted="one of eight colors for each object, easier than its shape",
        control="cells of other objects",
        metric="knn_accuracy",
        higher=True,
        steps=300,
        measure=measure,
        shared_baseline=True,
    )


class Colored(nn.Module):
    """An encoder of clouds, to whose features a color is added."""

    def __init__(self) -> None:
        super().__init__()
        self.clouds, self.color = CloudEncoder(DIM), nn.Linear(3, DIM)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.clouds(x[:, 1:]) + self.color(STRENGTH * x[:, 0])
        return z


def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
    objects, held_out = shapes(run.seed)
    source = torch.Generator().manual_seed(run.seed)
    colors, others = (
        torch.randint(2, (len(side), 3), generator=source).float() for side in (objects, held_out)
    )
    networks = fresh(run, *[Colored] * STAGES)
    draws = run.generator()
    cell = torch.zeros(len(objects), dtype=torch.int64)
    loss_of_views = preset("nt_xent", tau=TAU).build()
    for network in networks:
        cells = [c for c in split(cell) if len(c) > 1]

        def loss(network: nn.Module = network, cells: list[Tensor] = cells) -> Tensor:
            sizes = torch.tensor([float(len(c)) for c in cells])
            chosen = cells[int(torch.multinomial(sizes, 1, generator=draws))]
            rows = chosen[batch(len(chosen), min(BATCH, len(chosen)), draws)]
            a, b = (network(colored(objects[rows], colors[rows], draws)) for _ in range(2))
            return loss_of_views(a, b).total

        train([network], loss, run)
        if arm == "mechanism":
            with torch.no_grad():
                z = nn.functional.normalize(network(colored(objects, colors, draws)), dim=1)
            found = k_means(z, CLUSTERS, generator=source)
            if condition == "control":
                found = found[torch.randperm(len(found), generator=source)]
            cell = composed(cell, found)
    model = StagedModel(networks)
    with torch.no_grad():
        x, y = (model(colored(*pair, draws)) for pair in ((objects, colors), (held_out, others)))
    result = {"knn_accuracy": knn_accuracy(x, objects.label, y, held_out.label)}
    for stage, pair in enumerate(zip(x.split(DIM, 1), y.split(DIM, 1), strict=True)):
        result[f"stage_{stage}"] = knn_accuracy(pair[0], objects.label, pair[1], held_out.label)
    return result


def split(cell: Tensor) -> list[Tensor]:
    """Rows of each cell."""
    return [(cell == c).nonzero().squeeze(1) for c in cell.unique().tolist()]


def colored(side: Shapes, colors: Tensor, draws: torch.Generator) -> Tensor:
    """Views, and before their points the objects' colors with noise."""
    seen = colors + NOISE * torch.randn(colors.shape, generator=draws)
    return torch.cat([seen[:, None], view(side.surface, draws)], 1)
