"""SIE's published checkpoints, both ways, and encoders of one's own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, linear, normalize

from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import Spin3
from equivariant.recipes.sie_3diebench.experiment import SieExperiment, train
from equivariant.recipes.sie_3diebench.models import ModelConfig, build_learner, load_trained
from equivariant.recipes.sie_3diebench.published import export_published, load_published
from equivariant.runs import RunFolder, read_json
from equivariant.training import FitConfig

FIT = FitConfig(steps=2, batch_size=8, accelerator="cpu")
TINY = ModelConfig(topology="sie", width=2, projector=(8, 12))


def checkpoint(path, *, deep=False, features=4, params=True):
    """What the published code saves, with its names, from numbers drawn here."""
    config = replace(TINY, predictor="deep" if deep else "hypernetwork")
    torch.manual_seed(3)
    state = {
        f"module.backbone.{name}": torch.rand(x.shape) + 0.1 if x.is_floating_point() else x
        for name, x in build_learner(config, classes=1, seed=0).model.encoder.state_dict().items()
    }
    for part in ("projector_inv", "projector_equi"):
        shapes = {"0.weight": (4, 8), "0.bias": (4,), "3.weight": (6, 4)}
        shapes |= {f"1.{k}": (4,) for k in ("weight", "bias", "running_mean", "running_var")}
        state |= {f"module.{part}.{name}": torch.rand(shape) for name, shape in shapes.items()}
        state[f"module.{part}.1.num_batches_tracked"] = torch.tensor(7)
    last = 4 if deep else 0
    state[f"module.predictor.hypernet.net.{last}.weight"] = torch.randn(36, features)
    if deep:
        for layer in (0, 2):
            name = f"module.predictor.hypernet.net.{layer}.weight"
            state[name] = torch.randn(features, features)
    state["module.evaluator.classifier_repr.weight"] = torch.rand(55, 16)
    torch.save({"epoch": 5, "model": state, "optimizer": {"state": {}}}, path)
    if params:
        (path.parent / "params.json").write_text(json.dumps({"arch": "resnet18"}))
    return {name.removeprefix("module."): x for name, x in state.items()}


def naive_projector(state, part, y):
    """Linear, normalization by running statistics, rectifier, linear."""
    get = lambda name: state[f"{part}.{name}"]  # noqa: E731
    hidden = linear(y, get("0.weight"), get("0.bias"))
    names = ("running_mean", "running_var", "weight", "bias")
    hidden = batch_norm(hidden, *(get(f"1.{name}") for name in names), eps=1e-5)
    return linear(hidden.relu(), get("3.weight"))


def naive_predictor(state, q, z, *, deep):
    """W(g) z, a matrix for each row, written out: row-major, row = output."""
    net = lambda k: state[f"predictor.hypernet.net.{k}.weight"]  # noqa: E731
    rows = []
    for numbers, vector in zip(q, z, strict=True):
        if deep:
            numbers = (net(2) @ (net(0) @ numbers).relu()).relu()
        flat = net(4 if deep else 0) @ numbers
        rows.append([sum(flat[6 * i + j] * vector[j] for j in range(6)) for i in range(6)])
    return torch.tensor(rows)


@pytest.mark.parametrize("deep", [False, True])
def test_a_published_checkpoint_computes_what_its_numbers_say(tmp_path, deep):
    state = checkpoint(tmp_path / "model.pth", deep=deep)
    found = load_published(tmp_path / "model.pth")
    learner, half = found.learner, slice(6, 12)
    y = torch.randn(5, 16)
    z = learner.model.embed(y)
    expected = [
        naive_projector(state, "projector_inv", y[:, :8]),
        naive_projector(state, "projector_equi", y[:, 8:]),
    ]
    torch.testing.assert_close(z, torch.cat(expected, 1))
    q = normalize(torch.randn(5, 4), dim=-1)
    moved = learner.objective.action(Spin3().from_quaternion_xyzw(q), z)[:, half]
    wanted = naive_predictor(state, q, z[:, half].detach(), deep=deep)
    torch.testing.assert_close(moved.detach(), wanted, rtol=1e-4, atol=1e-5)
    twisted = naive_predictor(state, -q, z[:, half].detach(), deep=deep)
    assert not torch.allclose(moved.detach(), twisted, rtol=1e-2)


def test_what_is_no_such_checkpoint_is_refused_at_the_door(tmp_path):
    path = tmp_path / "model.pth"
    checkpoint(path, params=False)
    with pytest.raises(DataFormatError, match=r"params\.json"):
        load_published(path)
    assert load_published(path, arch="resnet18").config.projector == (8, 12)
    whole = torch.load(path, weights_only=True)
    for name, words in (
        ("module.predictor.hypernet.net.0.weight", "hypernetwork of shape None"),
        ("module.projector_equi.0.bias", r"projectors\.1\.0\.bias"),
    ):
        state = {k: v for k, v in whole["model"].items() if k != name}
        torch.save({"model": state}, path)
        with pytest.raises(DataFormatError, match=words):
            load_published(path, arch="resnet18")
    state = {**whole["model"], "module.predictor.hypernet.net.0.bias": torch.zeros(36)}
    torch.save({"model": state}, path)
    with pytest.raises(DataFormatError, match="disagree"):
        load_published(path, arch="resnet18")
    encoder = {k: v for k, v in whole["model"].items() if "backbone" in k}
    torch.save(encoder, path)
    with pytest.raises(DataFormatError, match="projector_equi"):
        load_published(path, arch="resnet18")
    torch.save({"model": Path("x")}, path)  # code, were it unpickled
    with pytest.raises(DataFormatError, match="Unpickling"):
        load_published(path, arch="resnet18")
    with pytest.raises(DataFormatError, match=r"absent\.pth"):
        load_published(tmp_path / "absent.pth")


@pytest.mark.parametrize("predictor", ["hypernetwork", "deep"])
def test_a_run_goes_to_the_published_names_and_back(tmp_path, views, predictor):
    model = replace(TINY, predictor=predictor)
    run = RunFolder(tmp_path / "run")
    train(SieExperiment(views, model=model, fit=FIT, size_px=32), run, progress=False)
    export_published(run, tmp_path / "model.pth")
    keys = torch.load(tmp_path / "model.pth", weights_only=True)["model"]
    assert "module.backbone.conv1.weight" in keys
    assert tuple(keys["module.projector_equi.3.weight"].shape) == (6, 4)
    back, before = (
        load_published(tmp_path / "model.pth", arch="resnet18"),
        load_trained(run.weights),
    )
    assert back.config == model
    x = torch.rand(3, 3, 32, 32)
    assert torch.equal(back.learner.model(x), before.model(x))
    g = Spin3().sample(3, generator=torch.Generator().manual_seed(0)).float()
    z = torch.randn(3, 12)
    assert torch.equal(back.learner.objective.action(g, z), before.action(g, z))
    other = RunFolder(tmp_path / "other")
    train(SieExperiment(views, replace(model, conditioning="matrix"), FIT, size_px=32), other,
          progress=False)  # fmt: skip
    with pytest.raises(ConventionError, match="quaternions"):
        export_published(other, tmp_path / "other.pth")


def test_a_published_checkpoint_is_evaluated_from_the_command_line(tmp_path, views, capsys):
    checkpoint(tmp_path / "model.pth")
    words = ["evaluate", str(views), "--published", str(tmp_path / "model.pth"), "--runs",
             str(tmp_path / "runs"), "--size", "32", "--evaluation.probe.epochs", "1",
             "--evaluation.probe.min-steps", "1", "--evaluation.probe.hidden", "4"]  # fmt: skip
    assert main(words) == 0
    run = RunFolder.open(next((tmp_path / "runs" / "published").iterdir()))
    assert {"parts", "retrieval", "pre"} <= read_json(run.path / "measures.json").keys()
    assert str(run.path) in capsys.readouterr().out
    assert main(["evaluate", str(views), "--published", str(tmp_path / "absent.pth")]) == 1
    assert "absent.pth" in capsys.readouterr().err


ENCODER = """
from torch import nn

def build():
    layers = [nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(54, 10)]
    encoder = nn.Sequential(*layers)
    encoder.dim = 10
    return encoder

def shapeless():
    return nn.Flatten()
"""


def test_an_encoder_of_ones_own_is_trained_evaluated_and_found_again(
    tmp_path, views, monkeypatch, capsys
):
    (tmp_path / "parts.py").write_text(ENCODER)
    monkeypatch.chdir(tmp_path)
    words = ["train", "sie", str(views), "--model.encoder", "parts.py:build", "--model.projector",
             "8", "8", "--fit.steps", "2", "--fit.batch-size", "8", "--fit.optimizer", "adamw",
             "--fit.decay-on", "weights", "--quiet"]  # fmt: skip
    assert main(words) == 0
    run = next((tmp_path / "runs" / "sie").iterdir())
    monkeypatch.chdir(views)  # from elsewhere
    fast = ["--probe.epochs", "1", "--probe.min-steps", "1", "--probe.hidden", "4"]
    assert main(["evaluate", str(run), *fast]) == 0
    assert isinstance(load_trained(RunFolder(run).weights).model.encoder, nn.Sequential)
    one, other = (
        build_learner(ModelConfig(encoder=f"{tmp_path}/parts.py:build", projector=(8, 8)),
                      classes=2, seed=seed).model.encoder[0].weight
        for seed in (4, 4)
    )  # fmt: skip
    assert torch.equal(one, other)
    assert main([*words[:4], f"{tmp_path}/parts.py:shapeless", *words[5:]]) == 1
    assert "attribute dim" in capsys.readouterr().err
    assert main([*words[:4], f"{tmp_path}/parts.py:absent", *words[5:]]) == 1
    assert "absent" in capsys.readouterr().err
