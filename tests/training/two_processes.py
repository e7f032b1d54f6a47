"""A tiny experiment for the tests of ``fit``; as a script it trains under any launcher."""

from __future__ import annotations

import atexit
import json
import os
import sys
from pathlib import Path

import torch

from equivariant.actions import Trivial
from equivariant.groups import SO3
from equivariant.losses import Objective, preset
from equivariant.nn import Hypernetwork
from equivariant.pairs import PairBatch
from equivariant.runs import RunFolder
from equivariant.training import FitConfig, PairLearner, fit


class Stream:
    """Vectors whose batch is a function of the step alone."""

    def stream(self, batch_size, *, start=0, rank=0, world=1):
        step = start
        share = slice(rank * batch_size // world, (rank + 1) * batch_size // world)
        while True:
            generator = torch.Generator().manual_seed(step)
            a, b = torch.randn(2, batch_size, 3, generator=generator).double()
            g = SO3().sample(batch_size, generator=generator)
            yield PairBatch(a, b, g)[share]
            step += 1


def make_learner(*, batch_norm, width=6, seed=0):
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(3, width), torch.nn.ReLU(), torch.nn.Linear(width, 8)]
    if batch_norm:
        layers.insert(1, torch.nn.BatchNorm1d(width))
    action = Trivial(4) + Hypernetwork(SO3(), 4, "matrix", gain=1.0)
    learner = PairLearner(torch.nn.Sequential(*layers), Objective(preset("sie").plan, action))
    return learner.double()


def left() -> None:
    """Called last of what is called at exit: the processes have left each other by then."""
    if torch.distributed.is_initialized():
        os._exit(3)


def main() -> None:
    atexit.register(left)
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(exist_ok=True)
    config = FitConfig(steps=4, batch_size=8, accelerator="cpu", devices=devices)
    learner = fit(
        make_learner(batch_norm=False), Stream(), config, run=RunFolder(folder), progress=False
    )
    weights = {name: value.tolist() for name, value in learner.state_dict().items()}
    (folder / "weights.json").write_text(json.dumps(weights))


if __name__ == "__main__":
    main()
