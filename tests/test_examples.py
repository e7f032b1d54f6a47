"""Every example is short, runs, and shows what it says."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def example(name):
    return runpy.run_path(str(FOLDER / f"{name}.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_read_in_a_minute(path):
    assert len(path.read_text().splitlines()) <= 60
    assert f"python examples/{path.name}" in path.read_text(), "it says how it is run"


def test_hello_world(tmp_path):
    untrained, perfect = example("hello_world")["main"](tmp_path / "data", views=2, size_px=32)
    assert untrained > 0.1 and perfect == 0
    assert list((tmp_path / "data").glob("contact_sheet*"))


def test_measure_yours():
    value, diagnosis = example("measure_yours")["main"](items=8)
    assert value > 0.05 and diagnosis.verdict.name == "NOT_EQUIVARIANT"


def test_new_objective():
    assert example("new_objective")["main"]() < 1


def test_train_encoder(tmp_path):
    before, after = example("train_encoder")["main"](tmp_path, steps=8)
    assert 0 < after < 1.5 and before > 0
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    assert (run / "checkpoints" / "last.safetensors").exists()


def test_force_field(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    _, size, gap = example("force_field")["main"](steps=4)
    assert size > 1 and gap < 1e-9


class TestNewGroup(example("new_group")["TestUpright"]):
    """The tests that the example inherits."""


class TestNewObjective(example("new_objective")["TestHardEquivariant"]):
    """The tests that the example inherits."""
