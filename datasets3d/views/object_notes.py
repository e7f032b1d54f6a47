"""What is known of an object once it is rendered, kept beside the data set until it is whole.

    ROOT/.notes/<class>/<object id>.json

A note is written before its object's folder is renamed into place, so a folder without a note is
one of an earlier version. The manifest takes the notes over, and they are removed: the last call
of a job array reads one short note of each object instead of all of its files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from datasets3d.scenes.record import SCENE
from datasets3d.views.parts import MECHANISM
from datasets3d.views.passes.kinds import is_of_passes
from datasets3d.views.storage import WARNINGS, digest_of, writing
from equivariant.files import read_file

NOTES = ".notes"
_KNOWN = "known.json"
_OF_VIEWS = re.compile(r"(image_\d+\.jpg|latent_\d+\.npy|parts_\d+\.png)", re.ASCII)


@dataclass(frozen=True)
class Note:
    """What is known of one object's files.

    Args:
        digest: Checksum of all of them.
        mesh: Digest of the files that its mesh was made from; empty where it is made from
            settings alone, or was not noted.
        size: Bytes of all files together; 0 where it was not noted.
        cut: Views in which the object reaches the border of the picture.
    """

    digest: str
    mesh: str = ""
    size: int = 0
    cut: int = 0

    @staticmethod
    def of(files: Mapping[str, bytes], *, mesh: str, cut: int) -> Note:
        """The note of files that are about to be written."""
        return Note(digest_of(dict(files)), mesh, sum(map(len, files.values())), cut)

    def fits(self, folder: Path) -> bool:
        """Whether a folder's files have the size noted; reads none, since sizes are enough to
        find what a power cut leaves."""
        own = (path for path in folder.iterdir() if is_own(path.name) and path.is_file())
        return not self.size or self.size == sum(path.stat().st_size for path in own)


def is_own(name: str) -> bool:
    """Whether something in an object's folder has the name of a file that builds write.

    Args:
        name: Of the file.

    Example:
        >>> is_own("image_0.jpg"), is_own("depth_3.npz"), is_own("notes.txt")
        (True, True, False)
    """
    return (
        name in (WARNINGS, MECHANISM, SCENE)
        or bool(_OF_VIEWS.fullmatch(name))
        or is_of_passes(name)
    )


def write_note(root: Path, key: str, note: Note) -> None:
    """Write the note of one object, whole or not at all.

    Raises:
        StorageError: The disk is full, or the place read-only.
    """
    path = root / NOTES / f"{key}.json"
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(json.dumps(asdict(note), sort_keys=True).encode())
        os.replace(temporary, path)


def forget_note(root: Path, key: str) -> None:
    """Remove the note of one object, if there is one."""
    (root / NOTES / f"{key}.json").unlink(missing_ok=True)


def write_notes(root: Path, notes: Mapping[str, Note]) -> None:
    """Write what a manifest that is about to be removed knew of all objects."""
    write_note_file = root / NOTES / _KNOWN
    temporary = write_note_file.with_name(f".{uuid.uuid4().hex}")
    with writing(write_note_file):
        write_note_file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({key: asdict(note) for key, note in notes.items()}, sort_keys=True)
        temporary.write_bytes(text.encode())
        os.replace(temporary, write_note_file)


def read_notes(root: Path) -> dict[str, Note]:
    """All notes, by object; one that cannot be read counts as absent."""
    folder = root / NOTES
    found: dict[str, Note] = {}
    known = _read(folder / _KNOWN)
    for key, value in known.items() if isinstance(known, dict) else ():
        if (note := _note(value)) is not None:
            found[str(key)] = note
    for path in folder.glob("*/*.json"):
        if not path.name.startswith(".") and (note := _note(_read(path))) is not None:
            found[f"{path.parent.name}/{path.name.removesuffix('.json')}"] = note
    return found


def remove_notes(root: Path) -> None:
    """Remove all notes: the manifest has them."""
    shutil.rmtree(root / NOTES, ignore_errors=True)


def _read(path: Path) -> object:
    try:
        value: object = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError):
        return None
    return value


def _note(value: object) -> Note | None:
    kinds = {"digest": str, "mesh": str, "size": int, "cut": int}
    if not isinstance(value, dict) or set(value) != {field.name for field in fields(Note)}:
        return None
    fine = all(type(value[name]) is kind for name, kind in kinds.items())
    return Note(**value) if fine else None
