"""Tar members whose bytes depend on name and content alone (POSIX.1-2001, ustar and pax)."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path

from equivariant.errors import DataFormatError

BLOCK = 512
END = bytes(2 * BLOCK)


def header(name: str, size: int) -> bytes:
    """What stands before a member's content: mode 0644, owner, group and time 0.

    Names that ustar cannot hold (not ASCII, or long) take a pax header before it.

    Args:
        name: Of the member.
        size: Of its content, in bytes.

    Example:
        >>> len(header("chair/x/0.jpg", 5)), len(header("стул/x/0.jpg", 5))
        (512, 1536)
    """
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """Zeros up to the next block of 512 bytes."""
    return bytes(-size % BLOCK)


def members(path: Path) -> Iterator[tuple[str, int, int, bytes]]:
    """Name, offset, length and checksum (BLAKE2b, 128 bits) of every member, as they come.

    Memory grows with the longest member alone.

    Args:
        path: A tar file, not compressed.

    Raises:
        DataFormatError: It is missing, damaged, or holds what is no plain file.
    """
    try:
        with tarfile.open(path, "r:", encoding="utf-8") as archive:
            while (member := archive.next()) is not None:
                vars(archive)["members"].clear()  # else every member stays in memory
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                if file is None or len(content) != member.size:
                    raise tarfile.ReadError(f"{member.name} is cut off, or no plain file")
                checksum = hashlib.blake2b(content, digest_size=16).digest()
                yield member.name, member.offset_data, member.size, checksum
    except (OSError, tarfile.TarError, ValueError, UnicodeError) as error:
        raise DataFormatError(
            expected="a shard, which is a tar file", got=f"{type(error).__name__}: {error}",
            argument=str(path), advice="It is missing or damaged: export the set again.",
        ) from error  # fmt: skip
