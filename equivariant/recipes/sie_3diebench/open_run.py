"""A trained run with its data: opened, evaluated, measured on pairs, prepared for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from datasets3d import ThreeDIEBench
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import rotation_angle
from equivariant.recipes.sie_3diebench.experiment import SieExperiment, restore_experiment
from equivariant.recipes.sie_3diebench.models import ModelConfig, Trained, load_trained
from equivariant.recipes.sie_3diebench.protocol import (
    EvaluationConfig,
    encode,
    evaluate,
    fixed_pairs,
)
from equivariant.recipes.sie_3diebench.report import EncodedRun
from equivariant.runs import RunFolder, file_digest, write_json
from equivariant.training import FitConfig, read_header
from equivariant.training.resume.checkpoint import read_state
from equivariant.workflows.measuring.kept import check_each_once, kept_measures, titles_apart
from equivariant.workflows.measuring.run import HeldOutPairs
from equivariant.workflows.rendered_views import SPLITS, say_missing

_FREE = ("batch_size", "device")  # of an evaluation: they change no number
_PUBLISHED_OBJECTS, _PUBLISHED_VIEWS = (41920, 10552), 50
_PUBLISHED_FIT = FitConfig(steps=82000, batch_size=1024)
_FIT_NAMES = ("steps", "minutes", "batch_size", "learning_rate", "weight_decay", "warmup_steps",
              "schedule", "amsgrad", "gradient_clip", "average_decay", "accumulate",
              "optimizer", "decay_on")  # fmt: skip


@dataclass(frozen=True)
class OpenRun:
    """A trained run with its data.

    Args:
        run: Folder.
        experiment: Its settings, with the place where the data are now.
        trained: The model.
        splits: Training and held-out views.
        data: Their fingerprints, by split.
    """

    run: RunFolder
    experiment: SieExperiment
    trained: Trained
    splits: dict[str, ThreeDIEBench]
    data: dict[str, str]

    @property
    def size_px(self) -> int | None:
        """Side that views are resized to; None keeps the files' size."""
        return self.experiment.size_px or None

    @property
    def title(self) -> str:
        """What the run is called; "as published" if its settings and data are, to the end."""
        counts = tuple(len(self.splits[name]) for name in SPLITS)
        as_published = (
            is_published(self.experiment)
            and counts == _PUBLISHED_OBJECTS
            and all(data.views == _PUBLISHED_VIEWS for data in self.splits.values())
            and self.run.resume.is_file()
            and read_state(self.run.resume)[0] >= self.experiment.fit.steps
        )
        return "SIE, as published" if as_published else self.trained.config.title

    def fingerprint(self, config: EvaluationConfig) -> dict[str, Any]:
        """What the measures of this run depend on; JSON."""
        settings = {k: v for k, v in asdict(config).items() if k not in _FREE}
        size = self.experiment.size_px
        return {
            "weights": file_digest(self.run.weights),
            "data": self.data,
            "settings": {**settings, "size_px": size},
        }


def open_run(
    run: RunFolder, *, data: Path | None = None, say: Callable[[str], None] | None = None
) -> OpenRun:
    """Open a trained run and its data.

    Args:
        run: Folder.
        data: Where its data are now; None takes the place where they were.
        say: Receives a line if listed objects are missing.

    Raises:
        DataFormatError: The run or its data are missing or damaged.
        ConventionError: The data are not those of the run.
    """
    experiment = restore_experiment(run)
    experiment = replace(experiment, data=data or experiment.data)
    if not experiment.data.is_dir():
        raise DataFormatError(
            expected="the data of the run", got="nothing there", argument=str(experiment.data),
            advice=f"If they were moved, name their new place: --data NEW_PLACE (run {run.path}).",
        )  # fmt: skip
    trained = load_trained(run.weights)
    splits: dict[str, ThreeDIEBench] = {
        name: ThreeDIEBench(experiment.data, name) for name in SPLITS
    }
    say_missing(splits.values(), say)
    found = {name: split.fingerprint() for name, split in splits.items()}
    known = read_header(run.weights).get("data", found["train"])
    if known != found["train"]:
        raise ConventionError(
            expected=f"the data that the run {run.path} was trained on, of fingerprint {known}",
            got=f"fingerprint {found['train']}", argument=str(experiment.data),
            advice="They were changed since, or are others: name the right place with --data.",
        )  # fmt: skip
    return OpenRun(run, experiment, trained, splits, found)


def evaluate_run(
    run: RunFolder | OpenRun, config: EvaluationConfig, *, images: dict[str, Tensor] | None = None
) -> dict[str, Any]:
    """Evaluate the weights of a run and write ``measures.json``.

    Args:
        run: A trained run.
        config: How.
        images: Decoded views of "train" and "val", if they are in memory already.

    Returns:
        The measures, with the ``fingerprint`` of what they depend on.
    """
    opened = run if isinstance(run, OpenRun) else open_run(run)
    train, val = (
        encode(
            opened.trained, opened.splits[name], config,
            images=(images or {}).get(name), size_px=opened.size_px,
        )
        for name in SPLITS
    )  # fmt: skip
    measures = evaluate(opened.trained, train, val, config)
    measures |= {"title": opened.title, "fingerprint": opened.fingerprint(config)}
    write_json(opened.run.path / "measures.json", measures)
    return measures


def measures_of(
    run: OpenRun, config: EvaluationConfig, *, images: dict[str, Tensor] | None = None
) -> dict[str, Any]:
    """What ``measures.json`` says, made again if weights, data or settings are others now.

    Args:
        run: A trained run.
        config: How it is evaluated.
        images: Decoded views of "train" and "val", if they are in memory already.
    """
    return kept_measures(
        run.run, run.fingerprint(config), lambda: evaluate_run(run, config, images=images)
    )


def held_out_pairs(run: OpenRun, config: EvaluationConfig) -> HeldOutPairs:
    """Fixed pairs of held-out views as the run's model sees them.

    Args:
        run: A trained run.
        config: Pairs per object, batch size, device.
    """
    val = encode(run.trained, run.splits["val"], config, size_px=run.size_px)
    o, i, j = fixed_pairs(val, config.pairs_per_object).unbind(1)
    pose_a, pose_b = val.rotations[o, i], val.rotations[o, j]
    return HeldOutPairs(
        title=run.title,
        z_a=val.z[o, i],
        z_b=val.z[o, j],
        g=val.elements(run.trained, o, i, j),
        objects=o,
        angle_deg=rotation_angle(pose_b @ pose_a.transpose(-1, -2)).rad2deg(),
        action=run.trained.action,
        fingerprint=run.fingerprint(config),
    )


def encoded_run(
    run: OpenRun, config: EvaluationConfig, *, title: str = "", images: Tensor | None = None
) -> EncodedRun:
    """A run with its model applied to the held-out views, for the report.

    Args:
        run: A trained run.
        config: Batch size and device.
        title: What it is called; its own title if not given.
        images: Decoded held-out views, if they are in memory already.
    """
    val = encode(run.trained, run.splits["val"], config, images=images, size_px=run.size_px)
    return EncodedRun(run.run, run.trained, val, title or run.title, run.size_px)


def titles_of(runs: Sequence[OpenRun]) -> list[str]:
    """Titles by which runs on one data set can be told apart.

    Args:
        runs: Of one data set.

    Raises:
        ConventionError: The runs are of several data sets, or one is there twice.
    """
    check_each_once([run.run.path for run in runs])
    if any(run.data != runs[0].data or run.size_px != runs[0].size_px for run in runs):
        sets = [f"{run.run.path} on {run.experiment.data}" for run in runs]
        raise ConventionError(
            expected="runs on one data set, views of one size", got="; ".join(sets),
            argument="runs", advice="Make a page for each data set: their numbers do not compare.",
        )  # fmt: skip
    return titles_apart(
        [run.title for run in runs],
        [run.experiment for run in runs],
        [run.run.path for run in runs],
    )


def is_published(experiment: SieExperiment) -> bool:
    """Whether network and training are SIE's as published, but for the number format."""
    model, fit = experiment.model, experiment.fit
    published = ModelConfig(method="sie", topology="sie", elements=model.elements)
    return (
        replace(model, irreps=published.irreps) == published
        and all(getattr(fit, name) == getattr(_PUBLISHED_FIT, name) for name in _FIT_NAMES)
        and experiment.size_px in (0, 256)
    )
