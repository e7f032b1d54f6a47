"""Views of articulated objects: a joint state and a mask of parts per view, and the joints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from datasets3d.meshes.articulated import ArticulatedMeshes, Joint, Mechanism
from datasets3d.meshes.source import MeshEntry
from datasets3d.scenes.record import (
    CONVENTIONS_OF_SCENES,
    KIND,
    SCENE,
    columns_of_scenes,
    names_of_scenes,
    scene_bytes,
)
from datasets3d.scenes.scene_meshes import SceneMeshes
from datasets3d.views.schema import COLUMNS
from datasets3d.views.storage import check_extent, read_array
from equivariant.errors import DataFormatError, EquivariantError
from equivariant.files import read_file
from renderers.scene import Rendering

MECHANISM = "mechanism.json"
_NO_MECHANISM = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, EquivariantError
)  # fmt: skip
CONVENTIONS_OF_PARTS = {
    "parts": "parts_k.png: 0 where the object is not seen, else the number of the part plus 1",
    "joints": "mechanism.json: x of part p goes to R e_p(q) x, e_p = e_parent E_p(q_p), e_0 = 1, "
    "points and axes at rest in object coordinates; latents beyond the seventh number are q",
}


def with_state(
    latent: NDArray[np.float64], state: NDArray[np.float64], joints: int
) -> NDArray[np.float64]:
    """A latent followed by the state of every joint, zeros for joints that the object lacks.

    Args:
        latent: Shape (7,).
        state: Shape (own joints,).
        joints: Joints of the object of the data set that has most.

    Returns:
        Shape (7 + joints,), float64.

    Example:
        >>> with_state(np.ones(7), np.array([0.5]), 3)[6:].tolist()
        [1.0, 0.5, 0.0, 0.0]
    """
    return np.concatenate((latent, state, np.zeros(joints - len(state))))


def part_mask(rendering: Rendering, face_parts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The part that each pixel's center sees.

    Args:
        rendering: From a renderer that names faces.
        face_parts: Part of every face, shape (F,).

    Returns:
        0 where the object is not seen, else the number of the part plus 1, shape (size, size),
        uint8.

    Raises:
        DataFormatError: The renderer does not name faces.
    """
    if rendering.faces is None:
        raise DataFormatError(
            expected="a rendering that names the faces it shows", got="none named",
            argument="rendering", advice='Use the renderer "embree".',
        )  # fmt: skip
    seen = rendering.faces >= 0
    return np.where(seen, face_parts[rendering.faces] + 1, 0).astype(np.uint8)


def read_part_mask(path: Path | str) -> NDArray[np.uint8]:
    """The mask of parts of one view, ``parts_k.png``.

    Args:
        path: The file.

    Returns:
        0 where the object is not seen, else the number of the part plus 1, shape (size, size).

    Raises:
        DataFormatError: It is missing, damaged, or not grey; names the file.
    """
    try:
        with Image.open(path) as picture:
            check_extent(*picture.size, size=Path(path).stat().st_size, path=path)
            mode, mask = picture.mode, np.asarray(picture)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise _damaged(path, "a readable mask", f"{type(error).__name__}: {error}") from error
    if mode != "L":
        raise _damaged(path, "a grey picture of 8 bits", f"mode {mode}")
    return mask


def mechanism_bytes(mechanism: Mechanism) -> bytes:
    """The bytes of ``mechanism.json``: names of parts, and the joints."""
    text = json.dumps(asdict(mechanism), indent=1, sort_keys=True)
    return (text + "\n").encode()


def read_mechanism(path: Path | str) -> Mechanism:
    """The parts and joints of one object, ``mechanism.json``.

    Args:
        path: The file.

    Raises:
        DataFormatError: It is missing, damaged, or holds something else; names the file.
    """
    try:
        value: Any = json.loads(read_file(path))
        joints = [
            Joint(**{**joint, "point": tuple(joint["point"]), "axis": tuple(joint["axis"])})
            for joint in value["joints"]
        ]
        found = Mechanism(tuple(value["part_names"]), tuple(joints))
        numbers = np.array([[*j.point, *j.axis, j.low, j.high] for j in joints], np.float64)
    except _NO_MECHANISM as error:
        raise _damaged(path, "parts and joints", f"{type(error).__name__}: {error}") from error
    if not np.isfinite(numbers).all():
        raise _damaged(path, "finite numbers", "NaN or infinity")
    return found


def files_of(source: object, entry: MeshEntry) -> dict[str, bytes]:
    """What is written once per object, by name; nothing for one object that is rigid."""
    if isinstance(source, SceneMeshes):
        return {SCENE: scene_bytes(source.scene(entry).keys)}
    if not isinstance(source, ArticulatedMeshes):
        return {}
    return {MECHANISM: mechanism_bytes(source.object(entry).mechanism)}


def names_of(source: dict[str, Any], views: int) -> set[str]:
    """Names of the files of one object beside images and latents.

    Args:
        source: What the manifest says of the source.
        views: Views of every object.
    """
    if source.get("source") != ArticulatedMeshes.kind:
        return names_of_scenes(source, views)
    return {MECHANISM, *(f"parts_{k}.png" for k in range(views))}


def columns_of(source: dict[str, Any]) -> list[dict[str, Any]]:
    """What a manifest says of the numbers of a latent beyond the seven of every view.

    Args:
        source: What the manifest says of the source.
    """
    if source.get("source") != ArticulatedMeshes.kind:
        return columns_of_scenes(source)
    return [
        {
            "name": f"joint_{k + 1}",
            "unit": "rad, or the mesh's unit of length for a slide",
            "meaning": f"state of joint {k + 1} of mechanism.json; 0 where there is none",
            "range": None,
        }
        for k in range(int(source["joints"]))
    ]


def conventions_of(source: dict[str, Any]) -> dict[str, str]:
    """Conventions that concern articulated objects, or scenes, alone."""
    if source.get("source") == KIND:
        return CONVENTIONS_OF_SCENES
    return CONVENTIONS_OF_PARTS if columns_of(source) else {}


def states_of(path: Path, joints: int) -> NDArray[np.float64]:
    """The state of the joints in a latent's file.

    Args:
        path: ``latent_k.npy``.
        joints: Joints of the data set.

    Returns:
        Shape (joints,), float64.

    Raises:
        DataFormatError: It is damaged or has another number of numbers; names the file.
    """
    row = read_array(path)
    if row.shape != (len(COLUMNS) + joints,) or row.dtype != np.float64:
        got = f"{row.dtype} of shape {row.shape}"
        raise _damaged(path, f"{len(COLUMNS) + joints} numbers, float64", got)
    return row[len(COLUMNS) :].astype(np.float64)


def _damaged(path: Path | str, expected: str, got: str) -> DataFormatError:
    return DataFormatError(
        expected=expected, got=got, argument=str(path),
        advice="The file is missing or damaged: build its object again.",
    )  # fmt: skip
