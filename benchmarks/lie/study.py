"""Runs of a study, one file each: skipped where they exist, summed up over seeds."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from equivariant.runs import environment, read_json, write_json

TUNING_SEED = 100  # no seed of a result
RATES = (1e-3, 3e-3, 1e-2)
RATES_FILE = "rates.json"  # of a study that goes on from a table
Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        row: Name of the method.
        size: Training items; 0 for all.
        seed: Of weights, order and training items.
        rate: First rate of Adam; None takes the best of ``RATES`` for the row.
    """

    row: str
    size: int
    seed: int
    rate: float | None = None

    def path(self, folder: Path) -> Path:
        """Its file: a result, or under ``rates`` one of the trials that choose a rate."""
        if self.rate is not None:
            return folder / "rates" / f"{self.row}-{self.rate:g}.json"
        return folder / f"{self.row}-{self.size}-{self.seed}.json"


class Study(ABC):
    """Methods that are trained and tested alike.

    Attributes:
        name: Of its folder and file.
        rows: Names of all methods, in the order of the table.
        tuning_size: Training items of the trials that choose a rate.
    """

    name: str
    rows: tuple[str, ...]
    tuning_size: int

    @property
    @abstractmethod
    def settings(self) -> Record:
        """What all runs of one folder share."""

    @abstractmethod
    def run(self, job: Job, rate: float) -> Record:
        """Train and test; accuracies in [0, 1] under ``accuracy``, by test set."""

    @abstractmethod
    def trial(self, job: Job, rate: float) -> Record:
        """Train for a quarter as long; ``validation`` is the accuracy on validation items."""

    @abstractmethod
    def installed(self, row: str) -> bool:
        """Whether the packages of a row are there."""


def run_all(study: Study, folder: Path, jobs: list[Job], report: Callable[[str], None]) -> None:
    """Run what has no file yet, saying how long the rest will take.

    Args:
        study: What to run.
        folder: Where files are; it belongs to one setting of the study.
        jobs: Results that are wanted; the trials that choose their rates run before them.
        report: Takes a line of progress.
    """
    known = folder / "settings.json"
    if known.exists() and read_json(known) != _plain(study.settings):
        raise SystemExit(f"{known} has other settings: choose another folder")
    write_json(known, study.settings)
    chosen = _chosen_before(folder)
    rows = [r for r in study.rows if r not in chosen and any(job.row == r for job in jobs)]
    trials = [Job(row, study.tuning_size, TUNING_SEED, rate) for row in rows for rate in RATES]
    every = [*trials, *jobs]
    waiting = [job for job in every if not job.path(folder).exists()]
    spent: dict[str, list[float]] = defaultdict(list)
    for job in every:
        if job.path(folder).exists():
            spent[job.row].append(_as_result(job, read_json(job.path(folder))["seconds"]))
    for done, job in enumerate(waiting, 1):
        start = time.perf_counter()
        if job.rate is None:
            record = study.run(job, best_rate(folder, job.row))
        else:
            record = study.trial(job, job.rate)
        seconds = time.perf_counter() - start
        spent[job.row].append(_as_result(job, seconds))
        record = {**vars(job), **record, "seconds": seconds, "environment": environment()}
        write_json(job.path(folder), record)
        left = _time_left(waiting[done:], spent)
        report(f"{done} of {len(waiting)}: {_said(job, record)}; {left} left")


def _as_result(job: Job, seconds: float) -> float:
    """Seconds that a result of the row would take; a trial is a quarter as long."""
    return seconds if job.rate is None else 4 * seconds


def _time_left(jobs: list[Job], spent: dict[str, list[float]]) -> str:
    mean = {row: sum(s) / len(s) for row, s in spent.items()}
    usual = sum(mean.values()) / len(mean)
    seconds = sum(mean.get(j.row, usual) * (1 if j.rate is None else 0.25) for j in jobs)
    return f"{seconds / 60:.0f} min"


def _said(job: Job, record: Record) -> str:
    if job.rate is not None:
        return f"{job.row} at rate {job.rate:g}: {record['validation']:.3f}"
    found = ", ".join(f"{k} {v:.3f}" for k, v in list(record["accuracy"].items())[:3])
    return f"{job.row}, {job.size or 'all'}, seed {job.seed}: {found} in {record['seconds']:.0f} s"


def best_rate(folder: Path, row: str) -> float:
    """The rate of the best trial of a row; of equal ones the smallest."""
    chosen = _chosen_before(folder)
    if row in chosen:
        return chosen[row]
    trials = [read_json(Job(row, 0, 0, rate).path(folder)) for rate in RATES]
    best = max(trials, key=lambda t: (t["validation"], -t["rate"]))
    return float(best["rate"])


def restore(study: Study, folder: Path, published: Record) -> None:
    """Write the files of runs that a table holds, so that a study goes on from it.

    Args:
        study: The study, with the settings of the table.
        folder: Where files are; those that exist stay as they are.
        published: What ``summary`` gave, with ``rates`` and ``environment`` beside it.

    Raises:
        SystemExit: The table was made with other settings.
    """
    if published["settings"] != _plain(study.settings):
        raise SystemExit("the published table has other settings: nothing is taken from it")
    for row in published["rows"]:
        for at, seed in enumerate(row["seeds"]):
            job = Job(row["row"], row["size"], seed)
            if not job.path(folder).exists():
                accuracies = {name: a["values"][at] for name, a in row["accuracy"].items()}
                record = {
                    **vars(job), "used_rate": row["rate"], "parameters": row["parameters"],
                    "accuracy": accuracies, "seconds": row["seconds"]["values"][at],
                    "environment": published["environment"],
                }  # fmt: skip
                write_json(job.path(folder), record)
    write_json(folder / RATES_FILE, {**published["rates"], **_chosen_before(folder)})


def _chosen_before(folder: Path) -> dict[str, float]:
    """Rates of rows whose trials a published table sums up."""
    known = folder / RATES_FILE
    return read_json(known) if known.exists() else {}


def train(
    model: nn.Module,
    batch: Callable[[int, Tensor], tuple[Tensor, Tensor]],
    *,
    items: int,
    steps: int,
    size: int,
    rate: float,
    seed: int,
) -> float:
    """Cross-entropy by Adam, the rate falling along half a cosine; evaluation mode afterwards.

    Args:
        model: Items to logits.
        batch: Step and rows to items and labels.
        items: Number of training items, shuffled anew in every pass.
        steps: Optimizer steps.
        size: Items in each.
        rate: At the start.
        seed: Of the order.

    Returns:
        Mean loss of the last tenth of the steps.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rows = _passes(items, size, torch.Generator().manual_seed(seed))
    last: list[float] = []
    model.train()
    for step in range(steps):
        x, y = batch(step, next(rows))
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step >= steps - max(steps // 10, 1):
            last.append(float(loss.detach()))
    model.eval()
    return sum(last) / len(last)


def _passes(items: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    left = torch.empty(0, dtype=torch.int64)
    while True:
        while len(left) < size:
            left = torch.cat([left, torch.randperm(items, generator=generator)])
        yield left[:size]
        left = left[size:]


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor, size: int = 100) -> float:
    """Share of items whose largest logit is their label's."""
    best = torch.cat([model(part).argmax(1) for part in x.split(size)])
    return float((best == y).double().mean())


def parameters(model: nn.Module) -> int:
    """All weights, trained with the classifier or before it."""
    return sum(p.numel() for p in model.parameters())


def summary(study: Study, folder: Path) -> Record:
    """Mean and standard deviation over seeds of every row, size and test set that has files."""
    found: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        record = read_json(path)
        if "accuracy" in record:
            found[record["row"], record["size"]].append(record)
    rows = []
    for (row, size), records in sorted(
        found.items(), key=lambda item: (item[0][1], study.rows.index(item[0][0]))
    ):
        rows.append(
            {
                "row": row,
                "size": size,
                "rate": records[0]["used_rate"],
                "parameters": records[0]["parameters"],
                "seeds": [r["seed"] for r in records],
                "seconds": mean_and_spread([r["seconds"] for r in records]),
                "accuracy": {
                    name: mean_and_spread([r["accuracy"][name] for r in records])
                    for name in records[0]["accuracy"]
                },
            }
        )
    return {"settings": read_json(folder / "settings.json"), "rows": rows}


def mean_and_spread(values: list[float]) -> Record:
    """Mean, standard deviation between seeds (None for one), and the values."""
    mean = sum(values) / len(values)
    spread = None
    if len(values) > 1:
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return {"mean": mean, "std": spread, "values": values}


def markdown(result: Record, columns: tuple[str, ...]) -> str:
    """A table of the test sets named, in percent."""
    head = ["method", "weights", "training items", "seeds", *columns, "s"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for row in result["rows"]:
        cells = [_percent(row["accuracy"][name]) for name in columns]
        size = f"{row['size']:,}" if row["size"] else "all"
        first = [row["row"], f"{row['parameters']:,}", size, str(len(row["seeds"]))]
        lines.append("| " + " | ".join([*first, *cells, f"{row['seconds']['mean']:.0f}"]) + " |")
    return "\n".join(lines)


def _percent(number: Record) -> str:
    spread = "" if number["std"] is None else f" ± {100 * number['std']:.1f}"
    return f"{100 * number['mean']:.1f}{spread}"


def _plain(settings: Record) -> Record:
    """Settings as they come back from a file: tuples are lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
