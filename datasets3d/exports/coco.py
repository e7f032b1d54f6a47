"""Instance masks in the layout of COCO's annotations (Lin et al. 2014).

    OUT/instances_train.json, OUT/instances_val.json

Pictures stay where they are: ``file_name`` is their path below the set's folder. Every picture has
one instance, of scenes one for every object that is seen; its mask is a run-length encoding of
columns, ``{"size": [height, width], "counts": [...]}``, which pycocotools' ``annToMask`` takes as
it is. Categories are numbered from 1 in the order of the set's labels, of scenes in that of the
labels of their objects.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from datasets3d.exports.exported_set import ExportedSet
from datasets3d.scenes.scene_meshes import MOST
from equivariant.errors import ConventionError


def write_coco(one: ExportedSet, out: Path) -> None:
    """Write the annotations of both splits; memory does not grow with the set.

    Args:
        one: With the pass "mask", and true colors on disk.
        out: An empty folder.

    Raises:
        ConventionError: The set's pictures have red and blue exchanged.
    """
    if one.channel_order != "rgb":
        raise ConventionError(
            expected="pictures in true colors", got="red and blue exchanged on disk",
            argument="root", advice='Build with channel_order "rgb": other readers know no other.',
        )  # fmt: skip
    labels = one.manifest.labels
    if one.of_scenes:
        members = {member for key in one.keys for member in one.members(key)}
        labels = sorted({member.split("/")[0] for member in members})
    category = {label: number for number, label in enumerate(labels, 1)}
    paths = {split: out / f"instances_{split}.json" for split in ("train", "val")}
    later = {split: out / f".annotations_{split}" for split in paths}
    open_now: dict[str, tuple[IO[str], IO[str]]] = {
        split: (paths[split].open("w"), later[split].open("w+")) for split in paths
    }
    categories = [{"id": n, "name": label, "supercategory": "object"} for label, n in
                  category.items()]  # fmt: skip
    try:
        for images, _ in open_now.values():
            images.write(f'{{"info": {{}}, "categories": {json.dumps(categories)},\n"images": [')
        count = Counter[tuple[str, str]]()
        for index, key in one.each("coco"):
            split = one.manifest.splits[key]
            for view in range(one.views):
                number = index * one.views + view + 1
                image = {
                    "id": number, "file_name": f"{key}/image_{view}.jpg",
                    "width": one.size_px, "height": one.size_px,
                }  # fmt: skip
                found = _annotations(one, key, view, number, category)
                kinds = ("images", "annotations")
                for file, kind, values in zip(
                    open_now[split], kinds, ([image], found), strict=True
                ):  # fmt: skip
                    for value in values:
                        comma = ",\n" if count[kind, split] else "\n"
                        file.write(comma + json.dumps(value))
                        count[kind, split] += 1
        for images, annotations in open_now.values():
            annotations.seek(0)
            images.write('],\n"annotations": [')
            while chunk := annotations.read(1 << 20):
                images.write(chunk)
            images.write("]}\n")
    finally:
        for files in open_now.values():
            for file in files:
                file.close()
    for path in later.values():
        path.unlink()


def _annotations(
    one: ExportedSet, key: str, view: int, image: int, category: dict[str, int]
) -> list[dict[str, Any]]:
    """Those of a picture; numbers of scenes' annotations leave room for every object."""
    numbers = one.array(key, view, "instances" if one.of_scenes else "mask")
    found = []
    for k, name in enumerate(one.members(key), 1):
        mask = numbers == k  # a mask of one object is True where it is
        if mask.any():
            own = {
                "id": MOST * (image - 1) + k if one.of_scenes else image, "image_id": image,
                "category_id": category[name.split("/")[0]],
            }  # fmt: skip
            found.append(annotation(mask) | own)
    return found


def annotation(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Mask, area and box of an instance.

    Args:
        mask: Shape (height, width), at least one pixel.

    Returns:
        ``segmentation``, ``area`` in pixels, ``bbox`` (x, y, width, height) with whole pixels
        inside, ``iscrowd`` 0.

    Example:
        >>> mask = np.zeros((3, 4), bool)
        >>> mask[1:, 2] = True
        >>> found = annotation(mask)
        >>> found["bbox"], found["area"], found["segmentation"]["counts"]
        ([2, 1, 1, 2], 2, [7, 2, 3])
    """
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    return {
        "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
        "area": len(rows),
        "bbox": [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1],
        "iscrowd": 0,
    }


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of alternating runs of 0 and 1 down the columns, beginning with 0.

    Args:
        mask: Shape (height, width).

    Example:
        >>> run_lengths(np.array([[True, False], [True, True]]))
        [0, 2, 1, 1]
    """
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    lengths: list[int] = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    return lengths
