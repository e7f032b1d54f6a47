"""The similarity that takes an object into the world, from the columns of its views' latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.angles import rotation_matrix
from datasets3d.views.factors.placement import SCALE, TRANSLATION
from datasets3d.views.parts import columns_of
from datasets3d.views.schema import COLUMNS, Manifest


def names_of_columns(manifest: Manifest | None) -> tuple[str, ...]:
    """Names of the columns of a set's latents without the states of joints.

    Args:
        manifest: Of a set of ours; None gives the seven of 3DIEBench.
    """
    if manifest is None:
        return tuple(column.name for column in COLUMNS)
    names = [str(column["name"]) for column in manifest.latent_columns]
    return tuple(names[: len(names) - len(columns_of(manifest.source))])


def similarities(latents: NDArray[np.float64], columns: Sequence[str]) -> NDArray[np.float64]:
    """World from object, [[s R, p], [0, 1]].

    Args:
        latents: Shape (..., columns).
        columns: Their names; without "scale" s is 1, without "translation_x" and so on p is 0.

    Returns:
        Shape (..., 4, 4), float64.

    Example:
        >>> names = [column.name for column in COLUMNS] + [*TRANSLATION, SCALE]
        >>> latent = np.array([0, 0, 0, 0, 0, 0, 0, 1.0, 2.0, 3.0, 0.5])
        >>> similarities(latent, names)[:3].tolist()
        [[0.5, 0.0, 0.0, 1.0], [0.0, 0.5, 0.0, 2.0], [0.0, 0.0, 0.5, 3.0]]
    """
    found = np.zeros((*latents.shape[:-1], 4, 4))
    found[..., :3, :3] = rotation_matrix(latents) + 0.0
    found[..., 3, 3] = 1.0
    if SCALE in columns:
        found[..., :3, :3] *= latents[..., columns.index(SCALE), None, None]
    if TRANSLATION[0] in columns:
        first = columns.index(TRANSLATION[0])
        found[..., :3, 3] = latents[..., first : first + 3]
    return found
