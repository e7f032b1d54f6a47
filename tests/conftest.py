"""Shared fixtures; jaxtyping's shape annotations are enforced here and only here."""

from __future__ import annotations

import os
import socket
from pathlib import Path

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
