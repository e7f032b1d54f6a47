"""The recipe: every method trains, commands, exact resume, and what evaluation says."""

import json
from dataclasses import replace

import pytest
import torch

from benchmarks.soft.tables import markdown, summary
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError
from equivariant.recipes.soft_symmetries.evaluation import EvaluationConfig, evaluate_model
from equivariant.recipes.soft_symmetries.methods import moved_by
from equivariant.recipes.soft_symmetries.recipe import open_run
from equivariant.recipes.soft_symmetries.settings import FIT, MethodName, SoftExperiment
from equivariant.recipes.soft_symmetries.task_sets import ExampleStream, task_sets
from equivariant.recipes.soft_symmetries.training import train
from equivariant.runs import RunFolder

METHODS = MethodName.__args__
SMALL = SoftExperiment(
    width=12, layers=2, count=64, fit=replace(FIT, steps=4, batch_size=16, checkpoint_every=2)
)


def trained(config, folder):
    return train(config, RunFolder.create(folder, "run", config=config), progress=False)


EVALUATED = ("scale-free", "mlp", "frames", "emlp", "emlp-true", "mixed-residual")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(method, tmp_path):
    config = replace(SMALL, method=method)
    model = trained(config, tmp_path)
    with torch.no_grad():
        assert bool(model(task_sets(config).test.x).isfinite().all())
    if method not in EVALUATED:
        return
    found = evaluate_model(model, config, EvaluationConfig(items=4, elements=2))
    assert set(found["equivariance"]) == {"O(2) about z", "O(2) about x", "O(2) about y"}
    assert found["exact"] == ["O(2) about z"]
    assert all(0 < value < 100 for value in found["mse"].values())
    exact = {name: value < 1e-4 for name, value in found["equivariance"].items()}
    if method in ("frames", "emlp"):
        assert all(exact.values())
    elif method == "emlp-true":
        assert exact == {"O(2) about z": True, "O(2) about x": False, "O(2) about y": False}
    elif method in ("mlp", "scale-free"):
        assert not any(exact.values())
    assert ("levels" in found) == (method == "scale-free")


@pytest.mark.parametrize("task", ["cosine", "distance"])
def test_other_tasks(task, tmp_path):
    broken = "scale" if task == "cosine" else "shifts"
    config = replace(SMALL, task=task, broken=broken, method="emlp")
    found = evaluate_model(trained(config, tmp_path), config, EvaluationConfig(items=4))
    assert max(found["equivariance"].values()) < 1e-3
    soft = replace(config, method="scale-free")
    assert trained(soft, tmp_path)(task_sets(soft).test.x).shape == (64, 1)


@pytest.mark.parametrize("method", ["projection", "sampled"])
def test_interrupted_runs_have_the_same_weights(method, tmp_path):
    """Strengths go on too: the rule changes them between the two parts."""
    whole = trained(replace(SMALL, method=method), tmp_path / "whole")
    fit = replace(SMALL.fit, steps=2, schedule="constant")
    half = replace(SMALL, method=method, tune_at=3, fit=fit)
    full = replace(half, fit=replace(half.fit, steps=4))
    expected = trained(full, tmp_path / "full")
    run = RunFolder.create(tmp_path / "parts", "run", config=half)
    train(half, run, progress=False)
    again = train(full, run, progress=False)
    for a, b in zip(expected.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(whole.parameters()), next(again.parameters()))


def test_commands(tmp_path, capsys):
    words = ["--width", "12", "--layers", "2", "--count", "64", "--steps", "2",
             "--batch-size", "16", "--runs", str(tmp_path)]  # fmt: skip
    assert main(["train", "soft", "--method", "scale-free", *words]) == 0
    (path,) = tmp_path.glob("soft-inertia-scale-free/*")
    assert main(["evaluate", str(path), "--items", "4"]) == 0
    said = capsys.readouterr().out
    assert "O(2) about z" in said
    assert "exact in the data" in said
    kept = json.loads((path / "measures.json").read_text())
    assert kept["levels"]
    assert main(["measure", str(path), "--items", "4", "--elements", "2", "--degrees", "1"]) == 0
    said = capsys.readouterr().out
    assert "of the averages" in said and "degree 1" in said
    found = json.loads((path / "equivariance.json").read_text())
    assert set(found["errors"]) == set(found["shares"]) == set(kept["equivariance"])
    layers = {"blocks.0.linear", "blocks.0.product", "blocks.0.gate", "last", "output"}
    assert found["under"] == "O(2) about z" and set(found["spectra"]) == layers
    assert "Not measured" not in said
    assert main(["report", str(path), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "O(2) about x" in page and "soft term" in page and "<script" not in page
    (path / "measures.json").unlink()
    assert main(["report", str(path)]) == 1
    assert "equivariant evaluate" in capsys.readouterr().err
    model, config = open_run(RunFolder(path))
    assert config.method == "scale-free"
    assert not model.training
    settings = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**settings, "breaking": 0.9}))
    with pytest.raises(DataFormatError, match="changed"):
        open_run(RunFolder(path))
    (path / "config.json").write_text(json.dumps({"recipe": "soft"}))
    with pytest.raises(DataFormatError, match="settings"):
        open_run(RunFolder(path))


def test_streams_depend_on_steps_alone_and_are_shared():
    task = task_sets(SMALL).train
    stream = ExampleStream(task, seed=0)
    whole = [next(stream.stream(8, start=k)).x for k in range(3)]
    through = stream.stream(8)
    assert all(torch.equal(next(through).x, x) for x in whole)
    shares = [next(stream.stream(8, start=1, rank=r, world=2)).x for r in range(2)]
    assert torch.equal(torch.stack(shares, 1).flatten(0, 1), whole[1])
    groups = moved_by(replace(SMALL, method="augmented"), task)
    moved = next(ExampleStream(task, seed=0, moved_by=groups).stream(8, start=1))
    assert not torch.equal(moved.x, whole[1])
    torch.testing.assert_close(moved.x[:, :5], whole[1][:, :5])  # masses stay


def test_refusals_of_experiments():
    for change in ({"broken": "scale"}, {"task": "cosine", "broken": "none", "method": "frames"},
                   {"width": 0}, {"count": 8}, {"breaking": float("nan")},
                   {"shift": float("inf")}, {"strength": float("nan")}):  # fmt: skip
        with pytest.raises(ConventionError, match="expected"):
            replace(SMALL, **change)
    with pytest.raises(ConventionError, match="expected"):
        EvaluationConfig(items=1)


def test_the_study_sums_up():
    names = ["O(2) about z", "O(2) about x", "O(2) about y"]
    levels = dict(zip(sorted(names), ({"level": v} for v in (2e-2, 3e-2, 1.5e-4)), strict=True))
    row = {"task": "inertia", "broken": "axis", "breaking": 0.3, "method": "free", "steps": 1,
           "seconds": 1.0, "mse": dict.fromkeys(("train", "test", "shifted"), 0.5),
           "exact": names[:1], "equivariance": dict.fromkeys(sorted(names), 0.1),
           "layers": [[1e-4, 1e-2, 2e-2], [2e-4, 3e-2, 4e-2]], "levels": levels}  # fmt: skip
    swapped = {**levels, names[0]: {"level": 1.0}}
    found = summary([row, {**row, "levels": swapped}])
    (entry,) = found["rows"].values()
    assert entry["seeds"] == 2
    assert entry["identified"] == 1
    assert entry["levels"][names[0]]["level"] == pytest.approx(1.5e-4)  # columns in their own order
    assert "1 of 2" in markdown(found)
