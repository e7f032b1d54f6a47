"""Where objects come from: a list of entries, and a mesh for each."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from equivariant.errors import ConventionError, DataFormatError
from renderers.scene import Mesh

Split = Literal["train", "val"]


@dataclass(frozen=True, order=True)
class MeshEntry:
    """One object before it is loaded.

    Args:
        label: Name of its class; becomes a folder name, so letters, digits, ``_ . -``.
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

    def ignored(self) -> list[str]:
        """What lies where the objects come from and is none of them; empty where all are made."""
        return []

    def remarks(self) -> list[str]:
        """What may surprise in how the objects were found, one sentence each."""
        return []

    def as_recorded(self, settings: Mapping[str, Any]) -> MeshSource:
        """The source with the names of objects that a data set recorded.

        Args:
            settings: What :meth:`describe` said when the set was built.
        """
        return self

    def keeping_names(self, known: Mapping[str, str]) -> MeshSource:
        """The source whose objects keep the names that they have in a data set.

        Args:
            known: Fingerprint of each object of the set, by ``<class>/<object id>``.
        """
        return self

    def fingerprint(self, entry: MeshEntry) -> str:
        """Digest of the contents of all files that an object is made from.

        A build notes it, and refuses to go on with files that have changed meanwhile.

        Returns:
            Hexadecimal digits; empty where the settings of :meth:`describe` say it all.
        """
        return ""


class NumberedMeshes(MeshSource):
    """Objects that are made, not read: instances 0, 1, ... of each of some classes.

    Instance i of class c is drawn from a counter-based generator keyed by (seed, c, i) alone: more
    instances or other classes change nothing.

    Args:
        instances: Objects per class, at least 1.
        classes: Which kinds, from ``all_classes()``; None takes all.
        seed: At least 0.
        val_fraction: Share of the instances in the validation split, in [0, 1], spread evenly:
            instance i is in it when ⌊(i + 1) f⌋ > ⌊i f⌋.

    Raises:
        ConventionError: A setting is out of its range or a class is unknown.
    """

    kind: ClassVar[str]
    """Name of the source in recipes and manifests."""

    version: ClassVar[int]
    """Raised whenever a design or a draw changes."""

    def __init__(
        self,
        *,
        instances: int,
        classes: Sequence[str] | None = None,
        seed: int = 0,
        val_fraction: float = 0.2,
    ) -> None:
        known = self.all_classes()
        _check(instances, classes, known, seed=seed, val_fraction=val_fraction)
        self._instances = instances
        self._classes = tuple(sorted(known if classes is None else set(classes)))
        self._seed = seed
        self._val_fraction = val_fraction

    @classmethod
    @abstractmethod
    def all_classes(cls) -> list[str]:
        """Names of every kind there is, sorted."""

    def entries(self) -> list[MeshEntry]:
        """All objects, sorted by (label, object_id)."""
        return sorted(
            self._entry(label, index) for label in self._classes for index in range(self._instances)
        )

    def describe(self) -> dict[str, str | int | float | bool]:
        """Settings that determine the meshes."""
        return {
            "source": self.kind,
            "version": self.version,
            "instances": self._instances,
            "classes": ",".join(self._classes),
            "seed": self._seed,
            "val_fraction": self._val_fraction,
        }

    def _draws(self, entry: MeshEntry, *counters: int) -> np.random.Generator:
        """The generator of an instance, or of one of its further draws.

        Raises:
            DataFormatError: The entry is not one of this source.
        """
        number = entry.object_id.rpartition("-")[2]
        index = int(number) if number.isascii() and number.isdigit() else -1
        known = entry.label in self._classes and 0 <= index < self._instances
        if not known or entry.object_id != self._entry(entry.label, index).object_id:
            raise DataFormatError(
                expected="an entry of this source",
                got=f"{entry.label}/{entry.object_id}",
                argument="entry",
                advice="Take it from entries() of a source with the same classes and instances.",
            )
        name = int.from_bytes(hashlib.sha256(entry.label.encode()).digest()[:8], "little")
        key = np.random.SeedSequence([self._seed, name, index, *counters])
        return np.random.Generator(np.random.Philox(key))

    def _entry(self, label: str, index: int) -> MeshEntry:
        fraction = self._val_fraction
        held_out = math.floor((index + 1) * fraction) > math.floor(index * fraction)
        return MeshEntry(
            label=label,
            object_id=f"{label}-{index:06d}",
            split="val" if held_out else "train",
            path=f"{self.kind}:{label}:{self._seed}:{index}",
        )


def _check(
    instances: int,
    classes: Sequence[str] | None,
    known: list[str],
    *,
    seed: int,
    val_fraction: float,
) -> None:
    if instances < 1:
        raise _refuse("instances", "at least 1", str(instances))
    if seed < 0:
        raise _refuse("seed", "an integer of at least 0", str(seed))
    if not 0.0 <= val_fraction <= 1.0:
        raise _refuse("val_fraction", "a share in [0, 1]", str(val_fraction))
    if classes is not None:
        unknown = sorted(set(classes) - set(known))
        if unknown or not classes:
            raise _refuse("classes", f"names among {', '.join(known)}", str(unknown))


def _refuse(argument: str, expected: str, got: str) -> ConventionError:
    return ConventionError(
        expected=expected, got=got, argument=argument, advice="Choose a value in that range."
    )
