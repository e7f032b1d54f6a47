"""One experiment on a data set of views: train a method, evaluate it, keep everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from datasets3d import ThreeDIEBench, TransformPairs
from datasets3d.pairs.memory import InsufficientMemoryError
from equivariant.errors import ConventionError, DataFormatError
from equivariant.measure import collapse, online_probe
from equivariant.recipes.sie_3diebench.models import (
    ModelConfig,
    Trained,
    build_learner,
    make_header,
    model_config,
    trained,
)
from equivariant.runs import RunFolder, read_json
from equivariant.training import FitConfig, fit, save_weights

PROBED_OBJECTS = 2048
SPLITS: tuple[Literal["train", "val"], ...] = ("train", "val")


@dataclass(frozen=True)
class ExperimentConfig:
    """One run.

    Args:
        data: Folder of the data set.
        model: Method and network.
        fit: Training.
        seed: Of fresh weights and of the pairs that are drawn.
        size_px: Resize images to this side; 0 keeps the files' size.
        in_memory: Decode all training views once and keep them; else decode batch by batch.
    """

    data: Path
    model: ModelConfig = field(default_factory=ModelConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    seed: int = 0
    size_px: int = 0
    in_memory: bool = True


def train(
    config: ExperimentConfig,
    run: RunFolder,
    *,
    pairs: TransformPairs | None = None,
    fabric: Fabric | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> Trained:
    """Train a method and keep weights, metrics and settings in a run folder.

    Args:
        config: What to train on what.
        run: Where to keep it; a run that was interrupted there goes on.
        pairs: The pairs, if they are in memory already; drawn with ``config.seed``.
        fabric: Processes that are started already.
        progress: Show a bar on stderr.
        say: Receives a line if listed objects are missing.

    Raises:
        ConventionError: A batch is larger than the data, or the views do not fit into memory.
    """
    data = ThreeDIEBench(config.data, "train") if pairs is None else pairs.dataset
    say_missing([data], say)
    if config.model.method != "random":
        check_batch(len(data), config.fit.batch_size)
    pairs = pairs or make_pairs(config, data)
    labels = tuple(pairs.dataset.label_names)
    header = make_header(
        config.model, labels=labels, channel_mean=pairs.mean, channel_std=pairs.std,
        seed=config.seed, data=pairs.dataset.fingerprint(),
    )  # fmt: skip
    learner = build_learner(config.model, classes=len(labels), seed=config.seed)
    if config.model.method == "random":
        save_weights(run.weights, learner, header=header)
        return trained(learner.eval(), config.model, header)
    probe = held_out_probe(pairs) if config.fit.probe_every else None
    fit(
        learner, pairs, config.fit, run=run, header=header, probe=probe, fabric=fabric,
        progress=progress, seed=config.seed, identity={"size_px": config.size_px},
    )  # fmt: skip
    return trained(learner, config.model, header)


def make_pairs(config: ExperimentConfig, data: ThreeDIEBench | None = None) -> TransformPairs:
    """The training pairs of an experiment.

    Args:
        config: Its settings.
        data: Training views, if they are open already.

    Raises:
        ConventionError: The views are to be kept in memory, and do not fit.
    """
    try:
        return TransformPairs(
            data or ThreeDIEBench(config.data, "train"),
            convention=config.model.convention,
            seed=config.seed,
            in_memory=config.in_memory,
            size_px=config.size_px or None,
        )
    except InsufficientMemoryError as error:
        raise InsufficientMemoryError(
            expected=error.expected, got=error.got, argument=error.argument,
            advice="Pass --stream to decode them batch by batch, or a smaller --size.",
        ) from error  # fmt: skip


def check_batch(objects: int, batch_size: int, *, option: str = "--fit.batch-size") -> None:
    """Raise ConventionError if a batch is larger than the data.

    Args:
        objects: Training objects; a batch shows each of them at most once.
        batch_size: Pairs per step.
        option: That sets it.
    """
    if batch_size > objects:
        raise ConventionError(
            expected=f"batches of at most {objects} pairs, one of each training object",
            got=str(batch_size), argument=option,
            advice=f"Pass {option} {objects} or less, or build more objects.",
        )  # fmt: skip


def restore_config(run: RunFolder) -> ExperimentConfig:
    """The settings a run was started with.

    Raises:
        DataFormatError: The run's settings are missing, damaged, or of another version.
    """
    path = run.path / "config.json"
    saved = read_json(path)
    try:
        return ExperimentConfig(
            data=Path(saved["data"]),
            model=model_config(saved["model"]),
            fit=FitConfig(**saved["fit"]),
            seed=saved["seed"],
            size_px=saved["size_px"],
            in_memory=saved["in_memory"],
        )
    except (KeyError, TypeError) as error:
        raise DataFormatError(
            expected="the settings of a training run", got=f"{type(error).__name__}: {error}",
            argument=str(path), advice="Resume with the version that started the run.",
        ) from error  # fmt: skip


def say_missing(splits: Iterable[ThreeDIEBench], say: Callable[[str], None] | None) -> None:
    """Say how many listed objects are not there.

    Args:
        splits: Of a data set.
        say: Receives one line for each split with missing objects; None says nothing.
    """
    for data in splits:
        if data.missing and say is not None:
            listed = len(data) + len(data.missing)
            say(
                f"{len(data.missing)} of {listed} objects listed in {data.split}_images.npy are "
                f"missing and left out, the first {data.missing[0]}"
            )


def held_out_probe(pairs: TransformPairs) -> Callable[[nn.Module], dict[str, float]]:
    """A probe for ``fit``: one view each of some training and some held-out objects."""
    batches = []
    for split in SPLITS:
        data = ThreeDIEBench(pairs.dataset.root, split)
        views = TransformPairs(
            data, in_memory=False, mean=pairs.mean, std=pairs.std, size_px=pairs.size_px
        )
        rows = data.fixed_pairs(1)
        batches.append(views.batch(rows[:: max(1, len(rows) // PROBED_OBJECTS)]))
    train_batch, val_batch = batches

    def probe(model: nn.Module) -> dict[str, float]:
        represent: Any = model.represent
        device = next(model.parameters()).device
        with torch.no_grad():
            y, y_val = (represent(batch.a.to(device)).cpu() for batch in batches)
        spread = collapse(y_val)
        scores = online_probe(
            y, y_val, train_label=_known(train_batch.label), val_label=_known(val_batch.label),
            train_rotation=_known(train_batch.pose_a), val_rotation=_known(val_batch.pose_a),
        )  # fmt: skip
        return {**scores, "effective_rank": spread.effective_rank, "dead": spread.dead}

    return probe


def _known(value: Tensor | None) -> Tensor:
    return torch.empty(0) if value is None else value
