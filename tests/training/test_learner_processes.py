"""Teachers, episodes, surgery and augmenters on two processes train as on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from learner_processes import BROKEN, LEARNERS


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """What one process and two trained, by learner and name."""
    folder = tmp_path_factory.mktemp("processes")
    script = Path(__file__).with_name("learner_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2"]
    for name, command, count in (("one", [sys.executable], 1), ("two", launcher, 2)):
        arguments = [str(script), str(folder / name), str(count)]
        subprocess.run([*command, *arguments], check=True, env=environment, capture_output=True)
    return [json.loads((folder / n / "weights.json").read_text()) for n in ("one", "two")]


def apart(one, two):
    assert one.keys() == two.keys()
    difference = [
        torch.tensor(one[key], dtype=torch.float64) - torch.tensor(two[key], dtype=torch.float64)
        for key in one
    ]
    return max(float(x.abs().max()) for x in difference)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", LEARNERS)
def test_two_processes_train_as_one(name, weights):
    one, two = (found[name] for found in weights)
    begun = {f"model.{k}": w.tolist() for k, w in LEARNERS[name]().model.named_parameters()}
    assert apart(begun, {key: one[key] for key in begun}) > 0.01  # it learned something
    assert apart(one, two) < 1e-10


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", BROKEN)
def test_steps_of_the_own_rows_are_told_apart(name, weights):
    one, two = (found[f"{name}_alone"] for found in weights)
    assert apart(one, weights[0][name]) < 1e-10  # alone they are the same
    assert apart(one, two) > 1e-6
