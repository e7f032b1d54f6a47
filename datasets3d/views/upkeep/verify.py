"""Whether a data set is what its manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets3d.views.parts import names_of
from datasets3d.views.passes.files import read_pass_file
from datasets3d.views.passes.kinds import files_of_passes, recorded_passes
from datasets3d.views.schema import MANIFEST, PLAN, Manifest
from datasets3d.views.shards.layout import holds_shards
from datasets3d.views.storage import WARNINGS, digest, read_array, read_image
from datasets3d.views.upkeep.problem import Problem
from datasets3d.views.upkeep.verify_shards import damage_of_files, problems_of_shards
from equivariant.errors import DataFormatError
from equivariant.runs import read_json


def verify(root: Path | str) -> list[str]:
    """Compare a data set with its manifest, every byte of it, as folders or as shards.

    Args:
        root: Folder that ``build`` or an export as shards wrote.

    Returns:
        One sentence per missing, damaged or foreign object or file; empty where all is well. Of a
        damaged object it names every file that is missing or cannot be read. Files that are not
        the set's are foreign, and damage nothing; names that start with a dot, such as a reader's
        cache, are not looked at.

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
    if holds_shards(root):
        return problems_of_shards(root, manifest)
    problems: list[Problem] = []
    for key in manifest.digests:
        problems += _of_object(root, key, manifest)
    problems += damage_of_files(root, {PLAN: "", **manifest.files})
    return problems + _foreign(root, manifest)


def _of_object(root: Path, key: str, manifest: Manifest) -> list[Problem]:
    """What is wrong with an object: all that its files show; what is foreign to it apart."""
    folder = root / key
    if not folder.is_dir():
        return [Problem("object", key, f"{key} is missing")]
    expected = _files_of(key, manifest)
    present = {path.name for path in folder.iterdir()}
    foreign = [
        Problem("foreign", f"{key}/{name}", f"{key}/{name} is not in the manifest")
        for name in sorted(present - expected)
        if not name.startswith(".")
    ]
    if digest(folder, only=expected) == manifest.digests[key]:
        return foreign
    faults = []
    if absent := sorted(expected - present):
        faults.append(f"without {', '.join(absent)}")
    faults += [why for name in sorted(expected & present) if (why := _unreadable(folder / name))]
    if not faults:
        faults = ["contents that are not those of its checksum"]
    return [Problem("object", key, f"{key} is damaged: {'; '.join(faults)}"), *foreign]


def _files_of(key: str, manifest: Manifest) -> set[str]:
    """Names of the files of an object."""
    views = int(manifest.config["views"])
    expected = {f"image_{k}.jpg" for k in range(views)} | {f"latent_{k}.npy" for k in range(views)}
    extra = {WARNINGS} if key in manifest.warnings else set[str]()
    passes = files_of_passes(recorded_passes(manifest.config), views)
    return expected | names_of(manifest.source, views) | passes | extra


def _unreadable(path: Path) -> str:
    """Says that a file of an object cannot be read; empty where it can."""
    if not path.is_file():
        return f"{path.name} is no file"
    try:
        if path.suffix == ".npy":
            read_array(path)
        elif path.suffix == ".npz":
            read_pass_file(path)
        elif path.suffix in (".jpg", ".png"):
            read_image(path)
        else:
            read_json(path)
    except DataFormatError:
        return f"{path.name} cannot be read"
    return ""


def _foreign(root: Path, manifest: Manifest) -> list[Problem]:
    known: dict[str, Any] = {**manifest.digests, **manifest.files, MANIFEST: "", PLAN: ""}
    classes = {key.split("/")[0] for key in manifest.digests}
    present: list[str] = []
    for path in root.iterdir():
        if path.is_dir() and path.name in classes:
            inside = (inner.name for inner in path.iterdir() if not inner.name.startswith("."))
            present += [f"{path.name}/{name}" for name in inside]
        elif not path.name.startswith("."):
            present.append(path.name)
    return [
        Problem("foreign", name, f"{name} is not in the manifest")
        for name in sorted(set(present) - set(known))
    ]
