"""What a page was computed with: the line at its foot."""

from __future__ import annotations

from equivariant.runs import RunFolder, read_json


def computed_with(run: RunFolder) -> str:
    """The versions that a run was made with, in one sentence.

    Args:
        run: Its folder, with ``environment.json``.

    Raises:
        DataFormatError: The file is missing or damaged.
    """
    environment = read_json(run.path / "environment.json")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(environment.items()))
    return f"Computed with {versions}."
