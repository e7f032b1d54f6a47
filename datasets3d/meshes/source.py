"""Where objects come from: a list of entries, and a mesh for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from renderers.scene import Mesh

Split = Literal["train", "val"]


@dataclass(frozen=True, order=True)
class MeshEntry:
    """One object before it is loaded.

    Args:
        label: Name of its class; becomes a folder name, so ASCII letters, digits, ``_ . -``.
        object_id: Name that is unique within the class, of the same characters.
        split: Where the source says it belongs, or None to let the builder decide.
        path: File it comes from, or a procedural recipe; for messages only.
    """

    label: str
    object_id: str
    split: Split | None
    path: str


class MeshSource(ABC):
    """A set of objects with names. Pickles cheaply: workers receive a copy."""

    @abstractmethod
    def entries(self) -> list[MeshEntry]:
        """All objects, sorted by (label, object_id); reads no mesh.

        Raises:
            DataFormatError: The source is missing, empty, or not laid out as promised.
        """

    @abstractmethod
    def load(self, entry: MeshEntry) -> Mesh:
        """The object, normalized: +Z up, bounding-box center at the origin, box diagonal 1.

        Raises:
            DataFormatError: The file is unreadable, or its mesh has no faces, no extent, or
                vertices that are not finite. Names the file.
        """

    @abstractmethod
    def describe(self) -> dict[str, str | int | float | bool]:
        """Settings that determine the meshes, for a manifest; no absolute path, no time."""
