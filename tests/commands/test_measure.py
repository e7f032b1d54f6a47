"""``equivariant measure`` from the command line to the page."""

import json

import numpy as np
import pytest
import torch

from equivariant.commands.main import main
from equivariant.recipes.sie_3diebench.protocol import interleaved

MODELS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, sound):
        super().__init__()
        self.first, self.head, self.sound = nn.Linear(3, 8), nn.Linear(8, 3), sound

    def forward(self, p):
        if self.sound:
            return p.mean(1) * p.square().sum((1, 2))[:, None]
        return self.head(torch.tanh(self.first(p)).mean(1))

def sound():
    return Net(True)

def broken():
    torch.manual_seed(0)
    return Net(False)

def odd():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6, bias=False), nn.Tanh(), nn.Linear(6, 3, bias=False))

def molecule():
    def f(data):
        p = data["pos"]
        energy = torch.cdist(p, p).sum((1, 2))[:, None] * data["charge"]
        return {"energy": energy, "centre": p.mean(1, True)}
    return f

def forces():
    def f(p):
        p = p.detach().requires_grad_()
        e = torch.cat([torch.pdist(q).sum()[None] for q in p])
        return -torch.autograd.grad(e.sum(), p)[0]
    return f

def dead():
    return lambda p: p.mean(1) * float("nan")

def picky():
    class Picky(nn.Module):
        def forward(self, p):
            if p.dtype == torch.float64:
                raise ValueError("single precision only")
            return p.mean(1)
    return Picky()

def network():
    from e3nn.nn.models.v2106.gate_points_networks import SimpleNetwork
    torch.manual_seed(0)
    return SimpleNetwork("2x0e", "1x0e + 1x1o", 2.0, 2.0, 3.0, mul=2, layers=1, lmax=1)

def outside():
    from e3nn.o3 import FullyConnectedTensorProduct
    return FullyConnectedTensorProduct("2x0e + 1o", "1o", "1o", internal_weights=False,
                                       shared_weights=True)

number = 3
def nothing():
    return 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measure(*words):
    assert main(["measure", *words, "--quiet", "--items", "6", "--samples", "6"]) == 0


def only_run(folder):
    (run,) = (folder / "runs" / "measure").iterdir()
    return run


@pytest.mark.parametrize("from_file", [False, True])
def test_a_network_of_e3nn_by_its_own_declaration(folder, capsys, from_file):
    words = ["--local", "off"]
    if from_file:  # three graphs in flat arrays, of which none is cut off
        generator = torch.Generator().manual_seed(0)
        batch = np.array([0] * 4 + [1] * 2 + [2] * 3)
        x = {name: torch.randn(9, n, generator=generator).numpy() for name, n in
             (("pos", 3), ("x", 2))}  # fmt: skip
        np.savez(folder / "graphs.npz", batch=batch, **x)
        words = ["--data", "graphs.npz", "--local", "differences"]
    measure("--model", "mine.py:network", *words)
    assert "Equivariant up to rounding" in capsys.readouterr().out
    numbers = json.loads((only_run(folder) / "measures.json").read_text())
    assert numbers["diagnosis"]["verdict"].startswith("equivariant")
    assert numbers["notes"] == []


def test_weights_from_outside_need_no_further_argument(folder, capsys):
    measure("--model", "mine.py:outside", "--local", "off")
    assert "Equivariant up to rounding" in capsys.readouterr().out


def test_a_sound_and_a_broken_model(folder, capsys):
    measure("--model", "mine.py:sound", "--input", "points:10", "--output", "vectors")
    assert "Equivariant up to rounding" in capsys.readouterr().out
    run = only_run(folder)
    numbers = json.loads((run / "measures.json").read_text())
    assert numbers["diagnosis"]["verdict"] == "equivariant up to rounding"
    assert numbers["symmetries"]["dimension"] == 3
    page = (run / "report.html").read_text()
    assert "<script" not in page and 'src="http' not in page

    measure("--model", "mine.py:broken", "--input", "points:10", "--output", "vectors", "--layers",
            "--dtype", "float64", "--runs", "others", "--worst")  # fmt: skip
    said = capsys.readouterr().out
    assert "Not equivariant" in said and "turn x" in said and "Worst case" in said
    (run,) = (folder / "others" / "measure").iterdir()
    numbers = json.loads((run / "measures.json").read_text())
    assert numbers["diagnosis"]["findings"] and "float64" not in numbers
    worst, drawn = (numbers["worst_case"][key] for key in ("errors", "drawn"))
    assert all(high >= low for high, low in zip(worst, drawn, strict=True))
    assert set(numbers["layers"]["turn x"]["by_layer"]) == {"first", "head"}
    assert {p.name for p in (run / "figures").iterdir()} == {
        "error_against_distance.svg", "layers.svg",
    }  # fmt: skip


def test_the_share_of_the_loss_and_the_degrees_of_every_layer(folder, capsys):
    points = np.random.default_rng(0).normal(size=(6, 3))
    np.save("points.npy", points)
    np.save("targets.npy", 0 * points)
    words = ["--model", "mine.py:odd", "--input", "vectors:1", "--output", "vectors", "--data",
             "points.npy", "--dtype", "float64", "--local", "off"]  # fmt: skip
    measure(*words, "--targets", "targets.npy", "--spectrum", "1")
    said = capsys.readouterr().out
    assert "of the loss" in said and "degree 1" in said
    run = only_run(folder)
    numbers = json.loads((run / "measures.json").read_text())
    spectra = numbers["spectra"]
    assert list(spectra) == ["0", "1", "2", "output"]
    assert spectra["0"]["shares"] == pytest.approx([0, 1], abs=1e-9)  # linear in a vector
    assert 0.5 < spectra["1"]["shares"][1] < 1 and spectra["1"]["beyond"] > 1e-4  # tanh is odd
    assert spectra["output"] == spectra["2"]
    share = numbers["loss_share"]
    assert 0 < share["share"]["value"] < 1 and share["symmetrized"] < share["loss"]
    assert {p.name for p in (run / "figures").iterdir()} >= {"degrees_of_the_features.svg"}
    np.savez("two.npz", a=points, b=points)
    assert main(["measure", *words, "--items", "6", "--targets", "two.npz"]) == 1
    assert "one array of targets" in capsys.readouterr().err


def test_groups_without_characters_are_said_to_have_no_spectrum(folder, capsys):
    measure("--model", "mine.py:sound", "--input", "points:10", "--output", "vectors",
            "--group", "SE3", "--local", "off", "--spectrum", "2")  # fmt: skip
    assert "Irrep spectra: they need" in capsys.readouterr().out


def test_several_tensors_from_a_file(folder, capsys):
    rng = np.random.default_rng(0)
    np.savez("data.npz", pos=rng.normal(size=(9, 5, 3)), charge=rng.normal(size=(9, 1)))
    words = ["--model", "mine.py:molecule", "--group", "SE3", "--data", "data.npz"]
    words += ["--input", "pos=points,charge=fixed"]
    measure(*words, "--output", "energy=invariant,centre=points")
    said = capsys.readouterr().out
    assert "Equivariant up to rounding" in said and "molecule: centre" in said
    measure(*words, "--output", "centre=invariant")
    assert "Not equivariant" in capsys.readouterr().out
    assert main(["measure", *words, "--output", "mass=invariant", "--quiet"]) == 1
    assert "['centre', 'energy']" in capsys.readouterr().err


def test_forces_and_fitted_actions(folder, capsys):
    measure("--model", "mine.py:forces", "--input", "points:5", "--output", "points", "--forces",
            "--dtype", "float64", "--local", "off")  # fmt: skip
    assert "Equivariant up to rounding" in capsys.readouterr().out
    words = ["--model", "mine.py:sound", "--input", "points:10", "--output", "fit"]
    words += ["--items", "40", "--quiet", "--dtype", "float64", "--runs", "fitted"]
    assert main(["measure", *words]) == 0
    assert "held-out R²" in capsys.readouterr().out
    (run,) = (folder / "fitted" / "measure").iterdir()
    fitted = json.loads((run / "measures.json").read_text())["fitted"]
    assert fitted["held-out R², worst element"] > 0.999


@pytest.mark.parametrize(
    "words, message",
    [
        (["--model", "mine.py:missing"], "missing"),
        (["--model", "nowhere.py:build"], "nowhere"),
        (["--model", "mine.py"], "factory"),
        (["--model", "mine.py:nothing"], "returns"),
        (["--model", "mine.py:sound"], "irreps_in"),
        (["--model", "mine.py:sound", "--input", "points:4", "--group", "SU5"], "SO3"),
        (["--model", "mine.py:sound", "--input", "a=points"], "--data"),
        (["--model", "mine.py:sound", "--input", "points", "--data", "mine.py"], "safetensors"),
        (["--model", "e3nn.o3:Linear"], "no arguments"),
        ([], "--model"),
    ],
)
def test_wrong_words_are_explained(folder, capsys, words, message):
    assert main(["measure", *words, "--quiet"]) == 1
    assert message in capsys.readouterr().err


def test_pickles_are_refused(folder, capsys):
    np.save("objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    words = ["--model", "mine.py:sound", "--input", "points", "--data", "objects.npy"]
    assert main(["measure", *words, "--quiet"]) == 1
    assert "objects.npy" in capsys.readouterr().err
    assert torch.get_default_dtype() == torch.float32


def test_unrelated_means_another_object():
    """Rows that follow one another show different objects, and none is lost."""
    rng = np.random.default_rng(0)
    given = np.stack([np.repeat([2, 0, 1], 4), *rng.integers(0, 9, (2, 12))], 1)
    rows = interleaved(torch.from_numpy(given))
    assert bool((rows[:, 0] != rows[:, 0].roll(1)).all())
    assert sorted(rows.tolist()) == sorted(given.tolist())


def test_what_is_not_finite_is_said_and_no_verdict_given(folder, capsys):
    words = ["--input", "points:5", "--output", "vectors"]
    measure("--model", "mine.py:dead", *words)
    said = capsys.readouterr().out
    assert "Not finite: nothing can be said" in said and "all 6 items" in said
    assert "quivariant up to rounding" not in said
    numbers = json.loads(next(folder.glob("runs/measure/*/measures.json")).read_text())
    assert numbers["diagnosis"]["verdict"].startswith("not finite")
    assert numbers["diagnosis"]["caveats"] and numbers["error"]["outputs"]["output"]
    measure("--model", "mine.py:picky", *words)
    said = capsys.readouterr().out
    assert "ValueError: single precision only" in said and "up to rounding" in said
