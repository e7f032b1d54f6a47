"""Archives of mesh files, unpacked so that nothing is written beside the folder meant for it."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import struct
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, Any, Final, cast

from datasets3d.meshes.folders.temporary import temporary_folder
from datasets3d.meshes.formats.limits import limited_memory
from equivariant.errors import ConventionError, DataFormatError, EquivariantError, StorageError

ENDINGS: Final = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz",
)  # fmt: skip
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_COMPRESSED: Final[dict[bytes, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_OTHERS: Final = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
}
_SMALL: Final = 64 << 20  # below it no ratio is asked for
_BLOCK: Final = 1 << 20
_MEMORY: Final = 4 << 30  # for what readers of archives keep of one
Stream = Any  # tarfile gives what reads bytes and is no typing.IO
Member = tuple[str, bool, Callable[[], Stream]]  # name, whether a folder, its contents


@dataclass(frozen=True)
class UnpackingLimits:
    """How much an archive may become; more is refused before it is written.

    Args:
        files: Files and folders, at least 1.
        bytes: Of all files together, at least 1; nine tenths of the free space where that is less.
        ratio: Of unpacked bytes to the archive's, above 0, from 64 MiB on.

    Raises:
        ConventionError: One is not in its range.
    """

    files: int = 1_000_000
    bytes: int = 256 << 30
    ratio: float = 200.0

    def __post_init__(self) -> None:
        for name in ("files", "bytes", "ratio"):
            if not getattr(self, name) > 0:
                raise ConventionError(
                    expected="a limit above 0", got=repr(getattr(self, name)),
                    argument=f"limits.{name}", advice="Leave it out for the default.",
                )  # fmt: skip


def unpack(archive: Path, into: Path, *, limits: UnpackingLimits | None = None) -> None:
    """Write the files of an archive into a folder.

    Zip, and tar plain or compressed by gzip, bzip2 or xz; told by contents. An archive is refused
    as a whole where a name in it is absolute or leads out of the folder, where one is a link, a
    device or anything but a file or a folder, where two files have one name, where it is
    encrypted, or where it becomes more than the limits. Owners, times and permissions are not
    taken over.

    Args:
        archive: The file.
        into: A folder that is made; what is in it after an error is to be removed.
        limits: How much it may become.

    Raises:
        DataFormatError: It is none of these, is damaged, or is refused; names the member.
        StorageError: There is no room, or no folder can be made.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(place / "a.zip", "w") as written:
        ...     written.writestr("chair/a.off", "OFF")
        >>> unpack(place / "a.zip", place / "a")
        >>> (place / "a" / "chair" / "a.off").read_text()
        'OFF'
    """
    limits = limits or UnpackingLimits()
    with _storing(into):
        into.mkdir(parents=True, exist_ok=True)
        budget = _Budget(archive, into, limits)
    try:
        with limited_memory(_MEMORY), ExitStack() as stack:
            for name, is_folder, contents in _members(archive, budget, stack):
                _write(archive, into, name, None if is_folder else contents, budget)
    except EquivariantError:
        raise
    except Exception as error:  # readers of damaged archives stumble over anything
        reason = " ".join(str(error).split())[:160]
        raise _refuse(
            archive, "an archive that can be read", f"{type(error).__name__}: {reason}"
        ) from None


class UnpackedArchive:
    """An archive that is unpacked when its folder is first asked for.

    Args:
        archive: The file.
        keep: Folder where it stays unpacked, for any number of processes; None takes a temporary
            one, which this process removes when the object is gone, or when it ends.
        limits: How much it may become.
    """

    def __init__(
        self, archive: Path, *, keep: Path | None = None, limits: UnpackingLimits | None = None
    ) -> None:
        self.archive, self._keep, self._limits = archive, keep, limits
        self._folder: Path | None = None

    def folder(self) -> Path:
        """The folder, called as the archive is without its ending.

        Raises:
            DataFormatError: The archive is refused, as :func:`unpack` says.
            StorageError: There is no room for it.
        """
        if self._folder is None or not self._folder.is_dir():
            self._folder = self._temporary() if self._keep is None else self._kept(self._keep)
        return self._folder

    def __getstate__(self) -> dict[str, Any]:
        """Copies in other processes find it unpacked; they own no folder."""
        self.folder()
        return self.__dict__

    def _temporary(self) -> Path:
        place = temporary_folder(self)
        folder = place / _stem(self.archive)
        unpack(self.archive, folder, limits=self._limits)
        return folder

    def _kept(self, keep: Path) -> Path:
        try:
            with self.archive.open("rb") as file:
                name = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        except OSError as error:
            raise _refuse(self.archive, "an archive that can be read", str(error)) from None
        final = keep / name
        if not final.is_dir():
            partial = keep / f".partial-{uuid.uuid4().hex}"
            try:
                unpack(self.archive, partial / _stem(self.archive), limits=self._limits)
                with suppress(OSError):  # another process was faster, with the same files
                    os.replace(partial, final)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return next(path for path in final.iterdir() if path.is_dir())


class _Budget:
    """What may still be written."""

    def __init__(self, archive: Path, into: Path, limits: UnpackingLimits) -> None:
        self._archive, self._files = archive, limits.files
        room = min(limits.bytes, int(0.9 * shutil.disk_usage(into).free))
        by_ratio = max(_SMALL, int(limits.ratio * archive.stat().st_size))
        self.most = min(room, by_ratio)
        self._why = (
            f"{by_ratio:,} bytes, {limits.ratio:g} times its own" if by_ratio < room
            else f"{room:,} bytes"
        )  # fmt: skip
        self._left = self.most

    def take(self, count: int, *, left: int | None = None) -> int:
        """Count bytes; returns what is left of ``left``, or of the budget of files."""
        rest = (self._left if left is None else left) - count
        if left is None:
            self._left = rest
        if rest < 0:
            raise _refuse(self._archive, f"an archive of at most {self._why}", "one of more")
        return rest

    def take_file(self) -> None:
        """Count one file or folder."""
        self._files -= 1
        if self._files < 0:
            raise _refuse(self._archive, "fewer files and folders", "more than the limit")


class _Counted:
    """A decompressed stream that ends in an error where it becomes too long: headers of tar
    files are read whole."""

    def __init__(self, stream: Any, budget: _Budget) -> None:
        self._stream, self._budget, self._left = stream, budget, 2 * budget.most

    def read(self, count: int) -> bytes:
        data: bytes = self._stream.read(count)
        self._left = self._budget.take(len(data), left=self._left)
        return data


def _members(archive: Path, budget: _Budget, stack: ExitStack) -> Iterator[Member]:
    try:
        file = stack.enter_context(archive.open("rb"))
        head = file.read(8)
        file.seek(0)
    except OSError as error:
        raise _refuse(archive, "an archive that can be read", str(error)) from None
    for magic, kind in _OTHERS.items():
        if head.startswith(magic):
            raise _refuse(archive, "a folder, or a zip or tar archive", kind)
    if head.startswith(_ZIP):
        opened = stack.enter_context(zipfile.ZipFile(file))
        if len(opened.infolist()) != (count := _count_of_zip(file)):
            raise zipfile.BadZipFile(f"a list of {len(opened.infolist())} files, where {count} are")
        return _of_zip(archive, opened)
    readers = (open_ for magic, open_ in _COMPRESSED.items() if head.startswith(magic))
    stream = next(readers, lambda plain: plain)(file)
    try:
        counted = _Counted(stream, budget)
        tar = tarfile.TarFile.open(fileobj=cast(Any, counted), mode="r|", tarinfo=_Header)
    except tarfile.ReadError:
        raise _refuse(archive, "a folder, or a zip or tar archive", "another file") from None
    return _of_tar(archive, stack.enter_context(tar), counted)


def _count_of_zip(file: IO[bytes]) -> int:
    """Entries as the record at the end counts them: :mod:`zipfile` passes over some of a list
    that is damaged."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 200))
    tail = file.read()
    place = tail.rindex(b"PK\x05\x06")
    count: int = struct.unpack_from("<H", tail, place + 10)[0]
    if count == 0xFFFF and (large := tail.rfind(b"PK\x06\x06", 0, place)) >= 0:
        count = struct.unpack_from("<Q", tail, large + 32)[0]
    return count


def _of_zip(archive: Path, opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        if info.flag_bits & 1:
            raise _refuse(archive, "files that are not encrypted", repr(info.filename))
        mode = stat.S_IFMT(info.external_attr >> 16)
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refuse(
                archive, "files and folders alone", f"{info.filename!r}, a link or device"
            )
        yield info.filename, info.is_dir(), partial(opened.open, info)


class _Header(tarfile.TarInfo):
    """A header of a tar file; one that is damaged or missing is an error, since :mod:`tarfile`
    takes it for the end."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _Header:
        """One header, from its block."""
        if len(buf) != tarfile.BLOCKSIZE:
            raise tarfile.ReadError("an end that is missing: the archive is cut")
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf):  # the end
                raise
            raise tarfile.ReadError(f"a damaged header: {error}") from None


def _of_tar(archive: Path, opened: tarfile.TarFile, stream: _Counted) -> Iterator[Member]:
    for member in opened:
        if not (member.isreg() or member.isdir()):
            raise _refuse(archive, "files and folders alone", f"{member.name!r}, a link or device")
        yield member.name, member.isdir(), partial(_contents, opened, member)
    while stream.read(_BLOCK):  # checksums of compressed files stand at their ends
        pass


def _contents(opened: tarfile.TarFile, member: tarfile.TarInfo) -> Stream:
    found = opened.extractfile(member)
    if found is None:
        raise tarfile.ReadError(f"{member.name!r} without contents")
    return found


def _write(
    archive: Path, into: Path, name: str, contents: Callable[[], Stream] | None, budget: _Budget
) -> None:
    budget.take_file()
    place = into.joinpath(*_inside(archive, name))
    with _storing(place):
        try:
            (place if contents is None else place.parent).mkdir(parents=True, exist_ok=True)
            target = None if contents is None else place.open("xb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise _refuse(archive, "files of different names", f"{name!r} twice") from None
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise _refuse(archive, "names that fit the file system", repr(name)) from None
    if contents is None or target is None:
        return
    with target, contents() as stream:
        while block := stream.read(_BLOCK):
            budget.take(len(block))
            with _storing(place):
                target.write(block)


@contextmanager
def _storing(place: Path) -> Iterator[None]:
    """Tell what cannot be written from what cannot be read."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError.of(error, place) from None


def _inside(archive: Path, name: str) -> list[str]:
    """The parts of a name that stays inside of a folder."""
    plain = name.replace("\\", "/")
    parts = plain.split("/")
    if plain.startswith("/") or ".." in parts or "\0" in plain or PureWindowsPath(name).drive:
        raise _refuse(archive, "names inside of the archive", repr(name))
    return [part for part in parts if part not in ("", ".")]


def _stem(archive: Path) -> str:
    ending = max(
        (e for e in ENDINGS if archive.name.lower().endswith(e)), key=len, default=archive.suffix
    )
    return archive.name[: len(archive.name) - len(ending)].strip(".") or "archive"


def _refuse(archive: Path, expected: str, got: str) -> DataFormatError:
    return DataFormatError(
        expected=expected, got=got, argument=str(archive),
        advice="Nothing was taken from it; where you trust it, unpack it and pass the folder.",
    )  # fmt: skip
