"""The whole way in minutes: render, train four methods, evaluate five, one page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from datasets3d import BuildConfig, ProceduralMeshes, ThreeDIEBench, TransformPairs, ViewLaw, build
from equivariant.errors import ConventionError
from equivariant.measure import ProbeConfig
from equivariant.recipes.sie_3diebench.experiment import (
    SieExperiment,
    restore_experiment,
    train,
)
from equivariant.recipes.sie_3diebench.models import ModelConfig
from equivariant.recipes.sie_3diebench.open_run import encoded_run, measures_of, open_run
from equivariant.recipes.sie_3diebench.protocol import EvaluationConfig
from equivariant.recipes.sie_3diebench.report import results_table, write_report
from equivariant.report import Table
from equivariant.runs import RunFolder, environment, read_json, write_json
from equivariant.training import FitConfig
from equivariant.workflows.measuring.kept import settings_by_name
from equivariant.workflows.rendered_views import check_batch

SMOKE_STEPS = 50  # a study of fewer steps than these shows nothing: it is taken for a smoke test
Variant = Literal["random", "supervised", "vicreg", "simclr", "sie", "sie-published", "exact"]


@dataclass(frozen=True)
class DemoConfig:
    """A small study: many asymmetric objects, few views each, small pictures.

    Args:
        instances: Procedural objects of each of the 16 classes; one in five is held out.
        views: Views of each object, at least 2.
        size_px: Side of the pictures.
        steps: Training steps of every method: the budget is the same.
        batch_size: Pairs per step.
        width: Channels of the encoder's first stage.
        methods: In the order of the table. "sie" conditions on the rotation matrix and starts at
            gain 1; "sie-published" is the paper's, which showed nothing at this budget.
        probe_epochs: Epochs of the heads that evaluate.
        probe_steps: Steps of those heads at least, whatever the number of objects.
        seed: Of weights, pairs and heads; the data set keeps its own.
        workers: Processes that render; 0 takes every core.
    """

    instances: int = 400
    views: int = 8
    size_px: int = 32
    steps: int = 600
    batch_size: int = 256
    width: int = 16
    methods: tuple[Variant, ...] = ("random", "supervised", "simclr", "sie", "exact")
    probe_epochs: int = 40
    probe_steps: int = 800
    seed: int = 0
    workers: int = 0

    @property
    def law(self) -> ViewLaw:
        """3DIEBench's law of rotation, floor and light, through a lens that fills the picture."""
        return ViewLaw(field_of_view_rad=0.42)

    def model(self, variant: Variant) -> ModelConfig:
        """The network of one method."""
        common = ModelConfig(width=self.width, projector=(256, 256, 256))
        if variant == "sie":
            return replace(common, conditioning="matrix", gain=1.0)
        return common if variant == "sie-published" else replace(common, method=variant)

    @property
    def fit(self) -> FitConfig:
        """Training, the same for every method."""
        return FitConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            accelerator="cpu",
            log_every=20,
            probe_every=max(1, self.steps // 8),
            checkpoint_every=200,
        )

    @property
    def evaluation(self) -> EvaluationConfig:
        """Heads, the same for every method."""
        return EvaluationConfig(
            probe=ProbeConfig(
                epochs=self.probe_epochs, hidden=256, seed=self.seed, min_steps=self.probe_steps
            ),
        )


def smoke_study(steps: int) -> DemoConfig:
    """A tiny study that shows that everything works: its numbers mean nothing.

    Args:
        steps: Training steps of every method.
    """
    return DemoConfig(
        instances=5, views=3, steps=steps, batch_size=32, width=4, probe_epochs=1, probe_steps=20
    )


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Args:
        report: The page.
        table: The one table.
        seconds: Wall time of the stages, by name.
    """

    report: Path
    table: Table
    seconds: dict[str, float] = field(default_factory=dict)


def run_demo(
    out: Path, config: DemoConfig, *, say: Callable[[str], None], progress: bool = True
) -> DemoResult:
    """Render a data set, train and evaluate every method, write one page.

    A demo that was interrupted goes on where it stopped.

    Args:
        out: Folder for data, runs and report.
        config: Sizes and budget.
        say: Receives one line per stage.
        progress: Show bars on stderr.

    Returns:
        The page and the table.

    Raises:
        ConventionError: The folder holds a demo with other settings, or a batch is larger than
            the data.
    """
    clock = _Clock(say)
    with clock.stage("rendering the data set"):
        build_data(out / "data", config, progress=progress)
    with clock.stage("reading it"):
        images = {
            split: torch.from_numpy(ThreeDIEBench(out / "data", split).load_images())
            for split in ("train", "val")
        }
    check_batch(len(images["train"]), config.batch_size, option="--batch-size")
    runs = []
    for method in config.methods:
        with clock.stage(f"{method}: training and evaluating"):
            runs.append(run_method(out, method, config, images=images, progress=progress))
    with clock.stage("writing the page"):
        encoded = [
            encoded_run(open_run(run), config.evaluation, images=images["val"]) for run in runs
        ]
        lead = (
            f"{len(images['train'])} training objects, {len(images['val'])} held out, "
            f"{config.views} views each, {config.size_px} px; {config.steps} steps of "
            f"{config.batch_size} pairs per method, seed {config.seed}. One seed shows no spread."
        )
        page = out / "report.html"
        sheet = (out / "data" / "contact_sheet.png").read_bytes()
        write_report(
            page,
            encoded,
            title="Invariant and equivariant views of 3D objects",
            lead=lead,
            sheet=sheet,
        )
    table = results_table([read_json(run.path / "measures.json") for run in runs])
    return DemoResult(report=page, table=table, seconds=clock.seconds)


def build_data(folder: Path, config: DemoConfig, *, progress: bool = True) -> None:
    """Render the demo's data set."""
    build(
        ProceduralMeshes(instances=config.instances),
        folder,
        config=BuildConfig(views=config.views, size_px=config.size_px, law=config.law),
        workers=config.workers or None,
        progress=progress,
    )


def run_method(
    out: Path,
    method: Variant,
    config: DemoConfig,
    *,
    images: dict[str, Tensor],
    progress: bool = True,
) -> RunFolder:
    """Train and evaluate one method; what is done already, with these settings, is kept.

    Args:
        out: Folder with ``data``; the run goes to ``runs/<method>-seed<seed>``.
        method: Which.
        config: Sizes and budget.
        images: Decoded views of "train" and "val".
        progress: Show a bar on stderr.

    Raises:
        ConventionError: The folder holds a run with other settings.
    """
    experiment = SieExperiment(
        data=(out / "data").resolve(),
        model=config.model(method),
        fit=config.fit,
        seed=config.seed,
    )
    run = RunFolder(out / "runs" / f"{method}-seed{config.seed}")
    check_settings(run, experiment)
    write_json(run.path / "config.json", experiment)
    write_json(run.path / "environment.json", environment())
    dataset = ThreeDIEBench(out / "data", "train")
    pairs = TransformPairs(
        dataset, convention=experiment.model.convention, seed=config.seed, images=images["train"]
    )
    train(experiment, run, pairs=pairs, progress=progress)
    measures_of(open_run(run), config.evaluation, images=images)
    return run


def check_settings(run: RunFolder, experiment: SieExperiment) -> None:
    """Raise ConventionError if a folder holds a run with other settings.

    Args:
        run: The folder; it may be empty.
        experiment: Settings now. The place of the data may be another.
    """
    if not (run.path / "config.json").is_file():
        return
    now, before = settings_by_name(experiment), settings_by_name(restore_experiment(run))
    wrong = [f"{n} {now[n]} instead of {before[n]}" for n in now if now[n] != before[n]]
    if wrong:
        raise ConventionError(
            expected="the settings the demo in this folder was started with",
            got=", ".join(wrong[:4]), argument=str(run.path),
            advice="Choose another folder with --out, or take those settings.",
        )  # fmt: skip


def aggregate(out: Path, seeds: Sequence[int], config: DemoConfig) -> dict[str, Any]:
    """Mean and spread over seeds of every number in the table, by method."""
    result: dict[str, Any] = {}
    for method in config.methods:
        paths = [out / "runs" / f"{method}-seed{seed}" / "measures.json" for seed in seeds]
        rows = [headline(read_json(path)) for path in paths]
        result[method] = {name: _spread([row[name] for row in rows]) for name in rows[0]}
    return result


def _spread(values: list[float]) -> dict[str, Any]:
    """Mean, standard deviation and values, for JSON."""
    tensor = torch.tensor(values, dtype=torch.float64)
    deviation = float(tensor.std()) if len(values) > 1 else 0.0
    return {"mean": float(tensor.mean()), "std": deviation, "values": values}


def headline(measures: dict[str, Any]) -> dict[str, float]:
    """The numbers of one run that stand in the table, by name."""
    part = measures["parts"]["all"]
    score = part["rotation"]["score"]
    row = {
        "top1": part["classification"]["top1"],
        "rotation_r2_flat": score["r2_flat"],
        "rotation_r2": score["r2"],
        "median_deg": part["rotation"]["median_deg"],
        "color_r2": part["color"]["r2"],
    }
    if "retrieval" in measures:
        row |= {"mrr": measures["retrieval"]["mrr"], "h1": measures["retrieval"]["hits"]["1"]}
        row |= {"pre": measures["pre"]["pre"]}
    return row


def with_seed(config: DemoConfig, seed: int) -> DemoConfig:
    """The same study with weights, pairs and heads of another seed; the data set stays."""
    return replace(config, seed=seed)


class _Clock:
    """Says which stage of the demo begins, and remembers how long each took."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._say = say

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say that a stage begins, and time what happens inside."""
        self._say(f"{name} ...")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)
