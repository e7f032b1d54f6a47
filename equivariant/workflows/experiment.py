"""Run an experiment of any recipe: a folder for it, training in it, settings that stay true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from lightning_fabric import Fabric

from equivariant.errors import DataFormatError
from equivariant.runs import RunFolder, read_json, write_json
from equivariant.training import FitConfig, TrainingStopped
from equivariant.training.resume.agreement import FREE
from equivariant.training.resume.checkpoint import read_state
from equivariant.workflows.recipe import Recipe

S = TypeVar("S")


def new_run(settings: Any, *, runs: Path, name: str = "", fabric: Fabric) -> RunFolder:
    """Make the folder of a new run, one for all processes.

    Args:
        settings: Of the run, kept in its ``config.json``.
        runs: Under which folder; usually ``runs``.
        name: Of the run; the settings' ``run_name`` if not given.
        fabric: Processes that are started already.
    """
    path = ""
    if fabric.is_global_zero:
        path = str(RunFolder.create(runs, name or settings.run_name, config=settings).path)
    return RunFolder(Path(fabric.broadcast(path)))


def saved_settings(
    run: RunFolder, kind: Callable[..., S], *, what: str, **readers: Callable[[Any], Any]
) -> S:
    """The settings that a run was started with, from its ``config.json``.

    Args:
        run: The run.
        kind: Class of the settings. Its ``data`` is a path, its ``fit`` a ``FitConfig``.
        what: What the run is on, in words, for the error.
        readers: By name of a field, what makes its value of what JSON has.

    Raises:
        DataFormatError: They are missing, damaged, or of another version.
    """
    path = run.path / "config.json"
    saved = read_json(path)
    every: dict[str, Callable[[Any], Any]] = {
        "data": Path,
        "fit": lambda fit: FitConfig(**fit),
        **readers,
    }
    try:
        read = {name: reader(saved[name]) for name, reader in every.items()}
        plain = {name: value for name, value in saved.items() if name != "recipe"}
        return kind(**{**plain, **read})
    except (KeyError, TypeError) as error:
        raise DataFormatError(
            expected=f"the settings of a run on {what}", got=f"{type(error).__name__}: {error}",
            argument=str(path), advice="Resume with the version that started the run.",
        ) from error  # fmt: skip


def train_in(
    run: RunFolder,
    recipe: Recipe,
    settings: Any,
    *,
    fabric: Fabric,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> None:
    """Train in a run folder, which keeps these settings once training has begun.

    Args:
        run: A new run, or one that goes on.
        recipe: Whose.
        settings: Of this part of the run.
        fabric: Processes that are started already.
        progress: Show a bar on stderr.
        say: Receives lines for the user, in the first process only.

    Raises:
        TrainingStopped: A signal asked for it; there is a checkpoint to go on from.
    """

    def keep() -> None:
        if fabric.is_global_zero:
            write_json(run.path / "config.json", settings)

    voice = say if fabric.is_global_zero else None
    try:
        recipe.train(settings, run, fabric=fabric, progress=progress, say=voice)
    except TrainingStopped:
        keep()
        raise
    keep()


def latest_settings(recipe: Recipe, run: RunFolder) -> Any:
    """Settings of a run with the end that its last part had: that may have been raised.

    Args:
        recipe: Whose run it is.
        run: Its folder.

    Raises:
        DataFormatError: The settings are missing, damaged, or of another version.
    """
    settings = recipe.restore(run)
    return replace(settings, fit=_with_ends(settings.fit, run))


def _with_ends(fit: FitConfig, run: RunFolder) -> FitConfig:
    """Settings of training with the steps and minutes of the last part of the run."""
    if not run.resume.is_file():
        return fit
    extra = read_state(run.resume)[1]
    return replace(fit, **{name: extra[name] for name in FREE if name in extra})
