"""The set that is exported, as the writers of layouts see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from datasets3d.scenes.record import KIND, SCENE, poses_of, read_members
from datasets3d.scenes.scene_files import rows_in
from datasets3d.views.passes.camera import ViewCamera, read_camera
from datasets3d.views.passes.files import read_pass
from datasets3d.views.passes.kinds import PassName, recorded_passes
from datasets3d.views.schema import Manifest
from datasets3d.views.storage import ChannelOrder, read_image


@dataclass(frozen=True, eq=False)
class ExportedInstance:
    """An object in a picture.

    Args:
        key: The object, ``<class>/<object id>``.
        seen: Its pixels, shape (size, size), bool; none where it is hidden.
        whole: What it would cover without other objects, the same; None where that is not kept.
        pose: Object to camera, OpenCV's axes, a similarity, shape (4, 4).
    """

    key: str
    seen: NDArray[np.bool_]
    whole: NDArray[np.bool_] | None
    pose: NDArray[np.float64]


@dataclass
class ExportedSet:
    """A set with passes.

    Args:
        root: Its folder.
        manifest: Its manifest.
        meshes: The folder of the mesh files it was built from, where that is known.
        progress: Whether a bar is shown.
        remarks: What writers have to say, one sentence each.
    """

    root: Path
    manifest: Manifest
    meshes: Path | None
    progress: bool
    remarks: list[str] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        """All objects, ``<class>/<object id>``, sorted."""
        return sorted(self.manifest.splits)

    @property
    def views(self) -> int:
        """Views of every object."""
        return int(self.manifest.config["views"])

    @property
    def size_px(self) -> int:
        """Side of the pictures."""
        return int(self.manifest.config["size_px"])

    @property
    def channel_order(self) -> ChannelOrder:
        """Order of colors in the files of pictures."""
        return "bgr" if self.manifest.config["channel_order"] == "bgr" else "rgb"

    def each(self, what: str) -> Iterator[tuple[int, str]]:
        """Number from 0 and name of every object, under a bar."""
        yield from enumerate(tqdm(self.keys, desc=what, unit="obj", disable=not self.progress))

    @property
    def of_scenes(self) -> bool:
        """Whether a picture shows several objects."""
        return self.manifest.source.get("source") == KIND

    def members(self, key: str) -> tuple[str, ...]:
        """The objects that the pictures of a folder of the set show."""
        return read_members(self.root / key / SCENE) if self.of_scenes else (key,)

    def instances(self, key: str, view: int) -> list[ExportedInstance]:
        """The objects in a picture, in the order of :meth:`members`."""
        camera = self.camera(key, view)
        if not self.of_scenes:
            mask = self.array(key, view, "mask")
            return [ExportedInstance(key, mask, mask, camera.object_pose())]
        keys = self.members(key)
        row = rows_in(self.root, key, view, len(keys))
        seen = self.array(key, view, "instances")
        kept = "silhouettes" in recorded_passes(self.manifest.config)
        bits = self.array(key, view, "silhouettes") if kept else None
        return [
            ExportedInstance(
                name, seen == k + 1, None if bits is None else (bits >> np.uint8(k)) % 2 == 1,
                camera.pose() @ pose,
            )
            for k, (name, pose) in enumerate(zip(keys, poses_of(row), strict=True))
        ]  # fmt: skip

    def camera(self, key: str, view: int) -> ViewCamera:
        """Camera and pose of a view."""
        return read_camera(self.root, key, view)

    def array(self, key: str, view: int, name: PassName) -> NDArray[Any]:
        """A pass of a view."""
        return read_pass(self.root, key, view, name)

    def image(self, key: str, view: int) -> NDArray[np.uint8]:
        """A picture in true colors."""
        return read_image(self.root / key / f"image_{view}.jpg", channel_order=self.channel_order)
