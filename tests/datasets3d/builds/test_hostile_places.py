"""Kills, double builds and mutated files: a few here, many with -m long."""

from __future__ import annotations

import pytest
from interrupted_builds import builds_together, killed_builds
from mutated_files import fuzz


def test_mutated_files_are_refused_or_named(tmp_path):
    assert fuzz(tmp_path, count=25)["wrong"] == []


@pytest.mark.long
def test_many_mutated_files_are_refused_or_named(tmp_path):
    assert fuzz(tmp_path, count=1000, seed=1)["wrong"] == []


def test_the_harness_notices_a_reader_that_believes_everything(tmp_path, monkeypatch):
    monkeypatch.setattr("mutated_files.verify", lambda root: [])
    wrong = fuzz(tmp_path, count=15)["wrong"]
    assert sum("not noticed" in case["text"] for case in wrong) > 8


def test_two_builds_started_together(tmp_path):
    found = builds_together(tmp_path, pairs=3)
    assert (found["said"], found["broken"]) == ({"2 objects": 6}, 0)


@pytest.mark.long
def test_many_builds_started_together(tmp_path):
    found = builds_together(tmp_path, pairs=80)
    assert (found["said"], found["broken"]) == ({"2 objects": 160}, 0)


@pytest.mark.long
def test_builds_of_two_workers_killed_at_random_moments(tmp_path):
    found = killed_builds(tmp_path, kills=20, instances=60)
    assert found["same_bytes"] and found["verified"] and found["kills"] >= 15
