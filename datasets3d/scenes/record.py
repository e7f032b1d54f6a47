"""What a set of scenes says of itself: columns of its latents, files, and who is in a scene."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets3d.views.factors.angles import rotation_matrix
from equivariant.errors import DataFormatError
from equivariant.files import read_file

KIND = "scenes"
SCENE = "scene.json"
MOST_BYTES = 1 << 16
OF_AN_OBJECT = (
    ("rotation_x_rad", "rad", "a of R = Rz(c) Ry(b) Rx(a): extrinsic turn about x"),
    ("rotation_y_rad", "rad", "b of R = Rz(c) Ry(b) Rx(a): extrinsic turn about y"),
    ("rotation_z_rad", "rad", "c of R = Rz(c) Ry(b) Rx(a): extrinsic turn about z, up"),
    ("x", "scene", "x of the object's origin in the world"),
    ("y", "scene", "y of the object's origin in the world"),
    ("z", "scene", "z of the object's origin in the world"),
    ("scale", "1", "factor of the object's lengths"),
)
WIDTH = len(OF_AN_OBJECT)
CONVENTIONS_OF_SCENES = {
    "scenes": "scene.json names the objects; a point x of object k is at s R x + p, with the "
    "columns object_k_* of the latent; the first three columns are 0",
    "instances": "instances_k.png: 0 where no object is seen, else the number of the object",
}


def columns_of_scenes(source: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a manifest says of the numbers of a latent beyond the seven of every view.

    Args:
        source: What it says of the source; none but scenes have any.
    """
    if source.get("source") != KIND:
        return []
    return [
        {"name": f"object_{k + 1}_{name}", "unit": unit, "meaning": meaning, "range": None}
        for k in range(int(source["objects_per_scene"]))
        for name, unit, meaning in OF_AN_OBJECT
    ]


def names_of_scenes(source: Mapping[str, Any], views: int) -> set[str]:
    """Names of the files of one scene beside images and latents; empty for other sets.

    Args:
        source: What the manifest says of the source.
        views: Views of every scene.
    """
    if source.get("source") != KIND:
        return set()
    return {SCENE, *(f"instances_{k}.png" for k in range(views))}


def poses_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """World from object, [[s R, p], [0, 1]], of the columns of one object or of several.

    Args:
        rows: Three angles, x, y, z, scale; shape (..., 7 n).

    Returns:
        Shape (..., n, 4, 4), float64.

    Example:
        >>> poses_of(np.array([0, 0, 0, 1.0, 2.0, 3.0, 0.5]))[0, :3].tolist()
        [[0.5, 0.0, 0.0, 1.0], [0.0, 0.5, 0.0, 2.0], [0.0, 0.0, 0.5, 3.0]]
    """
    each = rows.reshape(*rows.shape[:-1], rows.shape[-1] // WIDTH, WIDTH)
    found = np.zeros((*each.shape[:-1], 4, 4))
    found[..., :3, :3] = each[..., 6, None, None] * (rotation_matrix(each) + 0.0)
    found[..., :3, 3] = each[..., 3:6]
    found[..., 3, 3] = 1.0
    return found


def scene_bytes(keys: tuple[str, ...]) -> bytes:
    """The bytes of ``scene.json``: names of the objects, in the order of their numbers."""
    return (json.dumps({"objects": list(keys)}, indent=1) + "\n").encode()


def read_members(path: Path | str) -> tuple[str, ...]:
    """The objects of a scene, ``<class>/<object id>``, in the order of their numbers from 1.

    Args:
        path: ``scene.json``.

    Raises:
        DataFormatError: It is missing, damaged or longer than 64 KiB; names the file.
    """
    path = Path(path)
    try:
        data = b" " * (MOST_BYTES + 1) if path.stat().st_size > MOST_BYTES else read_file(path)
    except OSError as error:
        raise _no_members(path, error) from error
    return members_of(data, path)


def members_of(data: bytes, path: Path) -> tuple[str, ...]:
    """:func:`read_members` of a file's content.

    Args:
        data: The content.
        path: For the message.

    Raises:
        DataFormatError: It is damaged or longer than 64 KiB.
    """
    try:
        if len(data) > MOST_BYTES:
            raise ValueError("more than 64 KiB")
        value = json.loads(data)["objects"]
        fine = isinstance(value, list) and all(
            isinstance(key, str) and key.count("/") == 1 for key in value
        )
        if not fine or not value:
            raise ValueError("no names")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_members(path, error) from error
    return tuple(value)


def _no_members(path: Path, error: Exception) -> DataFormatError:
    return DataFormatError(
        expected="the names of a scene's objects", got=f"{type(error).__name__}: {error}",
        argument=str(path),
        advice="It is missing or damaged: `equivariant verify DATA --repair` brings it back.",
    )  # fmt: skip
