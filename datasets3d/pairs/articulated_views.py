"""Reads views of articulated objects: pictures, masks of parts, states of joints, and motions."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.articulated import Mechanism
from datasets3d.meshes.articulated.mechanism import inverse
from datasets3d.pairs.threediebench import ThreeDIEBench
from datasets3d.views.parts import MECHANISM, columns_of, read_mechanism, read_part_mask, states_of
from datasets3d.views.schema import Manifest
from datasets3d.views.shards.layout import refuse_shards
from datasets3d.views.storage import ChannelOrder
from equivariant.errors import DataFormatError


class ArticulatedViews(ThreeDIEBench):
    """One split of a data set that ``build(ArticulatedMeshes(...), root)`` wrote.

    It is a :class:`ThreeDIEBench` whose objects also have parts: a mask and a joint state per
    view, and the element of the piecewise action between any two views of an object.

    Args:
        root: The data set's folder.
        split: "train", "val" or "all".
        views: The first so many views; None takes those there are.
        channel_order: None takes what the manifest says.
        cache: As of :class:`ThreeDIEBench`.

    Raises:
        DataFormatError: The folder is no data set of articulated objects.
        ConventionError: An argument is out of its range.

    Example:
        >>> import tempfile
        >>> from datasets3d import ArticulatedMeshes, BuildConfig, build
        >>> root = tempfile.mkdtemp()
        >>> source = ArticulatedMeshes(instances=1, classes=["door"], val_fraction=0.0)
        >>> config = BuildConfig(views=2, size_px=16)
        >>> report = build(source, root, config=config, workers=1, progress=False)
        >>> views = ArticulatedViews(root)
        >>> views.states.shape, views.mask(0, 1).shape, views.transform(0, 0, 1).shape
        ((1, 2, 2), (16, 16), (12, 12))
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
        refuse_shards(Path(root))
        super().__init__(root, split, views=views, channel_order=channel_order, cache=cache)
        self._joints = len(columns_of(Manifest.read(self.root).source))
        if not self._joints:
            raise DataFormatError(
                expected="a data set of articulated objects",
                got="one of rigid objects",
                argument=str(root),
                advice="Build it with ArticulatedMeshes, or read it with ThreeDIEBench.",
            )

    @cached_property
    def mechanisms(self) -> list[Mechanism]:
        """Parts and joints of every object.

        Raises:
            DataFormatError: A file is missing or damaged; names the file.
        """
        return [read_mechanism(self.root / key / MECHANISM) for key in self.object_ids]

    @cached_property
    def states(self) -> NDArray[np.float64]:
        """State of every joint, shape (objects, views, joints), zero for those that are not there.

        Raises:
            DataFormatError: A file is damaged; names the file.
        """
        rows = [
            [states_of(self.root / key / f"latent_{k}.npy", self._joints)
             for k in range(self.views)]
            for key in self.object_ids
        ]  # fmt: skip
        return np.array(rows)

    def mask(self, index: int, view: int) -> NDArray[np.uint8]:
        """The part that each pixel shows.

        Args:
            index: Which object.
            view: Which view.

        Returns:
            0 where the object is not seen, else the number of the part plus 1, shape
            (size, size), uint8.

        Raises:
            DataFormatError: The file is missing or damaged; names the file.
        """
        return read_part_mask(self.root / self.object_ids[index] / f"parts_{view}.png")

    def elements(self, index: int, view: int) -> NDArray[np.float64]:
        """Elements of SE3 that take every part from rest, in the object's coordinates, to the
        world of a view.

        Args:
            index: Which object.
            view: Which view.

        Returns:
            R e_p(q), shape (parts, 4, 4), float64.
        """
        mechanism = self.mechanisms[index]
        world = np.eye(4)
        world[:3, :3] = self.rotations[index, view]
        state = self.states[index, view, : len(mechanism.joints)]
        found: NDArray[np.float64] = world @ mechanism.elements(state)
        return found

    def transform(self, index: int, view_a: int, view_b: int) -> NDArray[np.float64]:
        """The element of the piecewise action that takes what one view shows to another.

        Args:
            index: Which object.
            view_a: A view.
            view_b: Another.

        Returns:
            An element of ``Product(SE3(), ..., SE3())`` in the coordinates of the world, shape
            (4 parts, 4 parts), float64.
        """
        moved = self.elements(index, view_b) @ inverse(self.elements(index, view_a))
        count = len(moved)
        joined = np.zeros((count, 4, count, 4))
        for part in range(count):
            joined[part, :, part, :] = moved[part]
        return joined.reshape(4 * count, 4 * count)
