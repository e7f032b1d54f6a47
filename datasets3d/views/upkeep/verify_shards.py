"""Whether a set of shards is what its index and manifest say, every byte of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from datasets3d.views.schema import MANIFEST, PLAN, Manifest
from datasets3d.views.shards.layout import SHARDS, ShardSet, file_of, member_name
from datasets3d.views.shards.read import ShardReader
from datasets3d.views.shards.tar import END, header, padding
from datasets3d.views.storage import digest_of
from datasets3d.views.upkeep.problem import Problem
from equivariant.errors import DataFormatError
from equivariant.files import checksum


def problems_of_shards(root: Path, manifest: Manifest) -> list[Problem]:
    """Missing, damaged and foreign files, and members of shards; memory holds one object.

    Where the index is damaged, whole shards cannot be told from damaged ones, and only their
    sizes are compared.

    Args:
        root: Folder of the shards.
        manifest: Of the set.
    """
    try:
        about = ShardSet.read(root)
    except DataFormatError as error:
        return [Problem("file", SHARDS, f"{SHARDS} is damaged: {error.got}")]
    problems = damage_of_files(root, {PLAN: "", **manifest.files, **about.files})
    for name, size in zip(about.shards, about.bytes, strict=True):
        there = (root / name).stat().st_size if (root / name).is_file() else None
        if there is None:
            problems.append(Problem("file", name, f"{name} is missing"))
        elif there != size:
            problems.append(Problem("file", name, f"{name} has {there} bytes instead of {size}"))
    if not {problem.name for problem in problems} & set(about.files):
        problems += _of_members(ShardReader(root, about=about), manifest)
    known = {PLAN, MANIFEST, SHARDS, *manifest.files, *about.files, *about.shards}
    present = {path.name for path in root.iterdir() if not path.name.startswith(".")}
    return problems + [
        Problem("foreign", name, f"{name} is not in the manifest")
        for name in sorted(present - known)
    ]


def damage_of_files(root: Path, files: Mapping[str, str]) -> list[Problem]:
    """Files beside the objects that are missing or have another checksum.

    Args:
        root: The set's folder.
        files: Checksums by name; empty ones are not compared.
    """
    problems = []
    for name, expected in files.items():
        if not (root / name).is_file():
            problems.append(Problem("file", name, f"{name} is missing"))
        elif expected and checksum(root / name) != expected:
            problems.append(Problem("file", name, f"{name} is damaged"))
    return problems


def _of_members(reader: ShardReader, manifest: Manifest) -> list[Problem]:
    """Read every shard from beginning to end as the index says, object by object."""
    about, problems = reader.about, list[Problem]()
    order = reader.shard_order(np.arange(about.number))
    tar: IO[bytes] | None = None
    opened = -1
    try:
        for index in order.tolist():
            shard = int(reader.rows(index, 0)[0]["shard"])
            if shard != opened:
                problems += _end_of(tar, about.shards[opened])
                opened = shard
                path = reader.root / about.shards[shard]
                tar = path.open("rb") if path.is_file() else None
            problems += _of_object(reader, index, tar, manifest)
        problems += _end_of(tar, about.shards[opened])
    finally:
        if tar is not None:
            tar.close()
    absent = sorted(set(manifest.digests) - set(reader.keys))
    return problems + [Problem("object", key, f"{key} is missing") for key in absent]


def _end_of(tar: IO[bytes] | None, name: str) -> list[Problem]:
    """What is wrong with the end of a shard, which is closed."""
    if tar is None:
        return []
    with tar:
        return (
            [] if tar.read() == END else [Problem("file", name, f"{name} does not end as it did")]
        )


def _of_object(
    reader: ShardReader, index: int, tar: IO[bytes] | None, manifest: Manifest
) -> list[Problem]:
    """What is wrong with the members of an object, each named."""
    key, files, faults = reader.keys[index], dict[str, bytes](), list[str]()
    if key not in manifest.digests:
        return [Problem("object", key, f"{key} is in the index and not in the manifest")]
    for view in range(reader.about.views):
        rows = reader.rows(index, view)
        for kind, row in zip(reader.about.kinds, rows, strict=True):
            if not row["offset"]:
                continue
            name, length = member_name(key, view, kind), int(row["length"])
            head = header(name, length)
            if tar is None:
                faults.append(f"{name} is missing")
                continue
            tar.seek(int(row["offset"]) - len(head))
            found, data = tar.read(len(head)), tar.read(length)
            if len(data) < length:
                faults.append(f"{name} is missing" if not found else f"{name} is cut off")
            elif hashlib.blake2b(data, digest_size=16).digest() != bytes(row["checksum"]):
                faults.append(f"{name} is damaged")
            elif found != head or tar.read(-length % 512) != padding(length):
                faults.append(f"what surrounds {name} in its tar file is damaged")
            files[file_of(kind, view)] = data
    files.pop("", None)
    if not faults and digest_of(files) != manifest.digests[key]:
        faults = ["contents that are not those of its checksum in the manifest"]
    if not faults:
        return []
    shard = reader.about.shards[int(reader.rows(index, 0)[0]["shard"])]
    return [Problem("object", key, f"{key} is damaged in {shard}: {'; '.join(faults)}")]
