"""The sets of scenes, built once; tests do not write to them."""

from __future__ import annotations

import pytest
from building import quiet
from scene_sets import CONFIG, FLOATING, STANDING


@pytest.fixture(scope="session")
def standing(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "standing"
    quiet(STANDING, root, config=CONFIG)
    return root


@pytest.fixture(scope="session")
def floating(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "floating"
    quiet(FLOATING, root, config=CONFIG)
    return root
