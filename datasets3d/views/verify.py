"""Whether a data set is what its manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets3d.views.parts import names_of
from datasets3d.views.schema import MANIFEST, PLAN, Manifest
from datasets3d.views.storage import WARNINGS, digest, file_digest


def verify(root: Path | str) -> list[str]:
    """Compare a data set with its manifest, every byte of it.

    Args:
        root: Folder that ``build`` wrote.

    Returns:
        One sentence per missing, damaged or foreign object or file; empty where all is well.
        Names that start with a dot, such as a reader's cache, are not looked at.

    Raises:
        DataFormatError: There is no readable manifest.
    """
    root = Path(root)
    manifest = Manifest.read(root)
    views = int(manifest.config["views"])
    problems: list[str] = []
    for key, checksum in manifest.digests.items():
        folder = root / key
        if not folder.is_dir():
            problems.append(f"{key} is missing")
        elif digest(folder) != checksum:
            extra = {WARNINGS} if key in manifest.warnings else set()
            problems.append(f"{key} is damaged{_names(folder, views, manifest.source, extra)}")
    for name, checksum in manifest.files.items():
        if not (root / name).is_file():
            problems.append(f"{name} is missing")
        elif file_digest(root / name) != checksum:
            problems.append(f"{name} is damaged")
    return problems + _foreign(root, manifest)


def _names(folder: Path, views: int, source: dict[str, Any], extra: set[str]) -> str:
    """Which files of an object are too few or too many."""
    expected = {f"image_{k}.jpg" for k in range(views)} | {f"latent_{k}.npy" for k in range(views)}
    expected |= names_of(source, views) | extra
    present = {path.name for path in folder.iterdir()}
    parts = [
        f"{word} {', '.join(sorted(names))}"
        for word, names in (("without", expected - present), ("with", present - expected))
        if names
    ]
    return f": {'; '.join(parts)}" if parts else ""


def _foreign(root: Path, manifest: Manifest) -> list[str]:
    known: dict[str, Any] = {**manifest.digests, **manifest.files, MANIFEST: "", PLAN: ""}
    classes = {key.split("/")[0] for key in manifest.digests}
    present: list[str] = []
    for path in root.iterdir():
        if path.is_dir() and path.name in classes:
            present += [f"{path.name}/{inner.name}" for inner in path.iterdir()]
        elif not path.name.startswith("."):
            present.append(path.name)
    return [f"{name} is not in the manifest" for name in sorted(set(present) - set(known))]
