"""Shared fixtures; jaxtyping's shape annotations are enforced here and only here."""

from __future__ import annotations

import os
import socket
from pathlib import Path

# One thread for each of several workers: they would wait for one another's cores otherwise.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Read when Triton is imported, which torch does by itself where it is installed.
os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
from jaxtyping import install_import_hook

for package in ("equivariant", "datasets3d", "renderers"):
    install_import_hook(package, "beartype.beartype")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that need it skip, saying so, where it is absent."""
    root = Path(os.environ.get("EQUIVARIANT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real data at {root}: set EQUIVARIANT_DATA to a copy of it")
    return root


@pytest.fixture
def free_port() -> int:
    """A port on the loopback that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


MANY_CASES = ("tests/nn/", "tests/losses/test_tiles.py", "tests/losses/test_contrast.py",
              "tests/losses/test_core_contracts.py", "tests/groups/test_so3.py")  # fmt: skip
"""Where tests run over products of settings; of each the default tier runs ``CASES``."""

CASES = 6


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leave to the exhaustive tier what tests of many cases have beyond a spread of them.

    Of the cases of one test function, in their order, the first, the last and some evenly between
    stay: the same ones every time, whatever the number of workers. A test that is named on the
    command line runs in any case.
    """
    if any("::" in argument for argument in config.args):
        return
    cases = {}
    for item in items:
        if hasattr(item, "callspec") and item.nodeid.startswith(MANY_CASES):
            cases.setdefault(item.nodeid.split("[")[0], []).append(item)
    for same in cases.values():
        last = len(same) - 1
        kept = {round(place * last / (CASES - 1)) for place in range(CASES)}
        for place, item in enumerate(same):
            if place not in kept:
                item.add_marker(pytest.mark.exhaustive)
