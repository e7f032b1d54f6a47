"""Classifiers of clouds of points: trained on shapes as they stand, tested on linear images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.lie.study import Job, Record, Study, accuracy, parameters, train
from datasets3d import PointClouds, transformed_clouds
from datasets3d.meshes import MeshFolder
from equivariant.groups import GL, SL, Sampler, TruncatedHaarSampler
from equivariant.nn import (
    Classifier,
    LieNetworkConfig,
    PointEncoderConfig,
    VectorNeuronEncoderConfig,
)

LIE = {"width": 38, "samples": 8, "centers": 16, "radius": 0.6, "scale_radius": 0.3}
PLAIN = ("pointnet", "dgcnn", "vector neurons")
ROWS = (*PLAIN, *(f"{row}, augmented" for row in PLAIN), "lie sl3", "lie gl3")
MAIN = ("aligned", *(f"{g} {r}" for g in ("sl3", "gl3") for r in (0.2, 0.4, 0.8)))


def law_of(name: str) -> Sampler | None:
    """The law of a test set: "aligned", or a group and a radius."""
    if name == "aligned":
        return None
    group, radius = name.split()
    return TruncatedHaarSampler(SL(3) if group == "sl3" else GL(3), float(radius))


@dataclass(frozen=True)
class CloudStudy(Study):
    """Shapes of ``lowpoly_cc0``, 541 for training, 195 for tests, in 32 classes.

    Args:
        meshes: The folder.
        steps: Optimizer steps of every classifier.
        batch: Clouds in each.
        points: Of a cloud.
        per_object: Draws of each test object under each law.
    """

    meshes: Path
    steps: int = 600
    batch: int = 16
    points: int = 128
    per_object: int = 2

    name = "clouds"
    rows = ROWS
    tuning_size = 0

    @property
    def settings(self) -> Record:
        own = {k: v for k, v in asdict(self).items() if k != "meshes"}
        return {**own, "lie": LIE}

    def installed(self, row: str) -> bool:
        return True

    @cached_property
    def train_clouds(self) -> PointClouds:
        """Three objects in four, as they stand."""
        return PointClouds(MeshFolder(self.meshes), split="train", points=self.points)

    @cached_property
    def test_clouds(self) -> PointClouds:
        """The others."""
        return PointClouds(MeshFolder(self.meshes), split="val", points=self.points)

    def run(self, job: Job, rate: float) -> Record:
        rows = torch.arange(len(self.train_clouds))
        model, record = self._trained(job, rate, self.steps, rows)
        found = {}
        for name in MAIN:
            law = law_of(name)
            draws = 1 if law is None else self.per_object
            clouds, labels, _ = transformed_clouds(self.test_clouds, law, per_object=draws)
            found[name] = accuracy(model, clouds, labels, 32)
        return {**record, "accuracy": found}

    def trial(self, job: Job, rate: float) -> Record:
        """On four in five of the training objects; the others are the validation items."""
        order = torch.randperm(
            len(self.train_clouds), generator=torch.Generator().manual_seed(job.seed)
        )
        held = len(order) // 5
        model, record = self._trained(job, rate, max(self.steps // 4, 1), order[held:])
        law = law_of("sl3 0.4")
        clouds, labels, _ = transformed_clouds(self.train_clouds, law, seed=job.seed)
        rows = order[:held]
        return {**record, "validation": accuracy(model, clouds[rows], labels[rows], 32)}

    def _trained(self, job: Job, rate: float, steps: int, rows: Tensor) -> tuple[nn.Module, Record]:
        clouds, labels = self.train_clouds.clouds[rows], self.train_clouds.labels[rows]
        law = law_of("sl3 0.8") if job.row.endswith("augmented") else None
        generator = torch.Generator().manual_seed(job.seed + 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            model = build(job.row, len(self.train_clouds.label_names))

            def batch(step: int, chosen: Tensor) -> tuple[Tensor, Tensor]:
                x = clouds[chosen]
                if law is not None:
                    g = law.draw(len(x), generator=generator).elements.to(x)
                    x = x @ g.transpose(1, 2)
                return x, labels[chosen]

            loss = train(
                model, batch, items=len(clouds), steps=steps, size=self.batch, rate=rate,
                seed=job.seed,
            )  # fmt: skip
        return model, {"used_rate": rate, "loss": loss, "parameters": parameters(model)}


def build(row: str, classes: int) -> nn.Module:
    """Clouds to logits, fresh weights from the global generator, about 37 thousand of them."""
    if row.startswith("lie"):
        group = SL(3) if row == "lie sl3" else GL(3)
        return LieNetworkConfig(group, inputs=0, outputs=classes, **LIE).build()
    kind = row.split(",")[0]
    if kind == "vector neurons":
        config = VectorNeuronEncoderConfig(
            "pointnet", width=16, channels=40, neighbors=10, invariant=True, dim=96
        )
        return Classifier(config.build(), classes)
    if kind == "pointnet":
        return Classifier(PointEncoderConfig("pointnet", width=45, dim=224).build(), classes)
    config = PointEncoderConfig("dgcnn", width=20, dim=132, neighbors=10)
    return Classifier(config.build(), classes)
