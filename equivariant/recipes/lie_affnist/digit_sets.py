"""Digits of an experiment: pairs to learn from, and fixed labelled sets for probes and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datasets3d.digits import AffNistLaw, DigitPairs, Digits, TruncatedHaarLaw, transformed_digits
from datasets3d.digits.idx import DigitSplit
from datasets3d.digits.laws import PlaneLaw
from equivariant.recipes.lie_affnist.settings import DigitExperiment, plane_law

CLEAN = "centred"
AFFNIST = "affNIST-style"


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures with their class and the motion that made them of a centred digit.

    Args:
        images: Shape (N, 1, size_px, size_px), float32 in [0, 1].
        labels: Shape (N,), int64.
        linear: Linear parts of the motions, shape (N, 2, 2), float64.
    """

    images: Tensor
    labels: Tensor
    linear: Tensor

    def __len__(self) -> int:
        return len(self.images)


def open_digits(
    config: DigitExperiment, split: DigitSplit, *, count: int = 0, seed: int | None = None
) -> Digits:
    """Digits of an experiment's data.

    Args:
        config: Where they are, and in which frame.
        split: "train", "val" or "test".
        count: Draw so many; 0 for all.
        seed: Of that draw; None takes that of the experiment.

    Raises:
        DataFormatError: A file of MNIST is missing or damaged.
        ConventionError: There are not so many.
    """
    return Digits(
        config.data, split=split, size_px=config.size_px, count=count or None,
        seed=config.seed if seed is None else seed, held_out=config.validation,
    )  # fmt: skip


def training_pairs(config: DigitExperiment) -> DigitPairs:
    """What a run learns from.

    Supervised, the first picture of a pair is the centred digit and the second a transformed
    one; contrastive, both are transformed.

    Args:
        config: Its settings.
    """
    return DigitPairs(
        open_digits(config, "train", count=config.count),
        law=plane_law(config.law, config.law_radius), seed=config.seed,
        first="centred" if config.objective == "supervised" else "transformed",
    )  # fmt: skip


def labelled(digits: Digits, law: PlaneLaw | None, *, seed: int) -> LabelledPictures:
    """A fixed set: every digit once, each moved by a matrix of its own.

    Args:
        digits: The digits.
        law: Of the matrices; None leaves digits centred.
        seed: Of the matrices.
    """
    if law is None:
        images, labels = digits.pictures(), digits.targets
        linear = torch.eye(2, dtype=torch.float64).expand(len(digits), 2, 2)
        return LabelledPictures(images, labels, linear)
    moved = transformed_digits(digits, law, seed=seed)
    images = torch.from_numpy(moved.images).unsqueeze(1).float().div_(255.0)
    matrices = torch.from_numpy(np.ascontiguousarray(moved.matrices[:, :2, :2]))
    return LabelledPictures(images, torch.from_numpy(moved.labels), matrices)


def set_laws(config: DigitExperiment, radii: Sequence[float]) -> dict[str, PlaneLaw | None]:
    """What a run is tested under, by name: no motion, affNIST's ranges, Haar radii, its own law.

    Args:
        config: Settings of the run.
        radii: Of truncated Haar measure on SL(2).
    """
    laws: dict[str, PlaneLaw | None] = {CLEAN: None, AFFNIST: AffNistLaw()}
    laws |= {f"Haar SL(2), radius {r:g}": TruncatedHaarLaw("sl2", r) for r in radii}
    own = plane_law(config.law, config.law_radius)
    if own not in laws.values():
        laws[f"law of training, {config.law}"] = own
    return laws
