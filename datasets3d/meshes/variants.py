"""More objects from few: seeded deformations and recolorings of every mesh of a source."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets3d.meshes.deform import deform, recolor
from datasets3d.meshes.formats.mesh_warning import collected, warn
from datasets3d.meshes.normalize import Triangles, normalize
from datasets3d.meshes.source import MeshEntry, MeshSource
from equivariant.errors import ConventionError, DataFormatError
from renderers.scene import Mesh

VERSION = 1  # raise it whenever a draw changes: manifests tell meshes apart by it
ORIGINAL = "original_"  # before the settings of the source
CREASE_RAD = math.radians(40.0)  # ten degrees above that of files: deforming opens soft edges


class Variants(MeshSource):
    """Each mesh of a source in several shapes and colors; variant 0 is the mesh itself.

    Variant k > 0 is deformed by :func:`deform.deform`, recolored by :func:`deform.recolor`, and
    normalized again; its corner normals are computed anew with a crease of 40 degrees. It depends
    on (seed, label, object_id, k) and the original alone. All variants inherit the original's
    split, so none crosses from training to validation.

    Args:
        source: Where the originals come from.
        count: Variants per object, the original included; at least 1.
        seed: At least 0.
        strength: In [0, 2]: 0 copies the original (up to rounding of colors), 1 keeps classes
            recognizable, 2 is wild.

    Raises:
        ConventionError: A setting is out of its range.

    Example:
        >>> from datasets3d.meshes.procedural import ProceduralMeshes
        >>> source = Variants(ProceduralMeshes(instances=1, classes=["chair"]), count=3)
        >>> [entry.object_id for entry in source.entries()]
        ['chair-000000-v00', 'chair-000000-v01', 'chair-000000-v02']
    """

    def __init__(
        self, source: MeshSource, *, count: int, seed: int = 0, strength: float = 1.0
    ) -> None:
        if count < 1:
            raise _refuse("count", "at least 1", str(count))
        if seed < 0:
            raise _refuse("seed", "an integer of at least 0", str(seed))
        if not 0.0 <= strength <= 2.0:
            raise _refuse("strength", "a number in [0, 2]", str(strength))
        self._source = source
        self._count = count
        self._seed = seed
        self._strength = strength
        self._last: tuple[MeshEntry, Mesh, list[str]] | None = None

    def entries(self) -> list[MeshEntry]:
        """Every variant of every object, sorted by (label, object_id).

        Raises:
            DataFormatError: As the source's.
        """
        return sorted(
            dataclasses.replace(entry, object_id=f"{entry.object_id}-v{k:02d}")
            for entry in self._source.entries()
            for k in range(self._count)
        )

    def load(self, entry: MeshEntry) -> Mesh:
        """One variant; the original is kept for the next call, so load variants in a row.

        Raises:
            DataFormatError: As the source's, or the entry is not one of this source.
        """
        found = re.fullmatch(r"(.+)-v(\d{2,})", entry.object_id)
        if found is None or int(found[2]) >= self._count:
            raise DataFormatError(
                expected=f"an object_id that ends in -v00 to -v{self._count - 1:02d}",
                got=entry.object_id,
                argument="entry",
                advice="Take it from entries() of a source with the same count.",
            )
        original = dataclasses.replace(entry, object_id=found[1])
        if self._last is None or self._last[0] != original:
            with collected() as notes:
                mesh = self._source.load(original)
            self._last = original, mesh, notes
        mesh, k = self._last[1], int(found[2])
        warn(self._last[2], original.path)
        return mesh if k == 0 else self._vary(mesh, original, k)

    def fingerprint(self, entry: MeshEntry) -> str:
        """The original's."""
        found = re.fullmatch(r"(.+)-v\d{2,}", entry.object_id)
        name = entry.object_id if found is None else found[1]
        return self._source.fingerprint(dataclasses.replace(entry, object_id=name))

    def describe(self) -> dict[str, str | int | float | bool]:
        """Settings, and the source's under names that start with ``original_``."""
        return {
            "source": "variants",
            "version": VERSION,
            "count": self._count,
            "seed": self._seed,
            "strength": float(self._strength),
            **{f"{ORIGINAL}{name}": value for name, value in self._source.describe().items()},
        }

    def ignored(self) -> list[str]:
        """What the source ignores."""
        return self._source.ignored()

    def remarks(self) -> list[str]:
        """The source's."""
        return self._source.remarks()

    def as_recorded(self, settings: Mapping[str, Any]) -> Variants:
        """Variants of the source with the names that a set recorded."""
        inner = {
            name.removeprefix(ORIGINAL): value
            for name, value in settings.items()
            if name.startswith(ORIGINAL)
        }
        return self._of(self._source.as_recorded(inner))

    def keeping_names(self, known: Mapping[str, str]) -> Variants:
        """Variants of the source whose objects keep the names that they have in a set."""
        originals = {re.sub(r"-v\d{2,}$", "", key): mesh for key, mesh in known.items()}
        return self._of(self._source.keeping_names(originals))

    def _of(self, source: MeshSource) -> Variants:
        if source is self._source:
            return self
        return Variants(source, count=self._count, seed=self._seed, strength=self._strength)

    def __getstate__(self) -> dict[str, object]:
        """Leave the kept original behind, so that copies stay small."""
        return {**self.__dict__, "_last": None}

    def _vary(self, mesh: Mesh, original: MeshEntry, k: int) -> Mesh:
        generator = self._generator(original, k)
        vertices = deform(mesh.vertices, generator=generator, strength=self._strength)
        names = [
            name
            for name in ("face_colors", "vertex_colors", "texture")
            if getattr(mesh, name) is not None
        ]
        colors = [getattr(mesh, name) for name in names]
        changed = dict(
            zip(
                names,
                recolor(colors, generator=generator, strength=self._strength),
                strict=True,
            )
        )
        triangles = Triangles(
            vertices,
            mesh.faces,
            face_colors=changed.get("face_colors"),
            vertex_colors=changed.get("vertex_colors"),
            texture=changed.get("texture"),
            corner_uv=mesh.corner_uv,
            face_textured=mesh.face_textured,
            corner_tint=mesh.corner_tint,
            texture_tiles=mesh.texture_tiles,
            texture_cutout=mesh.texture_cutout,
        )
        return normalize(
            triangles, name=f"{original.path}, variant {k}", up="z", crease_rad=CREASE_RAD
        )

    def _generator(self, original: MeshEntry, k: int) -> np.random.Generator:
        name = f"{original.label}/{original.object_id}".encode()
        words = np.frombuffer(hashlib.sha256(name).digest()[:16], "<u4").tolist()
        return np.random.Generator(
            np.random.Philox(np.random.SeedSequence([self._seed, *words, k]))
        )


def _refuse(argument: str, expected: str, got: str) -> ConventionError:
    return ConventionError(
        expected=expected, got=got, argument=argument, advice="Choose a value in that range."
    )
