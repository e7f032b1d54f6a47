"""Objects without files: sixteen asymmetric kinds, any number of instances of each."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.designs import DESIGNS
from datasets3d.meshes.normalize import normalize
from datasets3d.meshes.solids import Assembly
from datasets3d.meshes.source import MeshEntry, NumberedMeshes
from renderers.scene import Mesh

VERSION = 1  # raise it whenever a design or a draw changes: manifests tell meshes apart by it
CREASE_RAD = math.radians(40.0)
COLORS = 8
STRETCH = 0.25  # each axis by up to this share, either way


class ProceduralMeshes(NumberedMeshes):
    """Multi-part objects with drawn proportions and colors; none looks the same after a rotation.

    Instance i of class c is drawn from a counter-based generator keyed by (seed, c, i) alone: more
    instances or other classes change nothing. Its parts' colors come from a palette of eight hues
    that is drawn in the same way for every class, so color says nothing about the class.

    Args:
        instances: Objects per class, at least 1.
        classes: Which kinds, from ``ProceduralMeshes.all_classes()``; None takes all.
        seed: At least 0.
        val_fraction: Share of the instances in the validation split, in [0, 1], spread evenly:
            instance i is in it when ⌊(i + 1) f⌋ > ⌊i f⌋.

    Raises:
        ConventionError: A setting is out of its range or a class is unknown.

    Example:
        >>> source = ProceduralMeshes(instances=2, classes=["teapot", "chair"])
        >>> [entry.object_id for entry in source.entries()]
        ['chair-000000', 'chair-000001', 'teapot-000000', 'teapot-000001']
        >>> mesh = source.load(source.entries()[0])
        >>> round(float(np.linalg.norm(np.ptp(mesh.vertices, axis=0))), 6)
        1.0
    """

    kind: ClassVar[str] = "procedural"
    version: ClassVar[int] = VERSION

    @classmethod
    def all_classes(cls) -> list[str]:
        """Names of every kind there is, sorted.

        Example:
            >>> len(ProceduralMeshes.all_classes())
            16
        """
        return sorted(DESIGNS)

    def load(self, entry: MeshEntry) -> Mesh:
        """Put the object together, normalized.

        Raises:
            DataFormatError: The entry is not one of this source.
        """
        generator = self._draws(entry)
        colors = palette(generator)
        assembly = Assembly(generator, colors)
        DESIGNS[entry.label](assembly)
        stretch = 1.0 + STRETCH * (2.0 * generator.random(3) - 1.0)
        return normalize(
            assembly.triangles(stretch=stretch), name=entry.path, up="z", crease_rad=CREASE_RAD
        )


def palette(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Draw eight colors that differ: hues from eight equal sectors, light and dark in turn.

    Args:
        generator: Source of the draw.

    Returns:
        sRGB, shape (8, 3), in random order, with neighbors in that order apart in brightness.

    Example:
        >>> palette(np.random.default_rng(0)).shape
        (8, 3)
    """
    sector = generator.permutation(COLORS) + generator.random() + 0.5 * generator.random(COLORS)
    hue = (sector / COLORS) % 1.0
    saturation = 0.45 + 0.5 * generator.random(COLORS)
    bright = (np.arange(COLORS) + generator.integers(2)) % 2
    value = np.where(bright == 1, 0.85, 0.5) + 0.15 * generator.random(COLORS)
    # The colors of a hue circle: each channel is a trapezoid of the hue, a third apart.
    distance = np.abs((hue[:, None] * 6.0 - np.array([0.0, 2.0, 4.0]) + 3.0) % 6.0 - 3.0)
    share = np.clip(2.0 - distance, 0.0, 1.0)
    rgb = value[:, None] * (1.0 - saturation[:, None] * (1.0 - share))
    colors: NDArray[np.uint8] = np.rint(rgb * 255.0).astype(np.uint8)
    return colors
