"""Shared fixtures; jaxtyping's shape annotations are enforced here and only here."""

from __future__ import annotations

import os
from pathlib import Path

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
