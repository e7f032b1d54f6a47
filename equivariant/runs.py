"""The run folder, and files that are whole or absent.

runs/<name>/<UTC time>-<6 letters>/
    command.txt config.json environment.json metrics.jsonl
    checkpoints/{last,previous}.safetensors resume.safetensors resume_previous.safetensors
    measures.json report.html
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import platform
import secrets
import shutil
import string
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from equivariant.errors import DataFormatError, StorageError
from equivariant.files import checksum

_PACKAGES = ("equivariant", "torch", "numpy", "e3nn", "trimesh", "embreex", "lightning-fabric")


def write_atomically(path: Path, data: bytes, *, keep: Path | None = None) -> None:
    """Write a file so that it is either whole or absent, also after a power cut.

    Args:
        path: Where to; its folder is made if missing. An existing file is replaced.
        data: Content.
        keep: Where to keep the file that was there before; None keeps none.

    Raises:
        StorageError: The disk is full; the file that was there is as it was.
    """
    with _room(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            if keep is not None and path.is_file():
                _keep(path, keep)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file.

    Raises:
        StorageError: The disk is full.
    """
    with _room(path), path.open("a") as file:
        file.write(line + "\n")


def remove_temporary(path: Path) -> None:
    """Remove what a process that was killed left of a file that it was writing atomically.

    Args:
        path: The file; nobody else may be writing it.
    """
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def _keep(path: Path, keep: Path) -> None:
    """Give the file a second name, at no time without the first."""
    temporary = keep.parent / f".{keep.name}.kept"
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without links
        shutil.copyfile(path, temporary)
    os.replace(temporary, keep)


@contextmanager
def _room(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise StorageError.of(error, path) from error


def write_json(path: Path, value: Any) -> None:
    """Write dataclasses, numbers, strings, lists and dicts as JSON with sorted keys, atomically.

    JSON knows no infinite number and no NaN: they are written as null.
    """
    write_atomically(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """What :func:`write_json` writes."""
    text = json.dumps(_plain(value), indent=2, sort_keys=True, allow_nan=False)
    return (text + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataFormatError: The file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DataFormatError(
            expected="a readable JSON file",
            got=f"{type(error).__name__}: {error}",
            argument=str(path),
            advice="Check that the path names a complete run or data set.",
        ) from error


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's content, 128 bits in hexadecimal.

    Raises:
        DataFormatError: The file cannot be read.
    """
    try:
        return checksum(path)
    except OSError as error:
        raise DataFormatError(
            expected="a readable file", got=f"{type(error).__name__}: {error}",
            argument=str(path), advice="Check its name and place.",
        ) from error  # fmt: skip


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True)
class RunFolder:
    """Where one run keeps everything.

    Args:
        path: The folder; it exists.
    """

    path: Path

    @staticmethod
    def create(
        root: Path, name: str, *, config: Any, command: list[str] | None = None
    ) -> RunFolder:
        """Make a new folder under ``root/name`` and note command, settings and environment.

        Args:
            root: Usually ``runs``.
            name: What is run; letters, digits, ``_ . -``.
            config: A dataclass of settings.
            command: The command line; None takes this process's.

        Raises:
            DataFormatError: The name is not fit for a folder.
        """
        if not name or set(name) - set(string.ascii_letters + string.digits + "_.-"):
            raise DataFormatError(
                expected="a run name of letters, digits, _ . -",
                got=repr(name),
                argument="name",
                advice="The name becomes a folder.",
            )
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(6))
        path = root / name / f"{stamp}-{letters}"
        path.mkdir(parents=True)
        run = RunFolder(path)
        line = "\n".join(sys.argv if command is None else command)
        write_atomically(path / "command.txt", (line + "\n").encode())
        write_json(path / "config.json", config)
        write_json(path / "environment.json", environment())
        return run

    @staticmethod
    def open(path: Path) -> RunFolder:
        """An existing run.

        Raises:
            DataFormatError: There is no run at that path.
        """
        if not (path / "config.json").is_file():
            raise DataFormatError(
                expected="a run folder with config.json",
                got="a folder without it" if path.is_dir() else "nothing there",
                argument=str(path),
                advice="Pass runs/<name>/<time>-<letters>.",
            )
        return RunFolder(path)

    @property
    def weights(self) -> Path:
        """The last weights."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def previous_weights(self) -> Path:
        """The weights of the checkpoint before the last."""
        return self.path / "checkpoints" / "previous.safetensors"

    @property
    def previous_resume(self) -> Path:
        """What ``resume`` held at the checkpoint before the last."""
        return self.path / "resume_previous.safetensors"

    @property
    def resume(self) -> Path:
        """Everything an interrupted run needs to go on."""
        return self.path / "resume.safetensors"

    @property
    def metrics(self) -> Path:
        """One JSON object per logged step."""
        return self.path / "metrics.jsonl"


def environment() -> dict[str, str]:
    """Versions that results may depend on; names no machine and no path."""
    versions = {"python": platform.python_version(), "platform": platform.machine()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions
