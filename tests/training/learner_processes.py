"""Learners that train under any launcher, for the test that several processes train as one."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import normalize
from two_processes import Stream

from equivariant.actions import Trivial
from equivariant.groups import SO3
from equivariant.losses import (
    Pairs,
    Side,
    contrast,
    difficulty,
    k_means,
    preset,
    similarity_divergence,
)
from equivariant.losses.prototypes.centroids import centroids
from equivariant.processes import process_count
from equivariant.runs import RunFolder, write_json
from equivariant.training import (
    AlternatingLearner,
    AveragedTeacherLearner,
    DistillationLearner,
    EpisodeLearner,
    FitConfig,
    HarmonizedLearner,
    RowStream,
    fit,
    leave,
)

X = torch.randn(24, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
STEPS, BATCH = 5, 8


def network(seed, inputs=3, outputs=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, outputs)).double()


class ThreeModalities(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(network(seed) for seed in range(3))

    def forward(self, x, row):
        return {name: part(x) for name, part in zip("abc", self.parts, strict=True)}


def averaged():
    class Predictor(Trivial):
        def __init__(self):
            super().__init__(4)
            self.map = network(7, 4)

        def forward(self, g, z):
            return self.map(z)

    return AveragedTeacherLearner(network(0), Predictor(), SO3(), decay=0.5).double()


def distilled():
    """Divergence and weights read all rows, the task the own ones."""
    return DistillationLearner(
        network(0), network(1, outputs=4), divergence=similarity_divergence, weights=difficulty,
        task=lambda z, batch: (z - batch["x"].sum(1, keepdim=True)).square().mean(), share=0.1,
    )  # fmt: skip


def following():
    return DistillationLearner(network(0), decay=0.5, task=lambda z, batch: z.square().mean())


def harmonized():
    """CLIP of three pairs of modalities; a curriculum leaves rows out."""
    pairs = {a + b: preset("clip").build().double() for a, b in ("ab", "bc", "ac")}
    losses = {
        name: (lambda z, name=name, clip=clip: clip(a=z[name[0]], b=z[name[1]]).total)
        for name, clip in pairs.items()
    }
    return HarmonizedLearner(ThreeModalities(), losses, curriculum=(-0.9, 0.0, 4))


def episodes():
    def look(model, generator):
        z = normalize(model(X), dim=1)
        cluster = k_means(z, 4, generator=generator, rounds=3)
        return {"cluster": cluster, "mean": centroids(z, cluster, 4).mean}

    def loss(model, batch, found, generator):
        z = Side.of(model(batch["x"]), cluster=found["cluster"][batch["row"]])
        means = Side.of(found["mean"], cluster=torch.arange(4))
        return contrast(z, means, Pairs.same("cluster")).mean()

    return EpisodeLearner(network(0), look, loss, every=2)


def alternating(lookahead=None):
    def loss(model, augmenter, batch, generator):
        x = batch["x"]
        return 30.0 * (model(x) - model(x + augmenter(x)).tanh()).square().mean()

    return AlternatingLearner(network(0), network(1, outputs=3), loss, every=2, lookahead=lookahead)


LEARNERS = {
    "averaged": averaged, "distilled": distilled, "following": following,
    "harmonized": harmonized, "episodes": episodes, "alternating": alternating,
    "lookahead": lambda: alternating(0.02),
}  # fmt: skip
BROKEN = {
    "distilled": ("teachers", "collect", lambda x: x),  # divergence and weights of the own rows
    "lookahead": ("alternating", "total", lambda g: g * process_count()),  # own plain step
}


def train_broken(name, folder, devices):
    """As :func:`train`, by a learner whose step is that of the own rows."""
    room, function, instead = BROKEN[name]
    module = importlib.import_module(f"equivariant.training.learners.{room}")
    right = getattr(module, function)
    setattr(module, function, instead)
    try:
        return train(name, folder, devices)
    finally:
        setattr(module, function, right)


def train(name, folder, devices):
    """Weights after some steps, by name."""
    config = FitConfig(
        steps=STEPS, batch_size=BATCH, accelerator="cpu", devices=devices, log_every=1,
        checkpoint_every=100, optimizer="sgd", learning_rate=0.02,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    rows = Stream() if name == "averaged" else RowStream({"x": X})
    learner = fit(LEARNERS[name](), rows, config, run=RunFolder(folder), progress=False)
    return {key: value.tolist() for key, value in learner.state_dict().items()}


def main() -> None:
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    found = {name: train(name, folder / name, devices) for name in LEARNERS}
    broken = {name: train_broken(name, folder / f"{name}_alone", devices) for name in BROKEN}
    found |= {f"{name}_alone": weights for name, weights in broken.items()}
    (folder / "weights.json").write_text(json.dumps(found))
    leave()


if __name__ == "__main__":
    main()
