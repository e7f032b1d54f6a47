"""Files of views by object, view and name, out of shards."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from datasets3d.views.shards.layout import SHARDS, kind_of
from datasets3d.views.shards.read import ShardReader
from equivariant.errors import ConventionError


def shard_member(root: Path, key: str, view: int, name: str) -> tuple[bytes, Path]:
    """The bytes of a file of a view, as the folder layout has it.

    A reader is kept for the set that was read last, as long as its ``shards.json`` is the same.

    Args:
        root: Folder of a set of shards.
        key: The object, ``<class>/<object id>``.
        view: Which of its views, from 0.
        name: Of the file in the folder layout, for example "depth_3.npz".

    Returns:
        The bytes, and shard and name of the member, for messages.

    Raises:
        DataFormatError: There is no such member, or the set is damaged; names it.
        ConventionError: There is no such object or view.
    """
    described = (root / SHARDS).stat()
    reader = _reader(str(root.resolve()), described.st_mtime_ns, described.st_size)
    index, kind = reader.row_of(key), kind_of(name)
    data = reader.read(index, view, kind)
    return data, reader.where(index, view, kind)


class _Rows(ShardReader):
    """A reader that finds objects by name."""

    _order: np.ndarray | None = None

    def row_of(self, key: str) -> int:
        """The row of an object, which ``read`` takes.

        Raises:
            ConventionError: There is no such object.
        """
        encoded = self.keys.encoded
        if self._order is None:
            self._order = np.argsort(encoded, kind="stable")
        name = np.array([key.encode()])
        place = int(np.searchsorted(encoded, name, sorter=self._order)[0])
        row = int(self._order[min(place, len(self._order) - 1)])
        if self.keys[row] != key:
            raise ConventionError(
                expected="an object of the set", got=repr(key), argument="key",
                advice="Objects are named <class>/<object id>.",
            )  # fmt: skip
        return row


@lru_cache(maxsize=1)
def _reader(root: str, written_ns: int, size: int) -> _Rows:
    """A reader of a set in one state."""
    return _Rows(Path(root))
