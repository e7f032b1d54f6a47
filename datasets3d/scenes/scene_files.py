"""What is kept of a scene and its views, read from folders or from shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets3d.scenes.record import SCENE, WIDTH, members_of, poses_of, read_members
from datasets3d.views.schema import COLUMNS
from datasets3d.views.shards.layout import is_sharded
from datasets3d.views.shards.members import shard_member
from datasets3d.views.shards.one_shard import latent_of
from datasets3d.views.storage import read_array
from equivariant.errors import DataFormatError


def members_in(root: Path, key: str) -> tuple[str, ...]:
    """The objects of a scene, ``<class>/<object id>``, in the order of their numbers from 1.

    Args:
        root: The set's folder, in either layout.
        key: The scene.

    Raises:
        DataFormatError: ``scene.json`` is missing or damaged; names the file.
    """
    if is_sharded(root):
        return members_of(*shard_member(root, key, 0, SCENE))
    return read_members(root / key / SCENE)


def rows_in(root: Path, key: str, view: int, objects: int) -> NDArray[np.float64]:
    """Angles, place and scale of every object in a view: the last columns of its latent.

    Args:
        root: The set's folder, in either layout.
        key: The scene.
        view: Of its views.
        objects: In each scene.

    Returns:
        Shape (7 objects,), float64; :func:`~datasets3d.scenes.record.poses_of` takes it.

    Raises:
        DataFormatError: The latent is missing, damaged, or too short; names the file.
    """
    path = root / key / f"latent_{view}.npy"
    if is_sharded(root):
        data, path = shard_member(root, key, view, path.name)
        row: NDArray[np.generic] = latent_of(data)
    else:
        row = read_array(path)
    fine = row.ndim == 1 and row.size >= len(COLUMNS) + WIDTH * objects and row.dtype == np.float64
    if not fine:
        raise DataFormatError(
            expected=f"{len(COLUMNS)} numbers, those of factors, and {WIDTH} for each of {objects} "
            "objects", got=f"{row.dtype} of shape {row.shape}", argument=str(path),
            advice="It is damaged: `equivariant verify DATA --repair` brings it back.",
        )  # fmt: skip
    return row[-WIDTH * objects :].astype(np.float64)


def poses_in(root: Path, key: str, view: int) -> NDArray[np.float64]:
    """World from object of every object in a view of a scene, shape (objects, 4, 4), float64.

    Args:
        root: The set's folder, in either layout.
        key: The scene.
        view: Of its views.
    """
    return poses_of(rows_in(root, key, view, len(members_in(root, key))))
