"""The set that is exported, as the writers of layouts see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from datasets3d.views.passes.camera import ViewCamera, read_camera
from datasets3d.views.passes.files import read_pass
from datasets3d.views.passes.kinds import PassName
from datasets3d.views.schema import Manifest
from datasets3d.views.storage import ChannelOrder, read_image


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

    def camera(self, key: str, view: int) -> ViewCamera:
        """Camera and pose of a view."""
        return read_camera(self.root, key, view)

    def array(self, key: str, view: int, name: PassName) -> NDArray[Any]:
        """A pass of a view."""
        return read_pass(self.root, key, view, name)

    def image(self, key: str, view: int) -> NDArray[np.uint8]:
        """A picture in true colors."""
        return read_image(self.root / key / f"image_{view}.jpg", channel_order=self.channel_order)
