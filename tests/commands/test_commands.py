"""The command line from a mesh to a page, its help, and its errors."""

import json
import os
import subprocess
import sys

import pytest

from datasets3d import TransformPairs
from equivariant.commands.grammar.verbs import VERBS
from equivariant.commands.main import main
from equivariant.commands.terminal import duration, size

SMALL = ["--views", "4", "--size", "16", "--workers", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    assert main(["build", str(folder), "--instances", "5", *SMALL]) == 0
    return folder


def run_of(folder, method, data, status=0):
    options = ["--model.method", method, "--model.width", "4", "--model.projector", "16", "8"]
    options += ["--model.irreps", "2x1o", "--fit.steps", "3", "--fit.batch-size", "8"]
    options += ["--fit.accelerator", "cpu", "--fit.probe-every", "2", "--quiet"]
    options += ["--fit.checkpoint-every", "1"]
    assert main(["train", "sie", str(data), "--runs", str(folder), *options]) == status
    (run,) = (folder / method).iterdir()
    return run


def test_from_meshes_to_a_page(data, tmp_path, capsys):
    probe = ["--probe.epochs", "2", "--probe.hidden", "8", "--probe.min-steps", "0"]
    runs = []
    moved = ("sie", "equimod", "equimod_split", "exact")
    for method in (*moved, "simclr", "supervised", "random"):
        run = run_of(tmp_path, method, data)
        assert main(["evaluate", str(run), *probe]) == 0
        measures = json.loads((run / "measures.json").read_text())
        assert ("retrieval" in measures) == (method in moved)
        assert set(measures["parts"]) >= {"all"}
        assert main(["measure", str(run)]) == 0
        errors = json.loads((run / "equivariance.json").read_text())
        split = {"invariant", "equivariant"} if method in moved else {"embedding"}
        assert set(errors["parts"]) == split and bool(errors["law"]) == (len(split) == 2)
        assert (run / "equivariance.html").is_file()
        runs.append(str(run))
    page = tmp_path / "page.html"
    assert main(["report", *runs, "--out", str(page), *probe]) == 0
    text = page.read_text()
    assert "<script" not in text
    assert text.count("data:image/png") == 4
    assert "rotation R²" in capsys.readouterr().out


def test_rotation_and_color_elements(data, tmp_path):
    options = [
        "--model.elements",
        "rotation+color",
        "--model.width",
        "4",
        "--model.projector",
        "16",
    ]
    options += ["16", "--fit.steps", "2", "--fit.batch-size", "8", "--fit.accelerator", "cpu"]
    assert main(["train", "sie", str(data), "--runs", str(tmp_path), *options, "--quiet"]) == 0
    (run,) = (tmp_path / "sie").iterdir()
    probe = ["--probe.epochs", "1", "--probe.hidden", "8", "--probe.min-steps", "0"]
    assert main(["evaluate", str(run), *probe]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["sie", pytest.param("supervised", marks=pytest.mark.exhaustive)]
)
def test_two_processes_share_one_run(method, data, tmp_path):
    options = ["--model.method", method, "--model.width", "4", "--model.projector", "16", "8"]
    options += ["--fit.steps", "3", "--fit.batch-size", "8", "--fit.accelerator", "cpu"]
    options += ["--fit.devices", "2", "--fit.precision", "bf16", "--quiet"]
    command = [sys.executable, "-m", "equivariant.commands.main", "train", "sie", str(data)]
    command += ["--runs", str(tmp_path), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = (tmp_path / method).iterdir()
    assert (run / "checkpoints" / "last.safetensors").is_file()
    assert done.stdout.count("weights:") == 1


def test_a_run_resumes_and_replays(data, tmp_path, capsys):
    run = run_of(tmp_path, "simclr", data)
    before = (run / "checkpoints" / "last.safetensors").read_bytes()
    assert main(["train", "sie", "--resume", str(run), "--quiet"]) == 0
    assert (run / "checkpoints" / "last.safetensors").read_bytes() == before
    (run / "command.txt").write_text("equivariant\nbuild\nnowhere\n--meshes\nabsent\n")
    assert main(["--replay", str(run)]) == 1
    assert "absent" in capsys.readouterr().err


def test_an_interrupted_training_on_images_resumes_bit_for_bit(data, tmp_path, monkeypatch):
    whole = run_of(tmp_path / "whole", "sie", data)
    stream = TransformPairs.stream

    def stopping(self, *args, **options):
        for step, batch in enumerate(stream(self, *args, **options)):
            if step == 2:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(TransformPairs, "stream", stopping)
        parts = run_of(tmp_path / "parts", "sie", data, status=130)
    assert main(["train", "sie", "--resume", str(parts), "--quiet"]) == 0
    for name in ("checkpoints/last.safetensors", "resume.safetensors"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_dry_run_writes_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["build", str(out), "--instances", "2", *SMALL, "--dry-run"]) == 0
    assert not out.exists()
    assert "32 objects, 128 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "OUT", "--meshes", "absent"], "absent"),
        (["build", "OUT", "--meshes", "EMPTY"], "empty"),
        (["build", "OUT", "--size", "0"], "size"),
        (["train", "sie", "absent"], "absent"),
        (["train", "sie"], "data"),
        (["evaluate", "absent"], "absent"),
        (["evaluate"], "run"),
        (["report", "absent"], "absent"),
        (["report"], "run"),
        (["measure", "absent"], "absent"),
        (["--replay", "absent"], "absent"),
    ],
)
def test_errors_are_one_clear_line(arguments, words, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = {"OUT": str(tmp_path / "out"), "EMPTY": str(tmp_path / "empty")}
    assert main([places.get(word, word) for word in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "verb",
    [
        "demo",
        "build",
        "suite",
        "export",
        "turntable",
        "train",
        "evaluate",
        "measure",
        "report",
        "losses",
        "doctor",
    ],
)
def test_help_teaches(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--help" in text and VERBS[verb].summary in " ".join(text.split())
    assert len(text.splitlines()) >= 8


def test_doctor(capsys):
    assert main(["doctor", "--size", "16"]) == 0
    text = capsys.readouterr().out
    assert "embree" in text
    assert "images per second" in text


def test_words_for_durations_and_sizes():
    assert [duration(s) for s in (4.0, 65.0, 3700.0)] == ["4 s", "1 min 05 s", "1 h 01 min"]
    assert [size(n) for n in (999, 1500, 3_200_000_000)] == ["999 B", "1.5 kB", "3.2 GB"]


def test_importing_the_package_loads_no_optional_engine():
    code = (
        "import sys, equivariant, renderers, datasets3d, equivariant.commands.grammar.verbs; "
        "print([m for m in ('pyrender', 'bpy', 'escnn', 'ray', 'torchvision') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
