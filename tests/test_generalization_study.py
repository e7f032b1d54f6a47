"""The generalization study on tiny data: it resumes, refuses other settings, and sums up."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks.lie import cloud_rows, digit_rows, generalization
from benchmarks.lie import study as study_module
from benchmarks.lie.study import (
    Job,
    Study,
    mean_and_spread,
    parameters,
    restore,
    run_all,
    summary,
    train,
)
from datasets3d.digits import write_idx

TINY = ["--steps", "2", "--batch", "8", "--energy-steps", "2", "--test", "8"]


@pytest.fixture
def data(tmp_path):
    """MNIST's four files, of noise: 10,100 pictures to train on and 10,000 held out."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 20_100), ("t10k", 64)):
        pictures = rng.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        write_idx(tmp_path / "mnist" / f"{part}-images-idx3-ubyte", pictures)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        write_idx(tmp_path / "mnist" / f"{part}-labels-idx1-ubyte", labels)
    return tmp_path


class Fake(Study):
    """Counts what it is asked to do; the middle rate is the best."""

    name = "fake"
    rows = ("a", "b")
    tuning_size = 5
    steps = 3

    def __init__(self):
        self.asked = []

    @property
    def settings(self):
        return {"steps": self.steps, "radii": (1, 2)}

    def run(self, job, rate):
        self.asked.append((job.row, job.seed, rate))
        return {
            "accuracy": {"still": job.seed / 10}, "parameters": 7, "used_rate": rate,
        }  # fmt: skip

    def trial(self, job, rate):
        self.asked.append((job.row, "trial", rate))
        return {"validation": 1 - abs(rate - 3e-3)}

    def installed(self, row):
        return True


def test_runs_are_skipped_where_they_exist_and_rates_are_chosen_once(tmp_path):
    study, lines = Fake(), []
    jobs = [Job(row, 5, seed) for seed in (0, 1) for row in study.rows]
    run_all(study, tmp_path, jobs, lines.append)
    assert len(study.asked) == 6 + 4 and len(lines) == 10
    assert all(rate == 3e-3 for _, seed, rate in study.asked if seed != "trial")
    assert lines[0].startswith("1 of 10") and "left" in lines[0]
    Job("b", 5, 1).path(tmp_path).unlink()
    study.asked.clear()
    run_all(study, tmp_path, jobs, lines.append)
    assert study.asked == [("b", 1, 3e-3)]
    study.steps = 4
    with pytest.raises(SystemExit, match="other settings"):
        run_all(study, tmp_path, jobs, lines.append)


def test_a_study_goes_on_from_its_committed_table(tmp_path):
    study, jobs = Fake(), [Job(row, 5, seed) for seed in (0, 1) for row in ("a", "b")]
    run_all(study, tmp_path / "first", jobs, lambda line: None)
    rates = {row: study_module.best_rate(tmp_path / "first", row) for row in study.rows}
    table = {**summary(study, tmp_path / "first"), "rates": rates, "environment": {"torch": "2"}}
    study.asked.clear()
    restore(study, tmp_path / "second", json.loads(json.dumps(table)))
    run_all(study, tmp_path / "second", [*jobs, Job("a", 5, 2)], lambda line: None)
    assert study.asked == [("a", 2, 3e-3)]  # neither a run nor a trial again
    assert summary(study, tmp_path / "second")["rows"][1] == table["rows"][1]
    study.steps = 4
    with pytest.raises(SystemExit, match="other settings"):
        restore(study, tmp_path / "third", table)


def test_means_and_spreads(tmp_path):
    study = Fake()
    run_all(study, tmp_path, [Job("a", 5, seed) for seed in (1, 2, 6)], lambda line: None)
    (row,) = summary(study, tmp_path)["rows"]
    found = row["accuracy"]["still"]
    assert found["mean"] == pytest.approx(np.mean(found["values"])) == pytest.approx(0.3)
    assert found["std"] == pytest.approx(np.std(found["values"], ddof=1))
    assert row["seeds"] == [1, 2, 6] and row["parameters"] == 7 and row["rate"] == 3e-3
    assert mean_and_spread([0.5]) == {"mean": 0.5, "std": None, "values": [0.5]}


def test_training_learns_what_can_be_learned():
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    y = (x[:, 0] > 0).long()
    model = torch.nn.Linear(3, 2)
    seen = []

    def batch(step, rows):
        seen.append(rows)
        return x[rows], y[rows]

    loss = train(model, batch, items=64, steps=200, size=16, rate=0.05, seed=0)
    assert loss < 0.2 and not model.training
    passes = torch.stack(seen).reshape(50, 64)  # each pass shows each item once
    assert all(torch.equal(p.sort().values, torch.arange(64)) for p in passes)


def test_all_rows_have_about_as_many_weights():
    counts = [
        parameters(digit_rows.build(row))
        for row in digit_rows.ROWS
        if "canonicalization" not in row and "escnn" not in row
    ]
    assert min(counts) > 35_000 and max(counts) < 37_000
    counts = [parameters(cloud_rows.build(row, 32)) for row in cloud_rows.ROWS]
    assert min(counts) > 34_000 and max(counts) < 38_000


def test_tests_are_what_their_names_say():
    laws = digit_rows.tests()
    objects, corners = np.arange(4), np.zeros((4, 4, 2))
    assert np.allclose(laws["centred"].sample(0, objects, corners=corners), np.eye(3))
    grown = laws["scale 1.4"].sample(0, objects, corners=corners)
    assert np.allclose(grown, np.diag([1.4, 1.4, 1.0]))
    sheared = laws["shear 0.6"].sample(0, objects, corners=corners)
    assert np.allclose(sheared[:, :2, :2], [[1, 0.6], [0, 1]])
    assert set(digit_rows.MAIN) <= set(laws)


@pytest.mark.exhaustive
def test_rows_of_digits_run_and_a_table_is_written(data, capsys, monkeypatch):
    monkeypatch.setattr(digit_rows, "POSES", 6)
    monkeypatch.setattr(digit_rows.DigitStudy, "tuning_size", 100)
    monkeypatch.setattr(study_module, "RATES", (1e-3, 3e-3))
    out, results = data / "out", data / "results"
    rows = ["plain", "plain, haar 0.8 augmentation", "canonicalization"]
    common = ["digits", "--out", str(out), "--data", str(data), *TINY]
    generalization.main([*common, "--rows", *rows, "--sizes", "50", "--seeds", "0"])
    first = (out / "digits" / "plain-50-0.json").read_text()
    generalization.main([*common, "--rows", *rows, "--sizes", "50", "--seeds", "0"])
    assert (out / "digits" / "plain-50-0.json").read_text() == first
    generalization.main([*common, "--table", "--results", str(results)])
    kept = json.loads((results / "generalization_digits.json").read_text())
    assert [row["row"] for row in kept["rows"]] == rows
    assert "| plain | 35,466 | 50 | 1 |" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="unknown rows"):
        generalization.main([*common, "--rows", "nothing"])
