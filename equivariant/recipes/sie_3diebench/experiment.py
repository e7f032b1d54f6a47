"""One experiment on a data set of views: train a method and keep everything in a run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lightning_fabric import Fabric

from datasets3d import ThreeDIEBench, TransformPairs
from datasets3d.pairs.memory import InsufficientMemoryError
from equivariant.errors import DataFormatError
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
from equivariant.workflows.recipe import option
from equivariant.workflows.rendered_views import check_batch, held_out_probe, say_missing


@dataclass(frozen=True)
class SieExperiment:
    """SIE or one of its baselines, trained on pairs of rendered views.

    Weights, metrics and settings are kept in a run folder; a run that was stopped goes on.

        equivariant train sie DATA --model.method sie --fit.steps 82000 --fit.batch-size 1024

    Args:
        data: Folder that `equivariant build` wrote, or the published 3DIEBench.
        model: Method and network.
        fit: Training.
        seed: Of fresh weights and of the pairs that are drawn.
        size_px: Resize images to this side in pixels; 0 keeps the files' size.
        stream: Decode images batch by batch instead of keeping all of them in memory.
    """

    data: Path
    model: ModelConfig = field(default_factory=ModelConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    seed: int = 0
    size_px: int = field(default=0, metadata=option("size"))
    stream: bool = field(default=False, metadata=option(free=True))
    recipe: str = field(default="sie", init=False)

    @property
    def run_name(self) -> str:
        """What runs of these settings are called: the method."""
        return self.model.method


def train(
    config: SieExperiment,
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


def make_pairs(config: SieExperiment, data: ThreeDIEBench | None = None) -> TransformPairs:
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
            in_memory=not config.stream,
            size_px=config.size_px or None,
        )
    except InsufficientMemoryError as error:
        raise InsufficientMemoryError(
            expected=error.expected, got=error.got, argument=error.argument,
            advice="Pass --stream to decode them batch by batch, or a smaller --size.",
        ) from error  # fmt: skip


def restore_experiment(run: RunFolder) -> SieExperiment:
    """The settings a run was started with.

    Raises:
        DataFormatError: The run's settings are missing, damaged, or of another version.
    """
    path = run.path / "config.json"
    saved = read_json(path)
    try:
        return SieExperiment(
            data=Path(saved["data"]),
            model=model_config(saved["model"]),
            fit=FitConfig(**saved["fit"]),
            seed=saved["seed"],
            size_px=saved["size_px"],
            # Runs of earlier versions say the opposite.
            stream=saved["stream"] if "stream" in saved else not saved["in_memory"],
        )
    except (KeyError, TypeError) as error:
        raise DataFormatError(
            expected="the settings of a training run", got=f"{type(error).__name__}: {error}",
            argument=str(path), advice="Resume with the version that started the run.",
        ) from error  # fmt: skip
