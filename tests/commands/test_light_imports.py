"""Verbs, their lookup and the workers of a build load no torch."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import datasets3d
from equivariant.commands.grammar.verbs import VERBS
from equivariant.commands.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def without_tensors(tmp_path):
    """An environment in which importing torch or e3nn fails, in every process started with it."""
    for name in ("torch", "e3nn"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} was imported')\n")
    return {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


def run(environment, *words):
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_ban_bites(without_tensors):
    done = run(without_tensors, "-c", "from datasets3d import TransformPairs")
    assert done.returncode == 1 and "torch was imported" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Render a data set of views"),
        (["build"], "Render a data set of views"),
        (["train"], "A force field, trained on molecules"),
        (["evaluate"], "equivariant evaluate sie --help"),
        (["report"], "equivariant report sie --help"),
    ],
)
def test_help_needs_no_torch(words, says, without_tensors):
    done = run(without_tensors, "-m", "equivariant.commands.main", *words, "--help")
    assert done.returncode == 0, done.stderr
    assert says in " ".join(done.stdout.replace("│", " ").split())


def test_workers_of_a_build_need_no_torch(tmp_path, without_tensors):
    options = ["--instances", "1", "--views", "2", "--size", "16", "--workers", "2"]
    done = run(
        without_tensors, "-m", "equivariant.commands.main", "build", str(tmp_path / "set"), *options
    )
    assert done.returncode == 0, done.stderr
    assert "32 images" in done.stdout


def test_public_names_of_datasets3d_are_all_there():
    for name in datasets3d.__all__:
        assert getattr(datasets3d, name) is not None
        assert name in dir(datasets3d)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        datasets3d.Nothing  # noqa: B018


@pytest.mark.parametrize("name", VERBS)
def test_summaries_are_first_lines_of_docstrings(name):
    verb = VERBS[name]
    assert inspect.getdoc(verb.load()).splitlines()[0] == verb.summary


@pytest.mark.parametrize(
    ("words", "said"), [([], "Render a data set"), (["bild"], "Unrecognized options: bild")]
)
def test_unknown_verbs_are_refused(words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
