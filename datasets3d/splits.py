"""Which objects are held out."""

from __future__ import annotations

from datasets3d.latents import generator
from datasets3d.meshes.source import MeshEntry, Split


def split_of(entry: MeshEntry, *, val_fraction: float, seed: int) -> Split:
    """The split of an object: what its source says, else a draw of its own.

    The draw depends on the seed and the object's name alone, so adding objects moves none.

    Args:
        entry: The object.
        val_fraction: Probability of "val" where the source does not say.
        seed: Of the data set.

    Example:
        >>> split_of(MeshEntry("cup", "a", None, "a.obj"), val_fraction=1.0, seed=0)
        'val'
    """
    if entry.split is not None:
        return entry.split
    draw = generator(seed, f"split|{entry.label}/{entry.object_id}").random()
    return "val" if draw < val_fraction else "train"
