"""One shard: its tar file and its share of the index, whole or absent."""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.shards.layout import LABEL, LATENT, ROW, file_of, member_name
from datasets3d.views.shards.tar import END, header, padding
from datasets3d.views.storage import digest_of
from equivariant.errors import DataFormatError
from equivariant.files import read_file

Share = tuple[NDArray[Any], NDArray[np.float64]]


@dataclass(frozen=True)
class ShardFormat:
    """What the members of a shard are.

    Args:
        views: Views of every object.
        kinds: What is kept of a view, in the order of members.
        labels: Names of the classes; a class's number is its place here.
    """

    views: int
    kinds: Sequence[str]
    labels: Sequence[str]

    def contents(self, key: str, files: dict[str, bytes]) -> list[tuple[int, str, bytes]]:
        """View, kind and content of all members of an object, in their order.

        Args:
            key: ``<class>/<object id>``.
            files: As the folder layout has them, by name.
        """
        left = dict(files)
        label = str(self.labels.index(key.split("/")[0])).encode()
        content = []
        for view in range(self.views):
            for kind in self.kinds:
                name = file_of(kind, view)
                if kind == LABEL:
                    content.append((view, kind, label))
                elif name in left:
                    content.append((view, kind, left.pop(name)))
        return content

    def write(
        self, path: Path, number: int, keys: Sequence[str],
        files_of: Callable[[str], dict[str, bytes]], keep: Callable[[Share], None],
    ) -> None:  # fmt: skip
        """Write a shard under a temporary name, and rename it when what is said of it is kept.

        Memory holds one object. The same objects give the same bytes.

        Args:
            path: Of the tar file.
            number: Of the shard in the index.
            keys: Its objects, in their order.
            files_of: Gives the files of an object by name.
            keep: Called with the share of the index: rows (objects, views, kinds), and latents
                (objects, views, columns).
        """
        rows = np.zeros((len(keys), self.views, len(self.kinds)), ROW)
        latents = []
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as tar:
                for place, key in enumerate(keys):
                    content = self.contents(key, files_of(key))
                    for view, kind, data in content:
                        tar.write(header(member_name(key, view, kind), len(data)))
                        checksum = hashlib.blake2b(data, digest_size=16).digest()
                        rows[place, view, self.kinds.index(kind)] = (
                            tar.tell(), len(data), number, np.frombuffer(checksum, np.uint8),
                        )  # fmt: skip
                        tar.write(data)
                        tar.write(padding(len(data)))
                    latents.append([latent_of(data) for _, k, data in content if k == LATENT])
                tar.write(END)
                tar.flush()
                os.fsync(tar.fileno())
            keep((rows, np.array(latents)))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def object_files_of(folder: Path, digest: str, format: ShardFormat) -> dict[str, bytes]:
    """The files of an object in the folder layout, by name, checked against its checksum.

    Args:
        folder: The object's.
        digest: Its checksum.
        format: Says which files it has.

    Raises:
        DataFormatError: A file is missing or damaged.
    """
    names = {file_of(kind, view) for kind in format.kinds for view in range(format.views)} - {""}
    files = {name: read_file(p) for name in names if (p := folder / name).is_file()}
    if digest_of(files) != digest:
        raise DataFormatError(
            expected="an object as it was built", got="other bytes", argument=str(folder),
            advice="`equivariant verify DATA` says what is damaged; --repair rewrites it.",
        )  # fmt: skip
    return files


def latent_of(data: bytes) -> NDArray[np.float64]:
    """The numbers in the content of a latent's file."""
    numbers: NDArray[np.float64] = np.load(io.BytesIO(data), allow_pickle=False)
    return numbers


def mixed(key: str) -> bytes:
    """Sorts objects into an order that has nothing to do with their classes."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()
