"""Memory that every frame uses again: fresh pages from the system cost more than the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from renderers.rays.kernels import Samples, ShadowRays, Singles


class Memory:
    """Samples and shadow rays of one pass; grows to the largest that it was asked for.

    Example:
        >>> memory = Memory()
        >>> samples, shadow = memory.of(5, passes=False)
        >>> samples.kind.size, len(samples.depth), len(shadow.origins)
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
        )  # fmt: skip
        self._shadow = ShadowRays(singles(3), singles(3), np.empty(count, np.int64))

    def of(self, count: int, *, passes: bool = False) -> tuple[Samples, ShadowRays]:
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
        return samples, ShadowRays._make(values[:count] for values in self._shadow)


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
