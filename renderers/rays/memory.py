"""Memory that every frame uses again: fresh pages from the system cost more than the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderers.rays.hierarchy import Found
from renderers.rays.kernels import Rays, Samples, Singles


class Room(NamedTuple):
    """Where one pass is written.

    Shadow rays take the place of the primary rays, which are done with by then; only the numbers of
    their samples are kept apart.
    """

    samples: Samples
    primary: Rays
    shadow: Rays
    found: Found
    marks: NDArray[np.int32]


class Memory:
    """Room for one pass; grows to the largest that it was asked for.

    Example:
        >>> room = Memory().of(5)
        >>> room.samples.kind.size, len(room.samples.depth), len(room.shadow.origins)
        (5, 0, 5)
    """

    def __init__(self) -> None:
        self._reserve(0)

    def _reserve(self, count: int) -> None:
        def singles(*width: int) -> Singles:
            return np.empty((count, *width), np.float32)

        self._samples = Samples(
            np.empty(count, np.uint8), np.empty(count, np.uint8),
            singles(3), singles(), singles(), singles(), singles(3),
            np.empty((0, 3), np.float32), np.empty((0, count), np.uint8),
        )  # fmt: skip
        self._primary = Rays(singles(3), singles(3), np.empty(count, np.int64))
        self._shadow = self._primary._replace(sample=np.empty(count, np.int64))
        self._found = Found.of(count)
        self._marks = np.empty(count, np.int32)

    def of(self, count: int, *, passes: bool = False) -> Room:
        """Room for some samples, which see nothing yet; what was there before is lost.

        Args:
            count: How many samples.
            passes: Whether depth and normals are wanted.
        """
        if count > self._samples.kind.size:
            self._reserve(count)
        samples = Samples._make(values[:count] for values in self._samples)
        samples.kind[:] = 0
        samples.state[:] = 0
        if not passes:
            samples = samples._replace(depth=samples.depth[:0], normal=samples.normal[:0])
        return Room(samples, self._primary, self._shadow, self._found, self._marks[:count])


class Memories:
    """Pairs of memories, for a first pass and for refined pixels; one for each thread at work."""

    def __init__(self) -> None:
        self._idle: list[tuple[Memory, Memory]] = []

    @contextmanager
    def borrowed(self) -> Iterator[tuple[Memory, Memory]]:
        """A pair that nobody else has; what it holds is nobody's afterwards."""
        pair = self._idle.pop() if self._idle else (Memory(), Memory())
        try:
            yield pair
        finally:
            self._idle.append(pair)
