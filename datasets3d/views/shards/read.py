"""Random access to a set of shards, in memory that grows with neither objects nor views."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.shards.layout import INDEX, LATENTS, OBJECTS, ROW, ShardSet, member_name
from equivariant.errors import ConventionError, DataFormatError
from equivariant.files import open_file

OPEN_FILES = 128


class Keys(Sequence[str]):
    """Names of objects as a sequence of strings, made when they are asked for.

    Args:
        rows: Of ``objects.npy``, their field "key".
        order: Which of them, in which order; None for all as they are.
    """

    def __init__(self, rows: NDArray[Any], order: NDArray[np.int64] | None = None) -> None:
        self._rows, self._order = rows, order

    @property
    def encoded(self) -> NDArray[Any]:
        """All names in UTF-8, an array of bytes; they sort as the strings do."""
        return self._rows if self._order is None else self._rows[self._order]

    def some(self, order: NDArray[np.int64]) -> Keys:
        """Some of these names, in another order."""
        return Keys(self._rows, order if self._order is None else self._order[order])

    def __len__(self) -> int:
        return len(self._rows if self._order is None else self._order)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        row = place if self._order is None else int(self._order[place])
        return bytes(self._rows[row]).decode()

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class _File:
    """An open file; closed when nobody reads it any more."""

    def __init__(self, path: Path) -> None:
        with open_file(path) as file:
            self.number = os.dup(file.fileno())

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class ShardReader:
    """Reads members of shards by shard, offset and length.

    The index is not held: each read looks up its row on disk, and latents and names are memory
    maps. Several threads may read at once; other processes get a reader that opens files anew.

    Args:
        root: Folder of a set of shards.
        check: Compare everything that is read with its checksum; else with its length alone.
        about: What ``shards.json`` says; None reads it.

    Raises:
        DataFormatError: ``shards.json`` or a part of the index is missing or damaged.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, build, export
        >>> root, out = Path(tempfile.mkdtemp()) / "set", Path(tempfile.mkdtemp()) / "shards"
        >>> source = ProceduralMeshes(instances=1, classes=["chair"])
        >>> config = BuildConfig(views=2, size_px=8)
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> _ = export(root, out, format="shards", progress=False)
        >>> reader = ShardReader(out, check=True)
        >>> jpeg = (root / "chair/chair-000000/image_1.jpg").read_bytes()
        >>> reader.keys[0], reader.read(0, 1, "jpg") == jpeg
        ('chair/chair-000000', True)
    """

    def __init__(
        self, root: Path | str, *, check: bool = False, about: ShardSet | None = None
    ) -> None:
        self.root, self.check = Path(root), check
        self.about = about = about or ShardSet.read(self.root)
        objects = self._map(OBJECTS, None, (about.number,))
        names = objects.dtype.names
        if names != ("key", "label") or objects.dtype["key"].kind != "S":
            raise _damaged(self.root / OBJECTS, "names and classes", str(objects.dtype))
        self.keys, self.labels = Keys(objects["key"]), objects["label"]
        shape = (about.number, about.views)
        self.latents = self._map(LATENTS, np.dtype(np.float64), (*shape, len(about.columns)))
        index = self._map(INDEX, ROW, (*shape, len(about.kinds)))
        self._first = int(index.offset)
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "check": self.check, "about": self.about}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def rows(self, index: int, view: int) -> NDArray[Any]:
        """What the index says of the members of a view, one row of each kind."""
        about = self.about
        if not (0 <= index < about.number and 0 <= view < about.views):
            raise ConventionError(
                expected=f"an object below {about.number} and a view below {about.views}",
                got=f"object {index}, view {view}", argument="index",
                advice="Number both from 0.",
            )  # fmt: skip
        size = ROW.itemsize * len(about.kinds)
        data = self._pread(INDEX, size, self._first + (index * about.views + view) * size)
        if len(data) != size:
            raise _damaged(self.root / INDEX, "a row of each view", "a file that is cut off")
        return np.frombuffer(data, ROW)

    def read(self, index: int, view: int, kind: str) -> bytes:
        """The content of one member, as the file of the folder layout has it.

        Args:
            index: Row of the object: train, then val, as they are listed.
            view: Of its views.
            kind: End of the member's name, among ``about.kinds``: "jpg", "latent.npy", ...

        Raises:
            DataFormatError: There is none, it is cut off, or, with ``check``, not what it was.
        """
        about = self.about
        if kind not in about.kinds:
            raise DataFormatError(
                expected=f"one of {', '.join(about.kinds)}", got=repr(kind),
                argument=str(self.root), advice="The set was built without it.",
            )  # fmt: skip
        row = self.rows(index, view)[about.kinds.index(kind)]
        offset, length, shard = int(row["offset"]), int(row["length"]), int(row["shard"])
        if shard >= len(about.shards) or not 0 < offset <= about.bytes[shard] - length:
            got = "no such member" if offset == 0 else "a place outside of the shards"
            raise _damaged(self.where(index, view, kind), "a member of a shard", got)
        data = self._pread(about.shards[shard], length, offset)
        if len(data) != length:
            raise _damaged(self.where(index, view, kind), f"{length} bytes", f"{len(data)}")
        if self.check and hashlib.blake2b(data, digest_size=16).digest() != bytes(row["checksum"]):
            raise _damaged(self.where(index, view, kind), "what was written", "other bytes")
        return data

    def where(self, index: int, view: int, kind: str) -> Path:
        """Shard and name of a member, for messages."""
        shard = int(self.rows(index, view)[self.about.kinds.index(kind)]["shard"])
        names = self.about.shards
        folder = names[shard] if shard < len(names) else INDEX
        return self.root / folder / member_name(self.keys[index], view, kind)

    def shard_order(self, objects: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of some objects, sorted by where they stand in the shards; same shape."""
        found = np.empty((len(objects), 2), np.uint64)
        for place, index in enumerate(objects.tolist()):
            row = self.rows(index, 0)[0]
            found[place] = row["shard"], row["offset"]
        return np.lexsort((found[:, 1], found[:, 0])).astype(np.int64)

    def will_read(self, shard: int, first: int, last: int) -> None:
        """Tell the system that bytes first to last of a shard are wanted soon, where it listens."""
        if hasattr(os, "posix_fadvise"):
            file = self._open(self.about.shards[shard])
            os.posix_fadvise(file.number, first, last - first, os.POSIX_FADV_WILLNEED)

    def _pread(self, name: str, length: int, offset: int) -> bytes:
        file = self._open(name)
        if hasattr(os, "pread"):
            return os.pread(file.number, length, offset)
        with self._lock:  # Windows
            os.lseek(file.number, offset, os.SEEK_SET)
            return os.read(file.number, length)

    def _open(self, name: str) -> _File:
        with self._lock:
            file = self._files.pop(name, None)
            try:
                file = file or _File(self.root / name)
            except OSError as error:
                raise _damaged(self.root / name, "a file of the set", str(error)) from error
            self._files[name] = file
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)
        return file

    def _map(self, name: str, dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> Any:
        path = self.root / name
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # a damaged header may trip any part of NumPy's parser
            raise _damaged(path, "an array", f"{type(error).__name__}: {error}") from error
        fits = getattr(found, "shape", None) == shape and found.flags.c_contiguous
        if not fits or (dtype is not None and found.dtype != dtype):
            raise _damaged(path, f"shape {shape}", f"shape {getattr(found, 'shape', None)}")
        return found


def _damaged(path: Path, expected: str, got: str) -> DataFormatError:
    return DataFormatError(
        expected=expected, got=got, argument=str(path),
        advice="It is missing or damaged: `equivariant verify` names all that is.",
    )  # fmt: skip
