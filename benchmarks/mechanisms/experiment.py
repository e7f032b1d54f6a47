"""Two arms, two conditions, several seeds: what a mechanism is worth, and when it is not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.mechanisms.training import Run

Condition = Literal["planted", "control"]
Arm = Literal["baseline", "mechanism"]
Numbers = dict[str, float]

CONDITIONS: tuple[Condition, ...] = ("planted", "control")
ARMS: tuple[Arm, ...] = ("baseline", "mechanism")
VALIDATION_SEED = 1000  # chooses the learning rate, and is none of the seeds that are reported
RATES = (1e-3, 3e-3)


@dataclass(frozen=True)
class Experiment:
    """One mechanism against its baseline.

    Args:
        name: Word on the command line.
        title: Mechanism against baseline.
        planted: The structure in the data that the mechanism must find.
        control: What is taken away, so that it must not help.
        metric: Which number of ``measure`` decides.
        higher: Whether more of it is better.
        steps: Optimizer steps of every run, of both arms alike.
        measure: Trains one arm in one condition and returns its numbers on held-out data.
        shared_baseline: Whether the control changes nothing in the baseline, whose runs then
            serve both conditions.
    """

    name: str
    title: str
    planted: str
    control: str
    metric: str
    higher: bool
    steps: int
    measure: Callable[[Condition, Arm, Run], Numbers]
    shared_baseline: bool = False


@dataclass(frozen=True)
class Difference:
    """Paired difference over seeds, in the direction in which positive is better.

    Args:
        mean: Mean over seeds.
        standard_error: Standard deviation (divisor n - 1) over √n; NaN for one seed.
        values: One per seed.
        helps: Whether the mean is more than two standard errors above zero.
    """

    mean: float
    standard_error: float
    values: tuple[float, ...]
    helps: bool


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation with divisor n - 1 (NaN for one value)."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def paired_difference(
    mechanism: Sequence[float], baseline: Sequence[float], *, higher: bool
) -> Difference:
    """Mechanism minus baseline seed by seed; the other way round where less is better."""
    sign = 1.0 if higher else -1.0
    values = tuple(sign * (m - b) for m, b in zip(mechanism, baseline, strict=True))
    mean, deviation = mean_and_deviation(values)
    error = deviation / math.sqrt(len(values))
    return Difference(mean, error, values, helps=mean > 2.0 * error)


def verdict(planted: Difference, control: Difference) -> str:
    """``helps`` when the mechanism does so with the planted structure and not without it."""
    if not planted.helps:
        return "no gain"
    return "control violated" if control.helps else "helps"


def choose_rate(experiment: Experiment, condition: Condition, steps: int) -> tuple[float, Numbers]:
    """The rate at which the *baseline* does best on the validation seed; both arms use it."""
    scores = {}
    for rate in RATES:
        numbers = experiment.measure(condition, "baseline", Run(VALIDATION_SEED, rate, steps))
        scores[f"{rate:g}"] = numbers[experiment.metric]
    best = max if experiment.higher else min
    chosen = best(RATES, key=lambda rate: scores[f"{rate:g}"])
    return chosen, scores


def run_experiment(
    experiment: Experiment,
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Every arm in both conditions with every seed.

    Args:
        experiment: What to run.
        seeds: Which seeds; VALIDATION_SEED must not be among them.
        steps: Instead of the experiment's own number of steps.
        report: Told of every run.

    Returns:
        The record of the experiment as it stands in the results.

    Raises:
        ValueError: The validation seed is among the seeds.
    """
    if VALIDATION_SEED in seeds:
        raise ValueError(f"seed {VALIDATION_SEED} chooses the learning rate: take another")
    steps = experiment.steps if steps is None else steps
    began, conditions = time.perf_counter(), {}
    for condition in CONDITIONS:
        if condition == "control" and experiment.shared_baseline:
            source = conditions["planted"]
            rate, scores = source["rate"], source["validation"]
            baseline = source["arms"]["baseline"]
        else:
            rate, scores = choose_rate(experiment, condition, steps)
            baseline = None
        arms = {}
        for arm in ARMS:
            if arm == "baseline" and baseline is not None:
                arms[arm] = baseline
                continue
            arms[arm] = []
            for seed in seeds:
                numbers = experiment.measure(condition, arm, Run(seed, rate, steps))
                arms[arm].append(numbers)
                shown = ", ".join(f"{key} {value:.3f}" for key, value in numbers.items())
                report(f"{experiment.name} {condition} {arm} seed {seed}: {shown}")
        conditions[condition] = {"rate": rate, "validation": scores, "arms": arms}
    seconds = time.perf_counter() - began
    return _record(experiment, list(seeds), steps, conditions, seconds)


def _record(
    experiment: Experiment,
    seeds: list[int],
    steps: int,
    conditions: dict[str, dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    differences = {}
    for name, condition in conditions.items():
        arms = condition["arms"]
        condition["arms"] = {arm: _summary(runs) for arm, runs in arms.items()}
        metric = {arm: [run[experiment.metric] for run in runs] for arm, runs in arms.items()}
        differences[name] = paired_difference(
            metric["mechanism"], metric["baseline"], higher=experiment.higher
        )
        condition["difference"] = differences[name]
    planted, control = differences["planted"], differences["control"]
    return {
        "title": experiment.title,
        "planted": experiment.planted,
        "control": experiment.control,
        "metric": experiment.metric,
        "higher_is_better": experiment.higher,
        "seeds": seeds,
        "steps": steps,
        "conditions": conditions,
        "gain_over_control": paired_difference(planted.values, control.values, higher=True),
        "verdict": verdict(planted, control),
        "seconds": seconds,
    }


def _summary(runs: list[Numbers]) -> dict[str, Any]:
    result = {}
    for key in runs[0]:
        values = [run[key] for run in runs]
        mean, deviation = mean_and_deviation(values)
        result[key] = {"mean": mean, "std": deviation, "values": values}
    return result
