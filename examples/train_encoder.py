"""Train your own encoder on pairs of views with the package's loop: log, checkpoint, resume.

    python examples/train_encoder.py RUNS

``fit`` on the folder of an interrupted run goes on with it, bit for bit.
"""

import sys
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import nn

from datasets3d import BuildConfig, ElementConvention, ProceduralMeshes, ThreeDIEBench

from datasets3d import TransformPairs, build  # isort: skip
from equivariant.actions import Trivial, Vectors
from equivariant.groups import SO3
from equivariant.losses import Objective, preset
from equivariant.measure import pair_error
from equivariant.runs import RunFolder
from equivariant.training import FitConfig, PairLearner, fit


def encoder() -> nn.Module:
    """Yours: here four convolutions, 32 invariant numbers and 16 vectors."""
    layers: list[nn.Module] = []
    for before, after in pairwise([3, 16, 32, 64, 64]):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 80))


def main(folder: Path, *, steps: int = 200, batch_size: int = 20) -> tuple[float, float]:
    meshes = ProceduralMeshes(instances=6, classes=["truck", "teapot", "chair", "lamp"])
    build(meshes, folder / "data", config=BuildConfig(views=8, size_px=48), progress=False)
    data = ThreeDIEBench(folder / "data")
    pairs = TransformPairs(data, convention=ElementConvention(frame="world"))

    torch.manual_seed(0)
    action = Trivial(32) + Vectors(SO3(), channels=16)  # what each number does when g turns
    learner = PairLearner(encoder(), Objective(preset("exact").plan, action))
    config = FitConfig(steps=steps, batch_size=batch_size)
    batch = next(pairs.stream(20))

    def error() -> float:
        with torch.no_grad():
            z_a, z_b = learner.model(batch.a), learner.model(batch.b)
        return pair_error(action, z_a, z_b, batch.g).relative.mean().item()

    before = error()
    fit(learner, pairs, config, run=RunFolder.create(folder / "runs", "mine", config={}))
    return before, error()


if __name__ == "__main__":
    before, after = main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(mkdtemp()))
    print(f"error of the action before {before:.2f}, after {after:.2f}")
