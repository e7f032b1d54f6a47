"""Classifiers of digits: trained where they stand in the middle, tested where they were moved."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.lie.study import Job, Record, Study, accuracy, parameters, train
from datasets3d import AffNistLaw, Digits, TruncatedHaarLaw, transformed_digits
from datasets3d.digits import PlaneLaw, move_pictures
from equivariant.groups import (
    GL,
    O2,
    SL,
    SO2,
    Affine,
    Group,
    NormalSampler,
    ScaledRotations,
    SemidirectSampler,
    TruncatedHaarSampler,
)
from equivariant.nn import (
    CanonicalizedNetwork,
    CanonicalizerConfig,
    Classifier,
    ConvNetConfig,
    EnergyCanonicalizer,
    LieNetworkConfig,
    PoseEnergyConfig,
    RotationConvNetConfig,
    SpatialTransformerConfig,
    fit_energy,
    pull_back,
)

CLASSES = 10
POSES = 1000  # training digits whose canonical poses are looked at
GROUPS: dict[str, Group] = {
    "lie gl2": GL(2), "lie sl2": SL(2), "lie rotation-scale": ScaledRotations(2), "lie e2": O2(),
    "lie se2": SO2(), "lie gl2 lognormal unweighted": GL(2),
    "lie e2, 5 to 11 samples": O2(), "lie sl2, 5 to 11 samples": SL(2),
}  # fmt: skip
AUGMENTED: dict[str, PlaneLaw] = {
    "plain, affnist-style augmentation": AffNistLaw(),
    "plain, haar 0.8 augmentation": TruncatedHaarLaw("sl2", 0.8),
}
UPRIGHT, ALL_ROUND = "canonicalization, upright starts", "canonicalization"
ROWS = (
    "plain", *AUGMENTED, "spatial transformer", UPRIGHT, ALL_ROUND, "escnn C8", *GROUPS,
)  # fmt: skip
LIE = {
    "width": 40, "stride": 4, "samples": 8, "radius": 0.4, "scale_radius": 0.25,
    "lift_radius": 0.3, "conv_radius": 0.5,
}  # fmt: skip
ENERGY = PoseEnergyConfig(widths=(8, 16), hidden=24)


def tests() -> dict[str, PlaneLaw]:
    """Laws of the test sets, by name; translations only in the affNIST-style one."""
    found: dict[str, PlaneLaw] = {"centred": _fixed(), "affnist-style": AffNistLaw()}
    found |= {f"haar {r}": TruncatedHaarLaw("sl2", r) for r in (0.2, 0.4, 0.8)}
    found |= {f"scale {s}": _fixed(scale=s) for s in (0.5, 0.7, 0.85, 1.2, 1.4, 1.7)}
    return found | {f"shear {k}": _fixed(shear=k) for k in (0.2, 0.4, 0.6, 0.8)}


def _fixed(*, scale: float = 1.0, shear: float = 0.0) -> AffNistLaw:
    """The same map for every digit, about the middle of the frame."""
    return AffNistLaw(
        (0.0, 0.0), (shear, shear), (scale, scale), (scale, scale), translation="none"
    )


MAIN = ("centred", "affnist-style", "haar 0.2", "haar 0.4", "haar 0.8")


@dataclass(frozen=True)
class DigitStudy(Study):
    """Ten digits of MNIST, padded to 40 pixels.

    Args:
        mnist: Folder of MNIST's four files.
        cache: Folder of test sets.
        steps: Optimizer steps of every classifier.
        batch: Digits in each.
        energy_steps: Of the energy of the canonicalized rows, trained before.
        test: Digits in each of the main test sets; a quarter of them in each point of a curve.
    """

    mnist: Path
    cache: Path
    steps: int = 1500
    batch: int = 32
    energy_steps: int = 3000
    test: int = 1000

    name = "digits"
    rows = ROWS
    tuning_size = 10_000

    @property
    def settings(self) -> Record:
        own = {k: v for k, v in asdict(self).items() if k not in ("mnist", "cache")}
        return {**own, "lie": LIE, "poses": POSES}

    def installed(self, row: str) -> bool:
        return row != "escnn C8" or importlib.util.find_spec("escnn") is not None

    def run(self, job: Job, rate: float) -> Record:
        model, record = self._trained(job, rate, self.steps)
        if job.row in GROUPS:  # for benchmarks.lie.trained_error
            save_file(model.state_dict(), weights_of(self.cache, job))
        found = {}
        for name in tests():
            x, y = self.test_set(name, "test")
            found[name] = accuracy(model, x, y)
        return {**record, "accuracy": found}

    def trial(self, job: Job, rate: float) -> Record:
        model, record = self._trained(job, rate, max(self.steps // 4, 1))
        return {**record, "validation": accuracy(model, *self.test_set("affnist-style", "val"))}

    def _trained(self, job: Job, rate: float, steps: int) -> tuple[nn.Module, Record]:
        digits = _digits(self.mnist, "train", job.size, job.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            model, poses = self._model(job, digits)
            network = model.network if isinstance(model, CanonicalizedNetwork) else model
            law = AUGMENTED.get(job.row)

            def batch(step: int, rows: Tensor) -> tuple[Tensor, Tensor]:
                index = rows.numpy()
                x, y = digits.pictures(index), digits.targets[rows]
                if law is not None:
                    corners = digits.corners(index)
                    g = law.sample(job.seed, index, epoch=step, corners=corners)
                    x = move_pictures(x, torch.from_numpy(g))
                return (x if poses is None else pull_back(x, poses.draw(y))), y

            loss = train(
                network, batch, items=len(digits), steps=steps, size=self.batch, rate=rate,
                seed=job.seed,
            )  # fmt: skip
        return model.eval(), {"used_rate": rate, "loss": loss, "parameters": parameters(model)}

    def _model(self, job: Job, digits: Digits) -> tuple[nn.Module, CanonicalPoses | None]:
        if job.row not in (UPRIGHT, ALL_ROUND):
            return build(job.row), None
        law = SemidirectSampler(TruncatedHaarSampler(GL(2), 0.8, scale_radius=0.5), shift=0.3)
        near = NormalSampler(Affine(2), 0.15)
        config = PoseEnergyConfig(
            widths=ENERGY.widths, hidden=ENERGY.hidden, steps=self.energy_steps
        )
        energy = fit_energy(digits.pictures(), law, near=near, config=config, seed=job.seed)
        rotations = 8 if job.row == ALL_ROUND else 1
        canonicalizer = CanonicalizerConfig(rotations=rotations).build(energy)
        network = Classifier(ConvNetConfig((12, 20, 28)).build(), CLASSES)
        poses = CanonicalPoses(canonicalizer, digits, seed=job.seed)
        return CanonicalizedNetwork(canonicalizer, network), poses

    def train_pictures(self, count: int) -> Tensor:
        """Some training digits, shape (count, 1, 40, 40)."""
        return _digits(self.mnist, "train", 10_000, 0).pictures(torch.arange(count).numpy())

    def test_set(self, name: str, split: str) -> tuple[Tensor, Tensor]:
        """Pictures (count, 1, 40, 40) in [0, 1] and labels of one of ``tests()``."""
        count = self.test if name in MAIN else max(self.test // 4, 1)
        source = _digits(self.mnist, split, count, 0)
        images, labels, _ = transformed_digits(source, tests()[name], cache=self.cache)
        return torch.from_numpy(images).unsqueeze(1).float() / 255, torch.from_numpy(labels)


class CanonicalPoses:
    """What the canonicalizer makes of training digits, so that its network can be trained on it.

    Canonicalizing every digit would cost more than training. Instead a sample of them is, and a
    digit is shown in the pose of another one of its class, drawn anew each time.

    Args:
        canonicalizer: Of the network.
        digits: Training digits; the first ``POSES`` of a random order are used.
        seed: Of that order and of the draws.
    """

    def __init__(self, canonicalizer: EnergyCanonicalizer, digits: Digits, *, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(digits), generator=self.generator)[:POSES]
        parts = [canonicalizer.locate(digits.pictures(r.numpy())) for r in rows.split(250)]
        self.elements, labels = torch.cat(parts), digits.targets[rows]
        self.of_class = [torch.nonzero(labels == k).flatten() for k in range(CLASSES)]

    def draw(self, labels: Tensor) -> Tensor:
        """An element for each label, shape (batch, 3, 3); of a class not seen, of any."""
        chosen = []
        for label in labels.tolist():
            among = self.of_class[label]
            among = among if len(among) else torch.arange(len(self.elements))
            place = torch.randint(len(among), (), generator=self.generator)
            chosen.append(among[place])
        return self.elements[torch.stack(chosen)]


def build(row: str) -> nn.Module:
    """Pictures to logits, fresh weights from the global generator, about 35 thousand of them."""
    if row in GROUPS:
        sampling = "lognormal_unweighted" if row.endswith("unweighted") else "stratified"
        spread = 3 if row.endswith("5 to 11 samples") else 0
        return LieNetworkConfig(
            GROUPS[row], outputs=CLASSES, sampling=sampling, samples_spread=spread, **LIE
        ).build()
    if row == "escnn C8":
        return Classifier(RotationConvNetConfig().build(), CLASSES)
    if row == "spatial transformer":
        network = ConvNetConfig((14, 22, 30)).build()
        return Classifier(SpatialTransformerConfig().build(network), CLASSES)
    return Classifier(ConvNetConfig().build(), CLASSES)


@lru_cache(maxsize=4)
def _digits(folder: Path, split: Any, count: int, seed: int) -> Digits:
    whole = {"train": 50_000, "val": 10_000, "test": 10_000}[split]
    return Digits(folder, split=split, count=None if count in (0, whole) else count, seed=seed)


def weights_of(cache: Path, job: Job) -> Path:
    """Where the weights of a trained Lie network are."""
    cache.mkdir(parents=True, exist_ok=True)
    return cache / f"{job.row}-{job.size}-{job.seed}.safetensors"
