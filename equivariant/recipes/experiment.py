"""One experiment on a data set of views: train a method, evaluate it, keep everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from datasets3d import ThreeDIEBench, TransformPairs
from equivariant.errors import DataFormatError
from equivariant.measure import collapse, online_probe
from equivariant.recipes.evaluate_3diebench import EvaluationConfig, encode, evaluate
from equivariant.recipes.report_3diebench import Seen
from equivariant.recipes.sie_3diebench import (
    ModelConfig,
    Trained,
    build_learner,
    load_trained,
    make_header,
    model_config,
    trained,
)
from equivariant.runs import RunFolder, read_json, write_json
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
) -> Trained:
    """Train a method and keep weights, metrics and settings in a run folder.

    Args:
        config: What to train on what.
        run: Where to keep it; a run that was interrupted there goes on.
        pairs: The pairs, if they are in memory already; drawn with ``config.seed``.
        fabric: Processes that are started already.
        progress: Show a bar on stderr.
    """
    pairs = pairs or make_pairs(config)
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


def make_pairs(config: ExperimentConfig) -> TransformPairs:
    """The training pairs of an experiment."""
    return TransformPairs(
        ThreeDIEBench(config.data, "train"),
        convention=config.model.convention,
        seed=config.seed,
        in_memory=config.in_memory,
        size_px=config.size_px or None,
    )


def evaluate_run(
    run: RunFolder, config: EvaluationConfig, *, images: dict[str, Tensor] | None = None
) -> dict[str, Any]:
    """Evaluate the weights of a run and write ``measures.json``.

    Args:
        run: A trained run.
        config: How.
        images: Decoded views of "train" and "val", if they are in memory already.
    """
    experiment, model = restore_config(run), load_trained(run.weights)
    encoded = [
        encode(
            model,
            ThreeDIEBench(experiment.data, split),
            config,
            images=(images or {}).get(split),
            size_px=experiment.size_px or None,
        )
        for split in SPLITS
    ]
    measures = evaluate(model, encoded[0], encoded[1], config)
    write_json(run.path / "measures.json", measures)
    return measures


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


def see_run(run: RunFolder, config: EvaluationConfig, *, images: Tensor | None = None) -> Seen:
    """A run with its model applied to the held-out views, for the report.

    Args:
        run: A trained run.
        config: Batch size and device.
        images: Decoded held-out views, if they are in memory already.
    """
    experiment, model = restore_config(run), load_trained(run.weights)
    data, size_px = ThreeDIEBench(experiment.data, "val"), experiment.size_px or None
    val = encode(model, data, config, images=images, size_px=size_px)
    return Seen(run, model, val, size_px)


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
