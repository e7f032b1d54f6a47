"""What a folder is being filled with: written first, compared with ever after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.storage import PLAN
from equivariant.errors import ConventionError
from equivariant.runs import read_json, write_json

FORMAT_VERSION = 1


def plan(source: MeshSource, root: Path, settings: dict[str, Any]) -> list[MeshEntry]:
    """All objects; writes the plan of a new folder, or compares with the one that is there.

    Args:
        source: Objects.
        root: The data set's folder; made if missing.
        settings: Everything that determines the files, but for the source.

    Returns:
        The entries of the source.

    Raises:
        DataFormatError: The source is missing or empty, or the plan that is there unreadable.
        ConventionError: The folder holds a build with other settings, or other files.
    """
    entries = source.entries()
    now = {
        "format_version": FORMAT_VERSION,
        "config": settings,
        "source": source.describe(),
        "objects": len(entries),
    }
    root.mkdir(parents=True, exist_ok=True)
    path = root / PLAN
    # Listed before looking for the plan: another shard may be writing it at this moment.
    foreign = [p for p in root.iterdir() if not p.name.startswith((PLAN, f".{PLAN}."))]
    if path.is_file():
        _compare(_flat(read_json(path)), _flat(now), root)
    elif foreign:
        raise ConventionError(
            expected="an empty folder, or one with an unfinished build",
            got="a folder with other files",
            argument=str(root),
            advice="Choose another folder.",
        )
    else:
        write_json(path, now)
    return entries


def _compare(before: dict[str, Any], now: dict[str, Any], root: Path) -> None:
    differ = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    if differ:
        raise ConventionError(
            expected="the settings the build in this folder was started with",
            got="; ".join(f"{k}: {now.get(k)!r} instead of {before.get(k)!r}" for k in differ),
            argument=str(root),
            advice="Choose another folder, or remove this one to start over.",
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [_flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
        return {k: v for item in items for k, v in item.items()}
    return {prefix: list(value) if isinstance(value, tuple) else value}
