"""The statistics of a comparison, and the form of its record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.mechanisms import (
    cluster_weights,
    geodesic,
    redundant_views,
    rocket,
    shapes,
    soft_targets,
    varieties,
)
from benchmarks.mechanisms.__main__ import FIRST_SEED, main
from benchmarks.mechanisms.experiment import (
    ARMS,
    CONDITIONS,
    RATES,
    VALIDATION_SEED,
    Arm,
    Condition,
    Experiment,
    Numbers,
    mean_and_deviation,
    paired_difference,
    run_experiment,
    verdict,
)
from benchmarks.mechanisms.graphs import node_scene
from benchmarks.mechanisms.registry import EXPERIMENTS
from benchmarks.mechanisms.report import table
from benchmarks.mechanisms.tokens import messages_of_views, regions_of_objects
from benchmarks.mechanisms.training import Run
from equivariant.runs import read_json, write_json


def test_mean_and_deviation_in_closed_form() -> None:
    assert mean_and_deviation([1.0, 2.0, 3.0, 4.0]) == pytest.approx((2.5, math.sqrt(5 / 3)))
    mean, deviation = mean_and_deviation([7.0])
    assert mean == 7.0 and math.isnan(deviation)


def test_paired_difference_in_closed_form() -> None:
    # differences 1, 2, 3: mean 2, standard deviation 1, standard error 1/√3
    up = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], higher=True)
    assert up.values == (1.0, 2.0, 3.0)
    assert (up.mean, up.standard_error) == pytest.approx((2.0, 1 / math.sqrt(3)))
    assert up.helps
    down = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], higher=False)
    assert down.mean == -up.mean and not down.helps


def test_pairing_removes_what_seeds_share() -> None:
    baseline = [0.0, 10.0, 20.0, 30.0, 40.0]
    difference = paired_difference([b + 0.1 for b in baseline], baseline, higher=True)
    assert difference.standard_error < 1e-9 and difference.helps


def test_two_standard_errors_are_the_border() -> None:
    # the standard error of 1 + d, 1 - d, 1 + d, 1 - d is d √(4/3) / 2
    for spread, helps in ((0.8, True), (0.9, False)):
        values = [1 + spread, 1 - spread, 1 + spread, 1 - spread]
        difference = paired_difference(values, [0.0] * 4, higher=True)
        assert difference.standard_error == pytest.approx(spread * math.sqrt(4 / 3) / 2)
        assert difference.helps is helps


def test_one_seed_proves_nothing() -> None:
    assert not paired_difference([2.0], [1.0], higher=True).helps


def test_verdicts() -> None:
    gain = paired_difference([1.0, 1.1], [0.0, 0.0], higher=True)
    none = paired_difference([1.0, -1.0], [0.0, 0.0], higher=True)
    assert verdict(gain, none) == "helps"
    assert verdict(gain, gain) == "control violated"
    assert verdict(none, none) == verdict(none, gain) == "no gain"


def invented(calls: list[tuple[Condition, Arm, Run]], *, shared: bool) -> Experiment:
    """Scores in closed form: the mechanism gains 1 with the structure; 3e-3 suits the baseline."""

    def measure(condition: Condition, arm: Arm, run: Run) -> Numbers:
        calls.append((condition, arm, run))
        gain = float(arm == "mechanism" and condition == "planted")
        return {"score": run.seed + gain + 0.01 * run.seed * gain - abs(run.rate - 3e-3)}

    return Experiment(
        "invented", "A against B", "structure", "none", "score", True, 7, measure, shared
    )


@pytest.mark.parametrize("shared", [False, True])
def test_protocol(shared: bool) -> None:
    calls: list[tuple[Condition, Arm, Run]] = []
    lines: list[str] = []
    record = run_experiment(invented(calls, shared=shared), range(3), report=lines.append)
    planted, control = record["conditions"]["planted"], record["conditions"]["control"]
    assert planted["rate"] == control["rate"] == 3e-3
    assert planted["difference"].mean == pytest.approx(1.01) and planted["difference"].helps
    assert control["difference"].values == (0.0, 0.0, 0.0)
    assert record["verdict"] == "helps"
    assert record["gain_over_control"].mean == pytest.approx(1.01)
    validation = [call for call in calls if call[2].seed == VALIDATION_SEED]
    assert {arm for _, arm, _ in validation} == {"baseline"}  # the mechanism is not tuned
    assert len(validation) == len(RATES) * (1 if shared else 2)
    reported = [call for call in calls if call[2].seed != VALIDATION_SEED]
    assert len(reported) == len(lines) == 3 * (3 if shared else 4)
    assert {run.steps for _, _, run in calls} == {7}


def test_the_validation_seed_is_none_of_the_reported() -> None:
    with pytest.raises(ValueError, match="learning rate"):
        run_experiment(invented([], shared=False), [VALIDATION_SEED])


def test_table(tmp_path: Path) -> None:
    record = run_experiment(invented([], shared=True), range(3), report=lambda line: None)
    write_json(tmp_path / "record.json", record)
    lines = table({"invented": read_json(tmp_path / "record.json")}).splitlines()
    assert len(lines) == 3 and len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| A against B | score ↑ | 1.000 ± 1.000 | 2.010 ± 1.010 | 1.010")
    assert lines[2].endswith("| helps |")


@pytest.mark.usefixtures("few_objects")
def test_command_writes_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mechanisms.json"
    main(["look", "--seeds", "2", "--steps", "2", "--out", str(out)])
    stored = json.loads(out.read_text())
    assert stored["validation_seed"] == VALIDATION_SEED and stored["rates"] == list(RATES)
    record = stored["experiments"]["look"]
    assert {"title", "planted", "control", "metric", "seeds", "steps", "verdict"} <= set(record)
    assert record["seeds"] == [FIRST_SEED, FIRST_SEED + 1] and record["steps"] == 2
    assert "torch" in record["environment"]
    for condition in record["conditions"].values():
        assert set(condition["arms"]) == {"baseline", "mechanism"}
        assert {"mean", "standard_error", "values", "helps"} == set(condition["difference"])
        for numbers in condition["arms"].values():
            assert len(numbers[record["metric"]]["values"]) == 2
    assert "LOOK (nearest" in capsys.readouterr().out
    main(["--table", "--out", str(out)])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_command_refuses_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["no-such-mechanism", "--out", str(tmp_path / "x.json")])


@pytest.fixture
def few_objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Five objects of each class, three to train on."""
    monkeypatch.setattr(shapes, "TRAIN", 3)
    monkeypatch.setattr(shapes, "HELD_OUT", 2)
    monkeypatch.setattr(soft_targets, "TEACHING", 2)
    monkeypatch.setattr(messages_of_views, "TEACHING", 2)
    monkeypatch.setattr(regions_of_objects, "INSTANCES", 6)
    cached = (
        shapes.shapes, soft_targets.teacher, cluster_weights.clusterings, geodesic.geodesics,
        redundant_views.pool, node_scene.node_scene,
        messages_of_views.frame_encoder, regions_of_objects.things,
        rocket.without, varieties.without,
    )  # fmt: skip
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.mark.usefixtures("few_objects")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_arm_runs_and_repeats(name: str) -> None:
    experiment = EXPERIMENTS[name]
    assert experiment.name == name
    run = Run(0, 1e-3, 2)
    for condition in CONDITIONS:
        for arm in ARMS:
            numbers = experiment.measure(condition, arm, run)
            assert math.isfinite(numbers[experiment.metric])
    assert experiment.measure(condition, arm, run) == numbers
