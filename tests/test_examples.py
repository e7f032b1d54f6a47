"""Every example is short, runs, and shows what it says."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from equivariant.training import read_metrics

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def example(name):
    return runpy.run_path(str(FOLDER / f"{name}.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_read_in_a_minute(path):
    assert len(path.read_text().splitlines()) <= 60
    assert f"python examples/{path.name}" in path.read_text(), "it says how it is run"


def test_hello_world(tmp_path):
    untrained, axes = example("hello_world")["main"](tmp_path / "data", views=2, size_px=32)
    assert untrained > 0.1 and 0 < axes < 1e-6
    assert list((tmp_path / "data").glob("contact_sheet*"))


def test_measure_yours():
    value, diagnosis = example("measure_yours")["main"](items=8)
    assert value > 0.05 and diagnosis.verdict.name == "NOT_EQUIVARIANT"


def test_new_group():
    height, width = example("new_group")["main"](items=4)
    assert height < 1e-6 and width > 0.05


def test_new_objective():
    assert example("new_objective")["main"]() < 1


@pytest.mark.parametrize("name", ["simclr", "moco", "clip", "supcon"])
def test_contrast_in_plain_loops(name):
    first, last = example(f"contrast_{name}")["main"](steps=30)
    assert last < first - 0.1


def test_train_encoder(tmp_path):
    errors = example("train_encoder")["main"](tmp_path, steps=8, trucks=5)
    assert len({round(error, 6) for error in errors}) == 3 and all(0 < e < 1.5 for e in errors)
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    assert (run / "checkpoints" / "last.safetensors").exists()
    steps = [line["step"] for line in read_metrics(run / "metrics.jsonl")]
    assert steps == sorted(set(steps)) and steps[-1] == 8, "the second part went on with the first"


def test_force_field_learns_and_is_equivariant(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    error, size, broken = example("force_field")["main"](steps=60)
    assert error < 0.6 * size and broken < 1e-9


def test_lie_learns_shapes_and_says_how_invariant_it_is():
    upright, turned, report = example("lie")["main"](steps=2)
    assert 0 <= turned <= 1 and 0 <= upright <= 1
    assert report.value("relative") < 0.5


def test_soft_finds_the_turns_that_hold():
    levels = example("soft")["main"](steps=400)
    assert levels.ordered[0] == "turns about z"
    assert levels["all turns"].verdict == "broken"


def test_pieces_are_drawn(tmp_path):
    elements = example("pieces")["main"](tmp_path / "pieces.png", size_px=16)
    assert len(elements) == 10 and (tmp_path / "pieces.png").exists()
    assert all(abs(g - np.eye(len(g))).max() > 1e-3 for g in elements.values())


class TestNewGroup(example("new_group")["TestUpright"]):
    """The tests that the example inherits."""


class TestNewObjective(example("new_objective")["TestHardEquivariant"]):
    """The tests that the example inherits."""


def test_apen_is_certified(capsys):
    predicted, told, report = example("apen")["main"](steps=2, objects=6)
    assert 0 <= predicted <= 1 and 0 <= told <= 1
    assert report.errors["all"].value <= report.bound
    assert "certificates" in capsys.readouterr().out
