"""The clouds of all views of a set, from the meshes and latents that its pictures were made of."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.source import MeshEntry, MeshSource
from datasets3d.modalities.view_cloud import (
    SurfaceSample,
    ViewCloud,
    view_cloud,
    visible_points,
)
from datasets3d.pairs.threediebench import ThreeDIEBench
from datasets3d.views.factors.draws import generator
from datasets3d.views.latents import ViewLaw
from datasets3d.views.parts import columns_of
from datasets3d.views.plan import key_of
from datasets3d.views.schema import Manifest
from datasets3d.views.upkeep.recorded import recorded_config, recorded_source
from equivariant.errors import ConventionError, DataFormatError
from renderers.scene import Mesh, Scene
from renderers.sight import Sight


class ViewClouds:
    """Points on the surfaces of a set's objects, in the pose of each of their views.

    The points of an object depend on (seed, class, object id, points) and its mesh alone, and are
    the same ones in all of its views: between two views they move by the element of the group that
    is between their poses. Meshes are read when an object is first asked for.

    Args:
        dataset: Views of rigid objects, in folders or shards, built by this package.
        meshes: Folder or archive of the mesh files that it was built from; sets of objects that
            are made need none.
        source: Where the objects come from, in place of ``meshes``; for sources of your own.
        law: Of sets whose law or factors are your own, which are not recorded.
        points: Points per object, at least 1.
        seed: Of the points, at least 0.

    Raises:
        ConventionError: An argument is out of its range, the meshes' place is needed and not
            given, or the objects have joints.
        DataFormatError: The set has no manifest, or the source lacks an object of it.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ObjectScale, ProceduralMeshes, build
        >>> root = tempfile.mkdtemp()
        >>> source = ProceduralMeshes(instances=2, classes=["chair"], val_fraction=0.0)
        >>> config = BuildConfig(views=2, size_px=8, law=ViewLaw(factors=(ObjectScale(),)))
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> clouds = ViewClouds(ThreeDIEBench(root), points=100)
        >>> a, b = clouds.cloud(0, 0), clouds.cloud(0, 1)
        >>> pose_a, pose_b = clouds.dataset.poses[0]
        >>> g = pose_b @ np.linalg.inv(pose_a)
        >>> bool(np.allclose(a.points @ g[:3, :3].T + g[:3, 3], b.points))
        True
    """

    def __init__(
        self,
        dataset: ThreeDIEBench,
        *,
        meshes: Path | str | None = None,
        source: MeshSource | None = None,
        law: ViewLaw | None = None,
        points: int = 1024,
        seed: int = 0,
    ) -> None:
        for name, value, least in (("points", points, 1), ("seed", seed, 0)):
            if value < least:
                raise ConventionError(
                    expected=f"at least {least}", got=str(value), argument=name,
                    advice="See the documentation of ViewClouds.",
                )  # fmt: skip
        manifest = Manifest.read(dataset.root)
        if columns_of(manifest.source):
            raise ConventionError(
                expected="views of rigid objects", got=str(manifest.source.get("source")),
                argument="dataset", advice="ArticulatedClouds has those of objects with joints.",
            )  # fmt: skip
        self.dataset, self.points, self.seed = dataset, points, seed
        self.law = recorded_config(manifest.config, law=law).law
        if source is None:
            place = None if meshes is None else Path(meshes)
            source = recorded_source(manifest.source, meshes=place)
        self.source = source
        entries = {key_of(entry): entry for entry in self.source.entries()}
        absent = [key for key in dataset.object_ids if key not in entries]
        if absent:
            raise DataFormatError(
                expected="meshes of all objects of the set", got=f"none of {absent[0]}",
                argument="meshes", advice="Name the folder that the set was built from.",
            )  # fmt: skip
        self.entries: list[MeshEntry] = [entries[key] for key in dataset.object_ids]
        self._made_from = manifest.meshes
        self._samples: dict[int, SurfaceSample] = {}
        self._visible: dict[int, NDArray[np.uint8]] = {}
        self._mesh: OrderedDict[int, Mesh] = OrderedDict()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getstate__(self) -> dict[str, object]:
        """Leave meshes behind, so that copies for other processes stay small."""
        return {**self.__dict__, "_mesh": OrderedDict()}

    def mesh(self, index: int) -> Mesh:
        """The object at rest, as its views show it; the last one is kept.

        Args:
            index: Which object of the data set.

        Raises:
            DataFormatError: It cannot be read, or is not what the set was rendered from.
        """
        if index not in self._mesh:
            entry = self.entries[index]
            was = self._made_from.get(key_of(entry), "")
            if was and self.source.fingerprint(entry) != was:
                raise DataFormatError(
                    expected="the file that the set was rendered from", got="one that has changed",
                    argument=entry.path, advice="Bring it back, or build the set anew.",
                )  # fmt: skip
            self._mesh.clear()
            self._mesh[index] = self.source.load(entry)
        return self._mesh[index]

    def scene(self, index: int, view: int) -> Scene:
        """What a view shows.

        Args:
            index: Which object.
            view: Which of its views.
        """
        return self.law.scene(self.mesh(index), self.dataset.all_latents[index, view])

    def sample(self, index: int) -> SurfaceSample:
        """The points of an object at rest, the same for all of its views.

        Args:
            index: Which object.

        Raises:
            DataFormatError: The mesh cannot be read or has no area.
        """
        if index not in self._samples:
            entry = self.entries[index]
            draws = generator(self.seed, f"surface|{key_of(entry)}", self.points)
            self._samples[index] = SurfaceSample.draw(
                self.mesh(index), self.points, generator=draws
            )
        return self._samples[index]

    def visible(self, index: int) -> NDArray[np.bool_]:
        """Which points each view of an object sees, shape (views, points), bool.

        Args:
            index: Which object.
        """
        if index not in self._visible:
            sample, sight = self.sample(index), Sight(self.mesh(index))
            rows = [
                visible_points(self.scene(index, view), sample, sight)
                for view in range(self.dataset.views)
            ]
            self._visible[index] = np.packbits(np.stack(rows), axis=1)
        bits = np.unpackbits(self._visible[index], axis=1, count=self.points)
        return bits.astype(np.bool_)

    def cloud(self, index: int, view: int) -> ViewCloud:
        """The cloud of a view, whole; ``.seen()`` of it is what the camera sees.

        Args:
            index: Which object.
            view: Which of its views.

        Raises:
            DataFormatError: The mesh cannot be read or has no area.
        """
        return view_cloud(self.scene(index, view), self.sample(index), Sight(self.mesh(index)))
