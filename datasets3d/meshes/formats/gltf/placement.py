"""Where glTF's nodes stand: their matrices, their instances, and the joints of skins."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.formats.gltf.document import Document, Json

INSTANCING: Final = "EXT_mesh_gpu_instancing"


def local_matrix(node: Json) -> NDArray[np.float64]:
    """A node's matrix relative to its parent, T R S, shape (4, 4).

    Args:
        node: With ``matrix`` by columns, or translation, rotation (x, y, z, w) and scale.

    Raises:
        ValueError: It is not of sixteen numbers.

    Example:
        >>> local_matrix({"translation": [1, 2, 3], "scale": [2, 2, 2]})[0].tolist()
        [2.0, 0.0, 0.0, 1.0]
    """
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    one = np.ones((1, 3))
    shift = np.array(node.get("translation", (0.0, 0.0, 0.0)), np.float64).reshape(1, 3)
    turn = np.array(node.get("rotation", (0.0, 0.0, 0.0, 1.0)), np.float64).reshape(1, 4)
    scale = np.array(node.get("scale", one), np.float64).reshape(1, 3)
    found: NDArray[np.float64] = _matrices(shift, turn, scale)[0]
    return found


def instances(document: Document, node: Json) -> NDArray[np.float64]:
    """Matrices of a node's instances, shape (count, 4, 4); the identity where it has none."""
    extension = node.get("extensions", {}).get(INSTANCING)
    if extension is None:
        return np.eye(4)[None]
    found = {name: document.numbers(n) for name, n in extension["attributes"].items()}
    counts = {len(values) for values in found.values()}
    if len(counts) != 1:
        raise ValueError(f"{INSTANCING} with attributes of {sorted(counts)} instances")
    count = counts.pop()
    shift = found.get("TRANSLATION", np.zeros((count, 3)))
    turn = found.get("ROTATION", np.tile((0.0, 0.0, 0.0, 1.0), (count, 1)))
    scale = found.get("SCALE", np.ones((count, 3)))
    return _matrices(*(np.asarray(v, np.float64) for v in (shift, turn, scale)))


def skin_matrices(
    document: Document, number: int, matrices: dict[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """What each joint of a skin does to a vertex at rest, in the scene's coordinates.

    Args:
        document: Where the skin stands.
        number: Of the skin.
        matrices: Of the nodes in the scene's coordinates.

    Returns:
        M_j B_j for the joint's matrix M_j and its inverse bind matrix B_j, shape (joints, 4, 4).

    Raises:
        ValueError: A joint is not in the scene.
    """
    skin = document.entry("skins", number)
    missing = [joint for joint in skin["joints"] if joint not in matrices]
    if missing or not skin["joints"]:
        raise ValueError(f"a skin whose joints {missing[:5]} are not in the scene")
    placed = np.stack([matrices[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" not in skin:
        return placed
    bind = document.numbers(skin["inverseBindMatrices"]).astype(np.float64)
    found: NDArray[np.float64] = placed @ bind[: len(placed)].reshape(-1, 4, 4).transpose(0, 2, 1)
    return found


def _matrices(
    shift: NDArray[np.float64], turn: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    length = np.linalg.norm(turn, axis=1, keepdims=True)
    x, y, z, w = (turn / np.where(length > 0.0, length, 1.0)).T
    rotation = np.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ], 1).reshape(-1, 3, 3)  # fmt: skip
    found = np.tile(np.eye(4), (len(shift), 1, 1))
    found[:, :3, :3] = rotation * scale[:, None, :]
    found[:, :3, 3] = shift
    return found
