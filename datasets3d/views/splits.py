"""Which objects are held out."""

from __future__ import annotations

from typing import Literal

from datasets3d.meshes.source import MeshEntry, Split
from datasets3d.views.latents import generator


def split_of(
    entry: MeshEntry, *, val_fraction: float, seed: int, by: Literal["object", "id"] = "object"
) -> Split:
    """The split of an object: what its source says, else a draw of its own.

    The draw depends on the seed and the object's name alone, so adding objects moves none.

    Args:
        entry: The object.
        val_fraction: Probability of "val" where the source does not say.
        seed: Of the data set.
        by: "object" draws for each class and id, "id" for each id whatever its class.

    Example:
        >>> split_of(MeshEntry("cup", "a", None, "a.obj"), val_fraction=1.0, seed=0)
        'val'
    """
    if entry.split is not None:
        return entry.split
    name = f"{entry.label}/{entry.object_id}" if by == "object" else entry.object_id
    draw = generator(seed, f"split|{name}").random()
    return "val" if draw < val_fraction else "train"
