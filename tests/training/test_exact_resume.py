"""What goes on is the run that was started, exactly, or it is refused."""

import errno
import json
import os
import random
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from two_processes import Stream, make_learner

from equivariant.actions import Trivial
from equivariant.errors import ConventionError, DataFormatError, StorageError
from equivariant.groups import SO3
from equivariant.losses import FunctionTerm, Objective
from equivariant.pairs import PairBatch
from equivariant.runs import RunFolder, write_atomically, write_json
from equivariant.training import (
    FitConfig,
    PairLearner,
    TrainingStopped,
    fit,
    launch,
    load_weights,
    read_metrics,
)
from equivariant.training.learners.pairs import Learner
from equivariant.training.resume.randomness import own_randomness

CONFIG = FitConfig(steps=8, batch_size=8, accelerator="cpu", log_every=1, checkpoint_every=3)


def run_at(path):
    path.mkdir()
    write_json(path / "config.json", CONFIG)
    return RunFolder(path)


def noisy_pull(a, b, *, generator):
    """A term that draws."""
    return (torch.rand(a.shape, generator=generator, dtype=a.dtype) * (a - b).square()).mean()


class Noisy(nn.Module):
    """Draws from every global generator there is."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x):
        scale = 1 + 0.1 * np.random.rand() + 0.1 * random.random()
        return nn.functional.dropout(self.layer(x), 0.3) * scale


def drawing_learner():
    torch.manual_seed(0)
    terms = [FunctionTerm("noise", 1.0, None, noisy_pull, ("a", "b"), draws=True)]
    return PairLearner(Noisy(), Objective(terms, Trivial(4, SO3())))


class DrawnStream:
    """A stream that draws from the global generator: no function of the step by itself."""

    def stream(self, batch_size, *, start=0, rank=0, world=1):
        while True:
            a, b = torch.randn(2, batch_size, 3)
            yield PairBatch(a, b, torch.eye(3).expand(batch_size, 3, 3))


class Stopping:
    """Sends a signal while a step's batch is made."""

    def __init__(self, stream, step, number):
        self.inner, self.step, self.number = stream, step, number

    def stream(self, batch_size, *, start=0, rank=0, world=1):
        for step, batch in enumerate(self.inner.stream(batch_size, start=start), start + 1):
            if step == self.step:
                os.kill(os.getpid(), self.number)
            yield batch


def train(run, learner=None, stream=None, **options):
    config = replace(CONFIG, **options.pop("config", {}))
    return fit(
        learner or drawing_learner(), stream or DrawnStream(), config, run=run, progress=False,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_from_which_the_run_goes_on_exactly(tmp_path, number):
    whole, parts = run_at(tmp_path / "whole"), run_at(tmp_path / "parts")
    train(whole)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingStopped, match="step 5") as stopped:
        train(parts, stream=Stopping(DrawnStream(), 5, number))
    assert (stopped.value.step, stopped.value.number) == (5, number)
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    torch.manual_seed(99)  # what the process does in between is of no account
    train(parts)
    assert parts.weights.read_bytes() == whole.weights.read_bytes()
    assert parts.resume.read_bytes() == whole.resume.read_bytes()
    totals = [[m["total"] for m in read_metrics(run.metrics)] for run in (whole, parts)]
    assert totals[0] == totals[1]


def test_a_signal_at_the_last_step_ends_the_run_well(tmp_path):
    run = run_at(tmp_path / "run")
    train(run, stream=Stopping(DrawnStream(), 8, signal.SIGINT))
    assert read_metrics(run.metrics)[-1]["step"] == 8


def test_draws_depend_on_the_seed_and_leave_the_global_generators_alone(tmp_path):
    learner, run = make_learner(batch_norm=False), run_at(tmp_path / "none")
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(run, learner, Stream())
    assert torch.equal(state, torch.get_rng_state())
    assert (np.random.get_state()[1] == numbers).all()
    words = random.getstate()
    with own_randomness(torch.device("cpu")):
        random.seed(0)
    assert random.getstate() == words
    found = [
        train(run_at(tmp_path / name), seed=seed).model.layer.weight
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_terms_of_an_objective_draw_by_seed_and_step(tmp_path):
    seen = []

    def term(a, b, *, generator):
        seen.append((generator.device.type, float(torch.rand((), generator=generator))))
        return (a - b).square().mean()

    terms = [FunctionTerm("noise", 1.0, None, term, ("a", "b"), draws=True)]

    def learner():
        return PairLearner(nn.Linear(3, 4), Objective(terms, Trivial(4, SO3())))

    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(run_at(tmp_path / name), learner(), seed=seed, config={"steps": 3})
    a, b, c = seen[:3], seen[3:6], seen[6:]
    assert a == b and len({*a, *c}) == 6 and {device for device, _ in seen} == {"cpu"}


def test_another_seed_header_or_identity_is_refused_by_name(tmp_path):
    run = run_at(tmp_path / "run")
    same = {"seed": 3, "header": {"width": [4, 5]}, "identity": {"data": "abc", "size": 64}}
    train(run, **same)
    before = run.resume.read_bytes()
    for change, word in (
        ({"seed": 4}, "seed=4 instead of 3"),
        ({"header": {"width": [4, 6]}}, r"header.width=\[4, 6\] instead of"),
        ({"identity": {"data": "abd", "size": 64}}, "data='abd' instead of 'abc'"),
        ({"identity": {"data": "abc"}}, "size"),
        ({"config": {"batch_size": 4}}, "batch_size"),
    ):
        with pytest.raises(ConventionError, match=word):
            train(run, **{**same, **change})
    assert run.resume.read_bytes() == before
    header = {"width": (4, 5)}  # JSON knows no tuples
    train(run, **{**same, "header": header, "config": {"steps": 9}})
    assert read_metrics(run.metrics)[-1]["step"] == 9


def test_fewer_steps_change_a_cosine_and_are_refused(tmp_path):
    run = run_at(tmp_path / "run")
    cosine = {"schedule": "cosine"}
    with pytest.raises(TrainingStopped):
        train(run, stream=Stopping(DrawnStream(), 2, signal.SIGTERM), config=cosine)
    with pytest.raises(ConventionError, match="steps=4 instead of 8"):
        train(run, config={**cosine, "steps": 4})
    train(run, config={**cosine, "steps": 10})
    assert read_metrics(run.metrics)[-1]["step"] == 10


class Poisoned:
    """One infinite number in the batch of one step."""

    def __init__(self, step):
        self.step = step

    def stream(self, batch_size, *, start=0, rank=0, world=1):
        for step, batch in enumerate(Stream().stream(batch_size, start=start), start + 1):
            a = batch.a.clone()
            a[0, 0] = float("inf") if step == self.step else a[0, 0]
            yield replace(batch, a=a)


class Forgiving(Learner):
    """Its loss stays finite whatever the weights are, as of losses that drop invalid rows."""

    def forward(self, a, b, g, **known):
        z = self.model(a)
        return torch.where(z.isfinite(), z, 0.0 * a.nan_to_num(0, 0, 0)[:, :1]).square().mean(), {}


@pytest.mark.parametrize("log_every", [1, 100])
def test_weights_that_are_not_finite_are_never_saved(tmp_path, log_every):
    run, learner = run_at(tmp_path / "run"), Forgiving(nn.Linear(3, 1).double())
    with pytest.raises(ConventionError, match=r"(?s)model.weight.*step 5.*of step 3 is whole"):
        train(run, learner, Poisoned(5), config={"log_every": log_every})
    fresh = Forgiving(nn.Linear(3, 1).double())
    load_weights(run.weights, fresh)
    assert bool(fresh.model.weight.isfinite().all())
    assert bool(learner.model.weight.isfinite().all())


def test_weights_are_checked_before_a_probe_sees_them(tmp_path):
    learner, seen = Forgiving(nn.Linear(3, 1).double()), []
    with pytest.raises(ConventionError, match="step 1"):
        train(run_at(tmp_path / "run"), learner, Poisoned(1), probe=lambda m: seen.append(m) or {},
              config={"probe_every": 2})  # fmt: skip
    assert not seen


def test_buffers_that_are_infinite_by_design_are_saved(tmp_path):
    class Masked(nn.Linear):
        def __init__(self):
            super().__init__(3, 4)
            self.register_buffer("mask", torch.full((4,), -torch.inf))

    learner = drawing_learner()
    learner.model = Masked()
    train(run_at(tmp_path / "run"), learner)
    with torch.no_grad():
        learner.model.weight[0, 0] = torch.nan
    with pytest.raises(ConventionError, match=r"finite"):
        train(run_at(tmp_path / "other"), learner)


def test_the_last_two_checkpoints_are_kept(tmp_path):
    run, snapshots = run_at(tmp_path / "run"), {}

    def probe(model):
        snapshots[len(snapshots) + 1] = model.layer.weight.detach().clone()
        return {}

    train(run, probe=probe, config={"probe_every": 1})
    for path, step in ((run.weights, 8), (run.previous_weights, 6)):
        learner = drawing_learner()
        load_weights(path, learner)
        assert torch.equal(learner.model.layer.weight, snapshots[step])
    before = run.resume.read_bytes()
    run.resume.write_bytes(before[:50])
    with pytest.raises(DataFormatError, match="resume_previous"):
        train(run)
    os.replace(run.previous_resume, run.resume)
    train(run, config={"probe_every": 1})
    assert run.resume.read_bytes() == before


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    run = run_at(tmp_path / "run")
    train(run)
    names = ("resume.safetensors", "resume_previous.safetensors", "metrics.jsonl")
    strays = [run.path / f".{name}.x1y2z3w4" for name in names]
    strays += [run.weights.parent / ".last.safetensors.abcdefgh"]
    strays += [run.weights.parent / ".previous.safetensors.kept"]
    for stray in strays:
        stray.write_bytes(b"half")
    train(run)
    assert not any(stray.exists() for stray in strays)
    assert not list(run.path.rglob(".*"))


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["os.fsync", "os.replace"])
def test_a_full_disk_is_said_and_damages_nothing(tmp_path, monkeypatch, place):
    run = run_at(tmp_path / "run")
    train(run, config={"steps": 3})
    before = {path: path.read_bytes() for path in (run.weights, run.resume)}
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        with pytest.raises(StorageError, match=r"room to write.*No space left") as error:
            write_atomically(run.weights, b"new", keep=run.previous_weights)
        with pytest.raises(StorageError):
            train(run)
    assert error.value.errno == errno.ENOSPC and isinstance(error.value, OSError)
    assert {path: path.read_bytes() for path in before} == before
    assert not list(run.path.rglob(".*"))
    train(run)
    assert read_metrics(run.metrics)[-1]["step"] == 8


def test_a_disk_that_fills_up_while_metrics_are_written_is_said(tmp_path, monkeypatch):
    run, opened = run_at(tmp_path / "run"), type(tmp_path).open

    def open_full(self, mode="r", *arguments, **options):
        return full() if mode == "a" else opened(self, mode, *arguments, **options)

    monkeypatch.setattr(type(tmp_path), "open", open_full)
    with pytest.raises(StorageError, match="metrics"):
        train(run)


def test_other_errors_of_the_system_stay_what_they_are(tmp_path, monkeypatch):
    def denied(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.replace", denied)
    with pytest.raises(PermissionError):
        write_atomically(tmp_path / "file", b"x")


def test_a_file_is_kept_where_links_are_not_to_be_had(tmp_path, monkeypatch):
    def no_links(*arguments):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    for content in (b"one", b"two", b"three"):
        write_atomically(tmp_path / "file", content, keep=tmp_path / "before")
    assert (tmp_path / "file").read_bytes() == b"three"
    assert (tmp_path / "before").read_bytes() == b"two"
    assert len(list(tmp_path.iterdir())) == 2


def test_training_works_outside_the_main_thread(tmp_path):
    run = run_at(tmp_path / "run")
    thread = threading.Thread(target=train, args=(run,))
    thread.start()
    thread.join()
    assert read_metrics(run.metrics)[-1]["step"] == 8


def test_a_batch_that_torchruns_processes_do_not_divide_is_refused(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3",
                        "RANK": "0", "LOCAL_RANK": "0"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(ConventionError, match="3 processes that torchrun started"):
        launch(replace(CONFIG, batch_size=8))
    with pytest.raises(ConventionError, match="devices=2"):
        launch(replace(CONFIG, batch_size=12, devices=2))


def test_the_state_says_what_the_run_is(tmp_path):
    run = run_at(tmp_path / "run")
    train(run, seed=7, header={"a": 1}, identity={"data": "abc"})
    with run.resume.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        info = json.loads(json.loads(file.read(length))["__metadata__"]["info"])
    assert info["extra"]["identity"] == {"data": "abc", "header": {"a": 1}, "seed": 7}
