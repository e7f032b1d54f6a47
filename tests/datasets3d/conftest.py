"""One small build for all tests of building."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from building import OBJECTS, SOURCE, quiet


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """One uninterrupted build of one process; tests do not write to it."""
    root = tmp_path_factory.mktemp("build") / "whole"
    report = quiet(SOURCE, root)
    assert (report.objects, report.images, report.rendered) == (OBJECTS, 45, 45)
    return root


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy"))
