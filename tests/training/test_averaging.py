"""Averages of weights, clipped gradients, budgets of time, potentials: alone and in the loop."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from equivariant.errors import ConventionError
from equivariant.runs import RunFolder, write_json
from equivariant.training import (
    FitConfig,
    Learner,
    PotentialLearner,
    WeightAverage,
    fit,
    load_weights,
    read_metrics,
)
from equivariant.training.resume.checkpoint import load_state, save_state
from equivariant.training.schedule import learning_rate

CONFIG = FitConfig(steps=8, batch_size=4, accelerator="cpu", log_every=1, checkpoint_every=3,
                   learning_rate=0.05, schedule="cosine", average_decay=0.9, gradient_clip=0.5,
                   amsgrad=True, weight_decay=0.0)  # fmt: skip


class Numbers:
    """A batch that is no pair."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def to(self, device=None):
        return Numbers(self.x.to(device), self.y.to(device))

    def tensors(self):
        return {"x": self.x, "y": self.y}


class Stream:
    def stream(self, batch_size, *, start=0, rank=0, world=1):
        step = start
        while True:
            g = torch.Generator().manual_seed(step)
            x = torch.randn(batch_size, 3, generator=g)
            yield Numbers(x, x.sum(1, keepdim=True) + 1)
            step += 1


class Regression(Learner):
    def forward(self, x, y):
        return 100 * (self.model(x) - y).square().mean(), {}


def make(seed=0):
    torch.manual_seed(seed)
    return Regression(nn.Linear(3, 1))


def run_at(path):
    path.mkdir()
    write_json(path / "config.json", CONFIG)
    return RunFolder(path)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_the_average_is_the_recursion_written_out():
    layer = nn.Linear(2, 1)
    average = WeightAverage(layer, decay=0.6)
    expected = weights(layer).double()
    for t in range(1, 8):
        with torch.no_grad():
            for p in layer.parameters():
                p.add_(torch.randn_like(p))
        average.update(layer)
        d = min(0.6, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * weights(layer).double()
    before = weights(layer)
    with average.applied(layer):
        assert torch.allclose(weights(layer).double(), expected, atol=1e-6)
    assert torch.equal(weights(layer), before)
    with pytest.raises(RuntimeError), average.applied(layer):
        raise RuntimeError
    assert torch.equal(weights(layer), before)
    for decay in (0.0, 1.0, -1.0):
        with pytest.raises(ConventionError):
            WeightAverage(layer, decay=decay)


def test_resumed_runs_with_averages_are_the_uninterrupted_ones(tmp_path):
    whole, parts = run_at(tmp_path / "whole"), run_at(tmp_path / "parts")
    seen = []
    probe = lambda model: seen.append(weights(model)) or {}  # noqa: E731
    settings = replace(CONFIG, probe_every=8)
    done = fit(make(), Stream(), settings, run=whole, probe=probe, progress=False)

    class Killed(Stream):
        def stream(self, batch_size, *, start=0, rank=0, world=1):
            for step, batch in enumerate(super().stream(batch_size, start=start), start):
                if step == 5:
                    raise KeyboardInterrupt
                yield batch

    with pytest.raises(KeyboardInterrupt):
        fit(make(), Killed(), settings, run=parts, progress=False)
    fit(make(), Stream(), settings, run=parts, progress=False)
    assert parts.weights.read_bytes() == whole.weights.read_bytes()
    assert parts.resume.read_bytes() == whole.resume.read_bytes()
    stored = make(1)
    load_weights(whole.weights, stored)
    assert torch.equal(weights(stored), weights(done))  # the file holds the average
    assert torch.equal(seen[0], weights(done.model))  # and probes see it
    raw = fit(make(), Stream(), replace(CONFIG, average_decay=0.0), run=run_at(tmp_path / "raw"),
              progress=False)  # fmt: skip
    assert not torch.allclose(weights(raw), weights(done), atol=1e-4)
    with pytest.raises(ConventionError, match="average_decay"):
        fit(make(), Stream(), replace(settings, average_decay=0.5), run=whole, progress=False)


def test_gradients_are_clipped_to_the_norm(tmp_path):
    norms = []
    for clip in (0.0, 0.5):
        learner = make()
        config = replace(CONFIG, gradient_clip=clip, steps=1, average_decay=0.0)
        original = torch.optim.Adam.step

        def step(self, *args, original=original, **kwargs):
            groups = [p for g in self.param_groups for p in g["params"]]
            norms.append(float(torch.cat([p.grad.flatten() for p in groups]).norm()))
            return original(self, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim.Adam, "step", step)
            fit(learner, Stream(), config, run=run_at(tmp_path / str(clip)), progress=False)
    assert norms[0] > 5 and norms[1] == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("clock", ["wall", "processor"])
def test_a_run_ends_with_its_minutes_and_its_rate_falls_with_them(tmp_path, monkeypatch, clock):
    now = [100.0]
    name = "monotonic" if clock == "wall" else "process_time"
    monkeypatch.setattr(f"time.{name}", lambda: now[0])

    class Slow(Stream):
        def stream(self, batch_size, *, start=0, rank=0, world=1):
            for batch in super().stream(batch_size, start=start):
                now[0] += 12.0  # seconds a step
                yield batch

    rates = []
    original = torch.optim.Adam.step

    def step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    run = run_at(tmp_path / "run")
    config = replace(CONFIG, steps=0, minutes=1.0, clock=clock)
    fit(make(), Slow(), config, run=run, progress=False)
    assert read_metrics(run.metrics)[-1]["step"] == 5
    expected = [learning_rate(0, peak=0.05, steps=0, warmup=0, schedule="cosine", progress=p / 5)
                for p in range(1, 6)]  # fmt: skip
    assert rates == pytest.approx(expected)
    fit(make(), Slow(), config, run=run, progress=False)  # its time is used up
    assert read_metrics(run.metrics)[-1]["step"] == 5
    fit(make(), Slow(), replace(config, minutes=1.3), run=run, progress=False)
    assert read_metrics(run.metrics)[-1]["step"] == 7
    fit(make(), Slow(), replace(config, minutes=9.0, steps=9), run=run, progress=False)
    assert read_metrics(run.metrics)[-1]["step"] == 9


def test_a_run_of_an_older_version_goes_on(tmp_path):
    config = replace(CONFIG, average_decay=0.0, gradient_clip=0.0, amsgrad=False)
    run = run_at(tmp_path / "run")
    fit(make(), Stream(), config, run=run, progress=False)
    learner = make()
    optimizer = torch.optim.Adam(learner.parameters())
    step, extra = load_state(run.resume, learner, optimizer)
    new = ("minutes", "clock", "average_decay", "gradient_clip", "amsgrad")
    kept = {name: value for name, value in extra.items() if name not in new}
    save_state(run.resume, learner, optimizer, step=step, extra=json.loads(json.dumps(kept)))
    fit(make(), Stream(), replace(config, steps=10), run=run, progress=False)
    assert read_metrics(run.metrics)[-1]["step"] == 10


def test_settings_of_time_and_averages_are_checked():
    for wrong in ({"steps": 0}, {"steps": -1}, {"minutes": -1.0}, {"gradient_clip": -1.0},
                  {"average_decay": 1.0}):  # fmt: skip
        with pytest.raises(ConventionError):
            FitConfig(**wrong)
    assert FitConfig(steps=0, minutes=0.1).steps == 0


class Spring(nn.Module):
    """E = k |x|²/2 of every atom, and its forces."""

    def __init__(self):
        super().__init__()
        self.k = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, graph):
        x, index = graph["positions"], graph["graph_index"]
        energies = x.new_zeros(len(graph["energies_eV"]), dtype=torch.float64)
        energies = energies.index_add(0, index, 0.5 * self.k * x.square().sum(1))
        return {"energies_eV": energies, "forces_eV_per_angstrom": -self.k * x}


def test_the_loss_of_a_potential_is_a_loop_over_molecules():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, generator=g, dtype=torch.float64)
    graph = {
        "positions": x, "graph_index": torch.tensor([0, 0, 1, 1, 1]),
        "energies_eV": torch.tensor([1.0, 2.0]).double(),
        "forces_eV_per_angstrom": torch.randn(5, 3, generator=g, dtype=torch.float64),
    }  # fmt: skip
    learner = PotentialLearner(Spring(), energy_weight=3.0, force_weight=7.0)
    total, terms = learner(**graph)
    energy = forces = 0.0
    for k, atoms in ((0, [0, 1]), (1, [2, 3, 4])):
        e = float(x[atoms].square().sum() / 2)
        energy += ((e - float(graph["energies_eV"][k])) / len(atoms)) ** 2 / 2
        forces += float((x[atoms] + graph["forces_eV_per_angstrom"][atoms]).square().sum()) / 15
    assert float(total.detach()) == pytest.approx(3 * energy + 7 * forces)
    assert float(terms["rmse_energy_meV_per_atom"]) == pytest.approx(1000 * energy**0.5)
    assert float(terms["rmse_forces_meV_per_angstrom"]) == pytest.approx(1000 * forces**0.5)
    with pytest.raises(ConventionError, match="forces"):
        learner(**{k: v for k, v in graph.items() if not k.startswith("forces")})
    for wrong in ((-1.0, 1.0), (0.0, 0.0)):
        with pytest.raises(ConventionError):
            PotentialLearner(Spring(), energy_weight=wrong[0], force_weight=wrong[1])
