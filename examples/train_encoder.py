"""Train your own encoder on pairs of views with the package's loop: log, checkpoint, resume.

    python examples/train_encoder.py [FOLDER]

renders trucks that turn on the spot, trains in two parts, as if interrupted between them, and
prints the error of the action on trucks that were held out: before, between and after.
"""

import sys
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import nn

from datasets3d import BuildConfig, ElementConvention, ProceduralMeshes, ThreeDIEBench

from datasets3d import TransformPairs, ViewLaw, build  # isort: skip
from equivariant.actions import Trivial, Vectors
from equivariant.groups import SO3
from equivariant.losses import Objective, preset
from equivariant.measure import pair_error
from equivariant.runs import RunFolder
from equivariant.training import FitConfig, PairLearner, fit


def encoder() -> nn.Module:
    """Yours: here four convolutions, 32 invariant numbers and 16 vectors."""
    widths = pairwise([3, 16, 32, 64, 64])
    layers = [nn.Sequential(nn.Conv2d(*two, 3, stride=2, padding=1), nn.ReLU()) for two in widths]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 80))  # of pictures of 32 x 32


def main(folder: Path, *, steps: int = 400, trucks: int = 40) -> list[float]:
    meshes = ProceduralMeshes(instances=trucks, classes=["truck"], val_fraction=0.2)
    law = ViewLaw("vertical", field_of_view_rad=0.4, floor_hue=(0.0, 0.0), spot_hue=(0.0, 0.0))
    build(meshes, folder, config=BuildConfig(views=12, size_px=32, law=law), progress=False)
    options = {"convention": ElementConvention(frame="world"), "pairs_per_object": 8}
    splits = ThreeDIEBench(folder, "train"), ThreeDIEBench(folder, "val")
    pairs, unseen = (TransformPairs(split, **options) for split in splits)
    batch = next(unseen.stream(unseen.pairs_per_epoch))
    action = Trivial(32) + Vectors(SO3(), channels=16)  # what each number does when g turns

    @torch.no_grad()
    def error(model: nn.Module) -> float:
        return pair_error(action, model(batch.a), model(batch.b), batch.g).relative.mean().item()

    torch.manual_seed(0)
    errors, run = [error(encoder())], RunFolder.create(folder / "runs", "mine", config={})
    for end in (steps // 2, steps):  # the second part starts from what the folder has
        learner = PairLearner(encoder(), Objective(preset("exact").plan, action))
        fit(learner, pairs, FitConfig(end, batch_size=32), run=run, progress=False)
        errors.append(error(learner.model))
    return errors


if __name__ == "__main__":
    found = main(Path(sys.argv[1] if len(sys.argv) > 1 else mkdtemp()))
    print("relative error on unseen trucks:", *(f"{error:.2f}" for error in found))
