"""Runs go on with what they were started with, or say what stands against it."""

import json
import shutil
import signal

import numpy as np
import pytest
from test_force_field_commands import SMALL, write

from datasets3d import BuildConfig, MoleculeGraphs, ProceduralMeshes, TransformPairs, build
from equivariant.commands.main import main
from equivariant.recipes.force_field.training import restore_experiment
from equivariant.runs import RunFolder
from equivariant.training import read_metrics

OPTIONS = ["--model.method", "simclr", "--model.width", "2", "--model.projector", "4",
           "--fit.steps", "4", "--fit.batch-size", "4", "--fit.accelerator", "cpu",
           "--fit.checkpoint-every", "1", "--fit.log-every", "1"]  # fmt: skip
WEIGHTS = "checkpoints/last.safetensors"


def rendered(folder, seed=0):
    source = ProceduralMeshes(instances=6, classes=["chair", "truck"])
    config = BuildConfig(views=3, size_px=8, seed=seed)
    build(source, folder, config=config, workers=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("views") / "set")


@pytest.fixture(scope="module")
def molecules(tmp_path_factory):
    return write(tmp_path_factory.mktemp("molecules") / "train.xyz", 12, 0)


def train(data, runs, *options, status=0):
    words = ["train", "sie", str(data), "--runs", str(runs), *OPTIONS, "--quiet", *options]
    assert main(words) == status
    (run,) = (runs / "simclr").iterdir()
    return run


@pytest.fixture(scope="module")
def finished(views, tmp_path_factory):
    return train(views, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def force_field(molecules, tmp_path_factory):
    runs = tmp_path_factory.mktemp("force fields")
    words = ["train", "force-field", str(molecules), *SMALL, "--runs", str(runs), "--minutes", "0",
             "--steps", "2", "--validation", "2", "--checkpoint-every", "1"]  # fmt: skip
    assert main(words) == 0
    (made,) = runs.glob("*/*")
    return made


def signalled(stream, step, number):
    def stopping(self, *args, **options):
        for k, batch in enumerate(stream(self, *args, **options)):
            if k == step:
                signal.raise_signal(number)
            yield batch

    return stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_prints_the_command_that_goes_on(views, finished, tmp_path, number, monkeypatch,
                                                capsys):  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(TransformPairs, "stream", signalled(TransformPairs.stream, 1, number))
        stopped = train(views, tmp_path / "with space", status=128 + number)
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line == f"stopped at step 2; to go on: equivariant train sie --resume '{stopped}'"
    assert main(["train", "sie", "--resume", str(stopped), "--quiet"]) == 0
    for name in (WEIGHTS, "resume.safetensors"):
        assert (stopped / name).read_bytes() == (finished / name).read_bytes()


def test_a_stopped_force_field_names_its_own_command(molecules, tmp_path, monkeypatch, capsys):
    stream = signalled(MoleculeGraphs.stream, 1, signal.SIGTERM)
    monkeypatch.setattr(MoleculeGraphs, "stream", stream)
    words = ["train", "force-field", str(molecules), *SMALL, "--runs", str(tmp_path),
             "--steps", "3", "--minutes", "0", "--validation", "2"]  # fmt: skip
    assert main(words) == 143
    (stopped,) = tmp_path.glob("*/*")
    assert f"equivariant train force-field --resume {stopped}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--seed", "1"], ["--seed 1 instead of 0"]),
        (["--fit.learning-rate", "0.5"], ["--fit.learning-rate 0.5 instead of 0.001"]),
        (["--model.width", "8", "--size", "4"], ["--model.width 8 instead of 2", "--size 4"]),
        (["--model.method", "sie"], ["--model.method sie"]),
        (["--fit.steps", "3"], ["--fit.steps 3 instead of 4"]),
        (["--fit.minutes", "3"], ["--fit.minutes 3.0 instead of none"]),
        (["--fit.batch-size", "256"], ["--fit.batch-size 256"]),  # the default of a new run
        (["--name", "other"], ["--name other"]),
    ],
)
def test_what_a_run_cannot_change_is_refused_by_name(run, options, names, capsys):
    before = (run / WEIGHTS).read_bytes()
    assert main(["train", "sie", "--resume", str(run), "--quiet", *options]) == 1
    said = capsys.readouterr().err
    assert all(name in said for name in names) and said.count("\n") == 1
    assert (run / WEIGHTS).read_bytes() == before


def test_more_steps_take_effect_and_are_kept(run, views, tmp_path):
    longer = train(views, tmp_path / "longer", "--fit.steps", "6")
    assert main(["train", "sie", "--resume", str(run), "--quiet", "--fit.steps", "6"]) == 0
    assert (run / WEIGHTS).read_bytes() == (longer / WEIGHTS).read_bytes()
    assert json.loads((run / "config.json").read_text())["fit"]["steps"] == 6
    # The settings that the run has already change nothing; nor does going on without words.
    again = ["--fit.steps", "6", "--fit.batch-size", "4", "--stream", "--fit.log-every", "2"]
    assert main(["train", "sie", "--resume", str(run), "--quiet", *again]) == 0
    assert main(["train", "sie", "--resume", str(run), "--quiet"]) == 0
    assert (run / WEIGHTS).read_bytes() == (longer / WEIGHTS).read_bytes()


def test_a_raised_end_is_known_after_a_kill(run):
    assert main(["train", "sie", "--resume", str(run), "--quiet", "--fit.steps", "6"]) == 0
    settings = json.loads((run / "config.json").read_text())
    settings["fit"]["steps"] = 4  # as a killed process leaves it
    (run / "config.json").write_text(json.dumps(settings))
    assert main(["train", "sie", "--resume", str(run), "--quiet", "--fit.steps", "5"]) == 1
    assert main(["train", "sie", "--resume", str(run), "--quiet"]) == 0
    assert json.loads((run / "config.json").read_text())["fit"]["steps"] == 6


def test_a_finished_run_of_some_minutes_does_not_start_again(molecules, tmp_path):
    words = ["train", "force-field", str(molecules), *SMALL, "--runs", str(tmp_path),
             "--minutes", "0.005", "--validation", "2"]  # fmt: skip
    assert main(words) == 0
    (run,) = tmp_path.glob("*/*")
    steps = read_metrics(run / "metrics.jsonl")[-1]["step"]
    assert main(["train", "force-field", "--resume", str(run), "--quiet", "--steps", "0"]) == 0
    assert restore_experiment(RunFolder(run)).fit.minutes == 0.005
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] == steps
    more = ["train", "force-field", "--resume", str(run), "--quiet", "--minutes", "0.01"]
    assert main(more) == 0
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] > steps


def test_a_run_without_time_for_a_step_does_one(molecules, tmp_path):
    words = ["train", "force-field", str(molecules), *SMALL, "--runs", str(tmp_path),
             "--minutes", "1e-9", "--validation", "2"]  # fmt: skip
    assert main(words) == 0
    (run,) = tmp_path.glob("*/*")
    assert (run / WEIGHTS).is_file()
    assert [m["step"] for m in read_metrics(run / "metrics.jsonl")] == [1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--seed", "1"], "--seed 1"),
        (["--force-weight", "1"], "--force-weight 1.0"),
        (["--channels", "3"], "--channels 3"),
        (["--minutes", "5"], "--minutes 5.0"),
    ],
)
def test_what_a_force_field_cannot_change_is_refused(force_field, options, says, capsys):
    assert main(["train", "force-field", "--resume", str(force_field), "--quiet", *options]) == 1
    assert says in capsys.readouterr().err


def test_views_that_changed_are_refused_and_moved_ones_are_found(run, views, tmp_path, capsys):
    moved = shutil.copytree(views, tmp_path / "moved")
    settings = json.loads((run / "config.json").read_text())
    settings["data"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(settings))
    more = ["--resume", str(run), "--quiet", "--fit.steps", "5"]
    assert main(["train", "sie", *more]) == 1
    assert f"equivariant train sie NEW_PLACE --resume {run}" in capsys.readouterr().err
    other = rendered(tmp_path / "other", seed=1)
    assert main(["train", "sie", str(other), *more]) == 1
    assert "header.data" in capsys.readouterr().err
    assert main(["train", "sie", str(moved), *more]) == 0
    assert json.loads((run / "config.json").read_text())["data"] == str(moved)
    latent = next(moved.glob("*/*/latent_0.npy"))  # of a training object or a held-out one
    trained = np.load(moved / "train_images.npy")[0].strip("/")
    latent = moved / trained / "latent_0.npy"
    np.save(latent, np.load(latent) + 1e-9)
    assert main(["train", "sie", *more[:-1], "6"]) == 1
    assert "header.data" in capsys.readouterr().err


def test_molecules_that_changed_are_refused(force_field, tmp_path, capsys):
    run = shutil.copytree(force_field, tmp_path / "run")
    other = write(tmp_path / "other.xyz", 12, 1)
    more = ["--resume", str(run), "--quiet", "--steps", "3"]
    assert main(["train", "force-field", str(other), *more]) == 1
    assert "data=" in capsys.readouterr().err
    settings = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**settings, "seed": 1}))
    assert main(["train", "force-field", *more]) == 1
    assert "seed=1 instead of 0" in capsys.readouterr().err
    (run / "config.json").write_text(json.dumps(settings))
    same = shutil.copy(settings["data"], tmp_path / "same.xyz")
    assert main(["train", "force-field", str(same), *more]) == 0
