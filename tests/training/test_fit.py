"""Exact resume, damaged files, schedules, several processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from two_processes import Stream, make_learner

from equivariant.errors import ConventionError, DataFormatError
from equivariant.runs import RunFolder, read_json, write_json
from equivariant.training import (
    FitConfig,
    Recorder,
    fit,
    load_weights,
    read_header,
    read_metrics,
    save_weights,
)
from equivariant.training.schedule import learning_rate

CONFIG = FitConfig(steps=6, batch_size=8, accelerator="cpu", log_every=1, checkpoint_every=2,
                   schedule="cosine", warmup_steps=2, probe_every=3)  # fmt: skip


def run_at(path):
    path.mkdir()
    write_json(path / "config.json", CONFIG)
    return RunFolder(path)


def train(run, **changes):
    learner = make_learner(batch_norm=True)
    probe = lambda model: {"mean": float(next(model.parameters()).detach().mean())}  # noqa: E731
    return fit(learner, Stream(), replace(CONFIG, **changes), run=run, probe=probe, progress=False)


def logged(run):
    return [
        {k: v for k, v in m.items() if k != "steps_per_second"} for m in read_metrics(run.metrics)
    ]


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    whole, parts = run_at(tmp_path / "whole"), run_at(tmp_path / "parts")
    train(whole)

    class Killed(Stream):
        def stream(self, batch_size, *, start=0, rank=0, world=1):
            for step, batch in enumerate(super().stream(batch_size, start=start), start):
                if step == 5:
                    raise KeyboardInterrupt
                yield batch

    with pytest.raises(KeyboardInterrupt):
        fit(make_learner(batch_norm=True), Killed(), CONFIG, run=parts, progress=False)
    train(parts)
    assert parts.weights.read_bytes() == whole.weights.read_bytes()
    assert parts.resume.read_bytes() == whole.resume.read_bytes()
    assert [m for m in logged(parts) if "total" in m] == [m for m in logged(whole) if "total" in m]
    other = run_at(tmp_path / "other")
    train(other, learning_rate=2e-3)
    assert other.weights.read_bytes() != whole.weights.read_bytes()


def test_a_finished_run_can_be_continued_but_not_changed(tmp_path):
    run = run_at(tmp_path / "run")
    train(run, schedule="constant")
    with pytest.raises(ConventionError, match="learning_rate"):
        train(run, schedule="constant", learning_rate=0.1)
    train(run, schedule="constant", steps=8)
    assert logged(run)[-1]["step"] == 8


def test_damaged_and_foreign_files_are_refused_by_name(tmp_path):
    run = run_at(tmp_path / "run")
    learner = train(run)
    run.resume.write_bytes(run.resume.read_bytes()[:100])
    with pytest.raises(DataFormatError, match=r"resume\.safetensors"):
        train(run)
    save_weights(run.resume, learner, header={})
    with pytest.raises(DataFormatError, match=r"resume\.safetensors"):
        train(run)
    wide = make_learner(batch_norm=True, width=7)
    before = [p.clone() for p in wide.parameters()]
    with pytest.raises(DataFormatError, match=r"last\.safetensors.*in the file"):
        load_weights(run.weights, wide)
    assert all(torch.equal(a, b) for a, b in zip(before, wide.parameters(), strict=True))
    with pytest.raises(DataFormatError, match="absent"):
        read_header(tmp_path / "absent.safetensors")


def test_weights_and_header_return(tmp_path):
    learner = make_learner(batch_norm=True)
    save_weights(tmp_path / "w.safetensors", learner, header={"width": 5, "labels": ["a"]})
    other = make_learner(batch_norm=True, seed=1)
    assert load_weights(tmp_path / "w.safetensors", other) == {"width": 5, "labels": ["a"]}
    for a, b in zip(learner.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert list(tmp_path.iterdir()) == [tmp_path / "w.safetensors"]


def test_a_diverging_run_stops(tmp_path):
    with pytest.raises(ConventionError, match="not finite"):
        train(run_at(tmp_path / "run"), learning_rate=1e200, warmup_steps=0)


def test_settings_are_checked():
    with pytest.raises(ConventionError, match="batch_size=9"):
        FitConfig(batch_size=9, devices=2)
    with pytest.raises(ConventionError, match="steps=0"):
        FitConfig(steps=0)


def test_schedules():
    rates = [learning_rate(s, peak=1.0, steps=12, warmup=2, schedule="cosine") for s in range(12)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[2] == 1.0
    assert rates[7] == pytest.approx(0.5)
    assert all(a >= b for a, b in pairwise(rates[2:]))
    assert learning_rate(9, peak=0.3, steps=10, warmup=0, schedule="constant") == 0.3


def test_recorder_survives_a_cut_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    Recorder(path).record(1, {"a": 1.0})
    Recorder(path, start=1).record(2, {"a": float("inf")})
    with path.open("a") as file:
        file.write('{"step": 3, "a')
    assert [m["step"] for m in read_metrics(path)] == [1, 2]
    Recorder(path, start=1)
    assert [m["step"] for m in read_metrics(path)] == [1]


def test_run_folders(tmp_path):
    run = RunFolder.create(tmp_path, "sie", config=CONFIG, command=["equivariant", "train", "data"])
    assert (run.path / "command.txt").read_text() == "equivariant\ntrain\ndata\n"
    assert read_json(run.path / "config.json")["steps"] == 6
    assert "torch" in read_json(run.path / "environment.json")
    assert RunFolder.open(run.path) == run
    with pytest.raises(DataFormatError, match="nothing there"):
        RunFolder.open(tmp_path / "absent")
    with pytest.raises(DataFormatError, match="name"):
        RunFolder.create(tmp_path, "a/b", config=CONFIG)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataFormatError, match=r"broken\.json"):
        read_json(tmp_path / "broken.json")


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path, free_port):
    """The script trains the same model alone and under a launcher with two processes."""
    script = Path(__file__).with_name("two_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--master-port", str(free_port)]
    for name, command in (("one", [sys.executable]), ("two", launcher)):
        arguments = [str(script), str(tmp_path / name), "2" if name == "two" else "1"]
        subprocess.run([*command, *arguments], check=True, env=environment, capture_output=True)
    one, two = (json.loads((tmp_path / n / "weights.json").read_text()) for n in ("one", "two"))
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(
            torch.tensor(two[key]), torch.tensor(one[key]), atol=1e-9, rtol=1e-9
        )


class OneInfinity(Stream):
    """A stream whose third batch has one number that is infinite."""

    def stream(self, batch_size, *, start=0, rank=0, world=1):
        batches = super().stream(batch_size, start=start, rank=rank, world=world)
        for step, batch in enumerate(batches, 1):
            if step == 3:
                batch.tensors()["a"][0, 0] = float("inf")
            yield batch


def test_a_gradient_that_is_not_finite_stops_before_it_is_used(tmp_path):
    learner = make_learner(batch_norm=True)
    quiet = replace(CONFIG, log_every=100, checkpoint_every=100, probe_every=0)
    with pytest.raises(
        ConventionError, match=r"finite gradients.*at step 3.*still those of step 2"
    ):
        fit(learner, OneInfinity(), quiet, run=run_at(tmp_path / "run"), progress=False)
    assert all(bool(p.isfinite().all()) for p in learner.parameters())
