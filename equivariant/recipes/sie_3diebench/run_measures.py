"""Measures of runs: of which weights, on which data, by which settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from datasets3d import ThreeDIEBench
from equivariant.errors import ConventionError, DataFormatError
from equivariant.recipes.sie_3diebench.experiment import (
    SPLITS,
    ExperimentConfig,
    restore_config,
    say_missing,
)
from equivariant.recipes.sie_3diebench.models import ModelConfig, Trained, load_trained
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig, encode, evaluate
from equivariant.recipes.sie_3diebench.report import Seen
from equivariant.runs import RunFolder, file_digest, read_json, write_json
from equivariant.training import FitConfig, read_header
from equivariant.training.resume.checkpoint import read_state

_FREE = ("batch_size", "device")  # of an evaluation: they change no number
_PUBLISHED_OBJECTS, _PUBLISHED_VIEWS = (41920, 10552), 50
_PUBLISHED_FIT = FitConfig(steps=82000, batch_size=1024)
_FIT_NAMES = ("steps", "minutes", "batch_size", "learning_rate", "weight_decay", "warmup_steps",
              "schedule", "amsgrad", "gradient_clip", "average_decay")  # fmt: skip


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
    experiment: ExperimentConfig
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
    experiment = restore_config(run)
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
    path = run.run.path / "measures.json"
    measures: dict[str, Any] = read_json(path) if path.is_file() else {}
    if measures.get("fingerprint") != run.fingerprint(config):
        measures = evaluate_run(run, config, images=images)
    return measures


def see_run(
    run: OpenRun, config: EvaluationConfig, *, title: str = "", images: Tensor | None = None
) -> Seen:
    """A run with its model applied to the held-out views, for the report.

    Args:
        run: A trained run.
        config: Batch size and device.
        title: What it is called; its own title if not given.
        images: Decoded held-out views, if they are in memory already.
    """
    val = encode(run.trained, run.splits["val"], config, images=images, size_px=run.size_px)
    return Seen(run.run, run.trained, val, title or run.title, run.size_px)


def titles_apart(runs: Sequence[OpenRun]) -> list[str]:
    """Titles by which runs can be told apart: equal ones say in which settings they differ.

    Args:
        runs: Of one data set.

    Raises:
        ConventionError: The runs are of several data sets, or one is there twice.
    """
    places = [run.run.path.resolve() for run in runs]
    if len(set(places)) < len(places):
        raise ConventionError(
            expected="every run once", got=", ".join(str(place) for place in places),
            argument="runs", advice="Leave out what is there twice.",
        )  # fmt: skip
    if any(run.data != runs[0].data or run.size_px != runs[0].size_px for run in runs):
        sets = [f"{run.run.path} on {run.experiment.data}" for run in runs]
        raise ConventionError(
            expected="runs on one data set, views of one size", got="; ".join(sets),
            argument="runs", advice="Make a page for each data set: their numbers do not compare.",
        )  # fmt: skip
    titles = [run.title for run in runs]
    leaves = [settings_by_name(run.experiment) for run in runs]
    result = []
    for title, own in zip(titles, leaves, strict=True):
        same = [other for name, other in zip(titles, leaves, strict=True) if name == title]
        differ = [n for n in own if any(other.get(n) != own[n] for other in same)]
        words = ", ".join(f"{name.rpartition('.')[2]} {own[name]}" for name in differ[:3])
        result.append(f"{title} ({words})" if words else title)
    return [
        name if result.count(name) == 1 else f"{name}, {place.name}"
        for name, place in zip(result, places, strict=True)
    ]


def is_published(experiment: ExperimentConfig) -> bool:
    """Whether network and training are SIE's as published, but for the number format."""
    model, fit = experiment.model, experiment.fit
    published = ModelConfig(method="sie", topology="sie", elements=model.elements)
    return (
        replace(model, irreps=published.irreps) == published
        and all(getattr(fit, name) == getattr(_PUBLISHED_FIT, name) for name in _FIT_NAMES)
        and experiment.size_px in (0, 256)
    )


def settings_by_name(experiment: ExperimentConfig) -> dict[str, Any]:
    """What determines a run besides its data, by dotted names such as ``model.width``."""
    return _leaves(asdict(experiment))


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {} if name in ("data", "in_memory") else {name: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _leaves(item, f"{name}.{key}" if name else key)
    return found
