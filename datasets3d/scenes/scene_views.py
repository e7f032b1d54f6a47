"""Reads views of scenes: pictures, instance masks, the pose of every object, and motions."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets3d.pairs.threediebench import ThreeDIEBench
from datasets3d.scenes.record import KIND, WIDTH, poses_of
from datasets3d.scenes.scene_files import members_in, rows_in
from datasets3d.views.passes.files import read_pass
from datasets3d.views.schema import Manifest
from datasets3d.views.storage import ChannelOrder
from equivariant.errors import DataFormatError


class SceneViews(ThreeDIEBench):
    """One split of a data set that ``build(SceneMeshes(...), root)`` wrote.

    It is a :class:`~datasets3d.ThreeDIEBench` whose objects are scenes: of every view there is an
    instance mask, and of every object in it the pose.

    Args:
        root: The data set's folder, in either layout.
        split: "train", "val" or "all".
        views: The first so many views; None takes those there are.
        channel_order: None takes what the manifest says.
        cache: As of ThreeDIEBench.

    Attributes:
        members: Names of the objects of each scene, in the order of their numbers in masks.
        object_names: Names of all objects that scenes of this split show, sorted.
        object_label_names: Names of their classes, sorted.
        member_objects: Place in ``object_names``, shape (scenes, objects), int64.
        member_labels: Place in ``object_label_names``, shape (scenes, objects), int64.

    Raises:
        DataFormatError: The folder is no data set of scenes, or a file is damaged.
        ConventionError: An argument is out of its range.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, SceneMeshes, build
        >>> root = tempfile.mkdtemp()
        >>> source = SceneMeshes(ProceduralMeshes(instances=1), scenes=1, val_fraction=0.0)
        >>> config = BuildConfig(views=2, size_px=32)
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> scenes = SceneViews(root)
        >>> scenes.object_poses.shape, int(scenes.instances(0, 1).max()) <= 3
        ((1, 2, 3, 4, 4), True)
    """

    def __init__(
        self,
        root: Path | str,
        split: Literal["train", "val", "all"] = "train",
        *,
        views: int | None = None,
        channel_order: ChannelOrder | None = None,
        cache: bool = True,
    ) -> None:
        super().__init__(root, split, views=views, channel_order=channel_order, cache=cache)
        source = Manifest.read(self.root).source
        if source.get("source") != KIND:
            raise DataFormatError(
                expected="a data set of scenes", got=f"one of {source.get('source')}",
                argument=str(root),
                advice="Build it with SceneMeshes, or read it with ThreeDIEBench.",
            )  # fmt: skip
        self.of_one_scale = source["scale_low"] == source["scale_high"]
        self.members = [members_in(self.root, key) for key in self.object_ids]
        self.object_names = sorted({name for names in self.members for name in names})
        self.object_label_names = sorted({name.split("/")[0] for name in self.object_names})
        places = {name: k for k, name in enumerate(self.object_names)}
        ranks = {label: k for k, label in enumerate(self.object_label_names)}
        self.member_objects = np.array([[places[name] for name in s] for s in self.members])
        self.member_labels = np.array(
            [[ranks[name.split("/")[0]] for name in names] for names in self.members]
        )

    @cached_property
    def object_latents(self) -> NDArray[np.float64]:
        """Angles, place and scale of every object, shape (scenes, views, objects, 7), float64.

        Raises:
            DataFormatError: A file is damaged; names the file.
        """
        count = self.member_objects.shape[1]
        if self.shards is not None:
            numbers = self.shards.latents[self.rows][:, : self.views, -WIDTH * count :]
            return np.array(numbers).reshape(len(self), self.views, count, WIDTH)
        rows = [
            [rows_in(self.root, key, k, count) for k in range(self.views)]
            for key in self.object_ids
        ]
        return np.array(rows).reshape(len(self), self.views, count, WIDTH)

    @cached_property
    def object_poses(self) -> NDArray[np.float64]:
        """World from object, x ↦ s R x + p, shape (scenes, views, objects, 4, 4), float64."""
        return poses_of(self.object_latents.reshape(len(self), self.views, -1))

    def instances(self, index: int, view: int) -> NDArray[np.uint8]:
        """Which object each pixel sees.

        Args:
            index: Which scene.
            view: Which view.

        Returns:
            0 where none is seen, else the number of the object, from 1, shape (size, size), uint8.

        Raises:
            DataFormatError: The file is missing or damaged; names the file.
        """
        return read_pass(self.root, self.object_ids[index], view, "instances")
