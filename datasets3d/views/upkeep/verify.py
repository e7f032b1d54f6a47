"""Whether a data set is what its manifest says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets3d.views.parts import names_of
from datasets3d.views.schema import MANIFEST, PLAN, Manifest
from datasets3d.views.storage import WARNINGS, digest, file_digest


@dataclass(frozen=True)
class Problem:
    """Something that is not what the manifest says.

    Args:
        kind: An "object" of the set or a "file" beside them that is missing or damaged, or what
            is "foreign" to it.
        name: Of the object, file or folder.
        text: One sentence.
    """

    kind: Literal["object", "file", "foreign"]
    name: str
    text: str


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
    return [problem.text for problem in find_problems(root, Manifest.read(root))]


def find_problems(root: Path, manifest: Manifest) -> list[Problem]:
    """What :func:`verify` says, in parts.

    Args:
        root: The data set's folder.
        manifest: Its manifest.
    """
    views = int(manifest.config["views"])
    problems: list[Problem] = []
    for key, checksum in manifest.digests.items():
        folder = root / key
        if not folder.is_dir():
            problems.append(Problem("object", key, f"{key} is missing"))
        elif digest(folder) != checksum:
            extra = {WARNINGS} if key in manifest.warnings else set()
            names = _names(folder, views, manifest.source, extra)
            problems.append(Problem("object", key, f"{key} is damaged{names}"))
    for name, checksum in {PLAN: "", **manifest.files}.items():
        if not (root / name).is_file():
            problems.append(Problem("file", name, f"{name} is missing"))
        elif checksum and file_digest(root / name) != checksum:
            problems.append(Problem("file", name, f"{name} is damaged"))
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


def _foreign(root: Path, manifest: Manifest) -> list[Problem]:
    known: dict[str, Any] = {**manifest.digests, **manifest.files, MANIFEST: "", PLAN: ""}
    classes = {key.split("/")[0] for key in manifest.digests}
    present: list[str] = []
    for path in root.iterdir():
        if path.is_dir() and path.name in classes:
            present += [f"{path.name}/{inner.name}" for inner in path.iterdir()]
        elif not path.name.startswith("."):
            present.append(path.name)
    return [
        Problem("foreign", name, f"{name} is not in the manifest")
        for name in sorted(set(present) - set(known))
    ]
