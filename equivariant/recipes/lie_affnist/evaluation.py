"""What a trained network knows of digits that were moved, at several numbers of group elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from equivariant.actions import Vectors
from equivariant.errors import ConventionError
from equivariant.groups import Affine
from equivariant.measure import estimate_proportion, pair_error, regression_score
from equivariant.measure.representations.ridge import Moments, chosen_ridge
from equivariant.recipes.lie_affnist.digit_sets import CLEAN, LabelledPictures
from equivariant.recipes.lie_affnist.models import CLASSES, DigitEncoder, TrainedDigits
from equivariant.shapes import Float, Images

_EVERY = 5  # of the digits that heads are fitted to, so many choose the penalty: one in five


@dataclass(frozen=True)
class EvaluationConfig:
    """How a network is evaluated.

    Args:
        samples: Numbers of group elements at which a Lie network is evaluated.
        radii: Of truncated Haar measure on SL(2), one test set each.
        digits: Test digits, each moved once for every set; 0 for all.
        probe_digits: Training digits, moved by the run's law, that linear heads on contrastive
            representations are fitted to; 0 for all that were learned.
        confidence: Of intervals, in (0, 1).
        seed: Of the choice of test digits and of their motions: runs of one data set are then
            tested on the same pictures, whatever their own seed.
        batch_size: Pictures at a time.
        device: Where to compute, as PyTorch names it.

    Raises:
        ConventionError: A number is out of its range.
    """

    samples: tuple[int, ...] = (10, 32, 100)
    radii: tuple[float, ...] = (0.2, 0.4, 0.8)
    digits: int = 1000
    probe_digits: int = 2000
    confidence: float = 0.95
    seed: int = 0
    batch_size: int = 100
    device: str = "cpu"

    def __post_init__(self) -> None:
        low = min(self.samples, default=0)
        if min(low, self.batch_size) < 1 or min(self.digits, self.probe_digits, self.seed) < 0:
            raise ConventionError(
                expected="samples and batch_size of at least 1, digits and seed of at least 0",
                got=f"samples={self.samples}, batch_size={self.batch_size}, "
                f"digits={self.digits}, probe_digits={self.probe_digits}, seed={self.seed}",
                argument="evaluation", advice="0 digits means all of them.",
            )  # fmt: skip


@dataclass(frozen=True)
class LinearHeads:
    """Affine maps of representations to classes and to linear parts of motions.

    Args:
        mean: Of each column, shape (dim,), float64.
        deviation: Of each column, shape (dim,).
        weight: Shape (dim, classes + 4).
        offset: Shape (classes + 4,).
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    offset: Tensor

    @staticmethod
    def fit(y: Float[Tensor, "n d"], labels: Tensor, linear: Float[Tensor, "n 2 2"]) -> LinearHeads:
        """Ridge regressions of one-hot classes and of matrix entries.

        One digit in five chooses each penalty, of classes and of matrices apart.

        Args:
            y: Representations, shape (N, D), N of at least 2.
            labels: Classes, shape (N,), int64.
            linear: Linear parts, shape (N, 2, 2).
        """
        mean, deviation = y.double().mean(0), y.double().std(0).clamp(min=1e-6)
        x = (y.double() - mean) / deviation
        held = torch.arange(len(x)) % _EVERY == 0
        found = [
            chosen_ridge(Moments.of(x[~held], target[~held]), Moments.of(x[held], target[held]))
            for target in (one_hot(labels, CLASSES).double(), linear.flatten(1).double())
        ]
        weight, offset = (torch.cat(parts, -1) for parts in zip(*found, strict=True))
        return LinearHeads(mean, deviation, weight, offset)

    def __call__(self, y: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
        """Scores of classes, shape (N, classes), and linear parts, shape (N, 4), float64."""
        found = (y.double() - self.mean) / self.deviation @ self.weight + self.offset
        return found[:, :CLASSES], found[:, CLASSES:]


def outputs(
    encoder: DigitEncoder, images: Images, *, batch_size: int = 100
) -> Float[Tensor, "n dim"]:
    """Logits or representations, shape (N, dim), on the CPU.

    Args:
        encoder: In evaluation mode, on any device.
        images: Shape (N, 1, side, side).
        batch_size: Pictures at a time.
    """
    device = next(encoder.parameters()).device
    with torch.no_grad():
        parts = [encoder.outputs(part.to(device)).cpu() for part in images.split(batch_size)]
    return torch.cat(parts)


def parts_of(trained: TrainedDigits) -> dict[str, slice]:
    """The parts of a contrastive representation that heads read, by name."""
    width = trained.config.width
    return {"all": slice(None), "invariant": slice(width), "vectors": slice(width, None)}


def evaluate(
    trained: TrainedDigits,
    sets: Mapping[str, LabelledPictures],
    config: EvaluationConfig,
    *,
    seen: LabelledPictures | None = None,
) -> dict[str, Any]:
    """Accuracies with intervals on every set; contrastive, also how vectors move with digits.

    Intervals are exact binomial ones over the digits of a set, each of which is there once: they
    are about these weights and these group elements.

    Args:
        trained: The network.
        sets: Test sets by name, of the same digits in the same order, centred ones among them.
        config: How.
        seen: Training pictures, for the heads on contrastive representations.

    Returns:
        ``accuracy``: a list with set, samples (None for a plain network), part, right, total,
        value, low, high. For representations besides, else empty: ``linear_part`` of set, samples,
        part, r2; ``pairs`` of set, samples, and the mean relative error between the vectors of a
        moved digit and those of the centred one, ``moved`` by the recorded linear part,
        ``unmoved``, or of another digit, ``shuffled``.

    Raises:
        ConventionError: A representation without training pictures, or the device is unknown.
    """
    encoder = _on(trained, config.device)
    found: dict[str, Any] = {"accuracy": [], "linear_part": [], "pairs": []}
    for samples in config.samples if trained.config.model == "lie" else (None,):
        at = encoder.with_samples(samples).eval()
        given = {
            name: outputs(at, pictures.images, batch_size=config.batch_size)
            for name, pictures in sets.items()
        }
        if not trained.contrastive:
            for name, logits in given.items():
                row = {"set": name, "samples": samples, "part": "logits"}
                found["accuracy"].append(row | _accuracy(logits, sets[name].labels, config))
            continue
        if seen is None:
            raise ConventionError(
                expected="training pictures for linear heads", got="none", argument="seen",
                advice="Pictures of training digits, moved by the law of the run.",
            )  # fmt: skip
        known = outputs(at, seen.images, batch_size=config.batch_size)
        for part, columns in parts_of(trained).items():
            heads = LinearHeads.fit(known[:, columns], seen.labels, seen.linear)
            for name, y in given.items():
                scores, linear = heads(y[:, columns])
                row = {"set": name, "samples": samples, "part": part}
                found["accuracy"].append(row | _accuracy(scores, sets[name].labels, config))
                r2 = _linear_r2(linear, sets[name].linear)
                if r2 is not None:
                    found["linear_part"].append(row | {"r2": r2})
        vectors = parts_of(trained)["vectors"]
        for name in [name for name in given if name != CLEAN]:
            errors = _moved_vectors(given[CLEAN][:, vectors], given[name][:, vectors], sets[name])
            found["pairs"].append({"set": name, "samples": samples} | errors)
    return found


def probe_scores(
    trained: TrainedDigits, seen: LabelledPictures, sets: Mapping[str, LabelledPictures]
) -> dict[str, float]:
    """Shares of right classes while training and, contrastive, R² of the linear part.

    Args:
        trained: The network as it is, in evaluation mode.
        seen: Training pictures, for the heads on contrastive representations.
        sets: Held-out pictures by name.
    """
    at = trained.with_samples(trained.config.samples if trained.config.model == "lie" else None)
    heads = None
    if trained.contrastive:
        heads = LinearHeads.fit(outputs(at, seen.images), seen.labels, seen.linear)
    found = {}
    for name, pictures in sets.items():
        y = outputs(at, pictures.images)
        scores, linear = (y, None) if heads is None else heads(y)
        found[f"top1_{name}"] = float((scores.argmax(1) == pictures.labels).double().mean())
        r2 = None if linear is None else _linear_r2(linear, pictures.linear)
        if r2 is not None:
            found[f"linear_r2_{name}"] = r2
    return found


def _accuracy(scores: Tensor, labels: Tensor, config: EvaluationConfig) -> dict[str, Any]:
    right = int((scores.argmax(1) == labels).sum())
    return asdict(estimate_proportion(right, len(labels), confidence=config.confidence))


def _moved_vectors(still: Tensor, there: Tensor, pictures: LabelledPictures) -> dict[str, float]:
    action = Vectors(Affine(2), still.shape[1] // 2)
    g = Affine.join(pictures.linear, torch.zeros(len(pictures), 2, dtype=torch.float64))
    errors = pair_error(action, still.double(), there.double(), g)
    names = ("relative", "unmoved", "shuffled")
    moved, unmoved, shuffled = (float(getattr(errors, name).mean()) for name in names)
    return {"moved": moved, "unmoved": unmoved, "shuffled": shuffled}


def _linear_r2(predicted: Tensor, linear: Tensor) -> float | None:
    """R² of the four entries, zero for a blind predictor; None where all matrices are equal."""
    target = linear.flatten(1).double()
    if len(target) < 2 or not bool((target != target[0]).any()):
        return None
    return regression_score(predicted, target).r2


def _on(trained: TrainedDigits, device: str) -> TrainedDigits:
    try:
        return TrainedDigits(trained.model.to(device), trained.config)
    except (RuntimeError, AssertionError) as error:  # PyTorch raises either
        raise ConventionError(
            expected="a device that PyTorch has here", got=repr(device), argument="device",
            advice=str(error).splitlines()[0],
        ) from error  # fmt: skip
