"""Pairs of views that are the same whenever and wherever they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.latents import generator

FIXED_PAIRS_PER_OBJECT = 4


def draw_fixed_pairs(
    keys: Sequence[str], *, views: int, pairs_per_object: int, seed: int
) -> NDArray[np.int64]:
    """Pairs of different views of every object.

    Those of an object depend on its name, the number of views and the seed alone; asking for
    more pairs appends to them.

    Args:
        keys: Objects, ``<class>/<object id>``.
        views: Views of every object, at least 2.
        pairs_per_object: At least 1.
        seed: Another seed gives another fixed set.

    Returns:
        Rows (object, first view, second view), shape (objects * pairs_per_object, 3), int64.

    Example:
        >>> draw_fixed_pairs(["a/b"], views=2, pairs_per_object=3, seed=0)[:, 1:].sum(1).tolist()
        [1, 1, 1]
    """
    rows = []
    for index, key in enumerate(keys):
        draw = generator(seed, f"pairs|{key}", views)
        for _ in range(pairs_per_object):
            first = int(draw.integers(views))
            rows.append((index, first, (first + int(draw.integers(1, views))) % views))
    return np.array(rows, dtype=np.int64).reshape(-1, 3)
