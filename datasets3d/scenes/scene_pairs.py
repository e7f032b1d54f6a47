"""Pairs of views of one scene, with one element for every object in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.clouds.piece_clouds import join
from datasets3d.pairs.elements import ElementConvention
from datasets3d.pairs.view_pairs import TransformPairs
from datasets3d.scenes.scene_views import SceneViews
from equivariant.groups import Product
from equivariant.pairs import PairBatch


@dataclass(frozen=True)
class SceneInstances:
    """The objects in the pictures of a batch of pairs of scenes.

    Args:
        objects: Places in ``object_names``, shape (batch, objects), int64.
        labels: Places in ``object_label_names``, shape (batch, objects), int64.
        mask_a: Number of the object that each pixel of the first views sees, from 1, else 0,
            shape (batch, size, size), uint8.
        mask_b: The same of the second views.
    """

    objects: Tensor
    labels: Tensor
    mask_a: Tensor
    mask_b: Tensor

    def seen(self) -> Tensor:
        """Whether an object has a pixel in both views, shape (batch, objects), bool."""
        numbers = torch.arange(1, self.objects.shape[1] + 1)
        sides = [
            (mask.flatten(1)[:, None] == numbers[:, None]).any(2)
            for mask in (self.mask_a, self.mask_b)
        ]
        return sides[0] & sides[1]


class ScenePairs(TransformPairs):
    """Batches of pairs: two different views of a scene, and g with one element for every object.

    g is an element of ``Product(SE3(), ..., SE3())``, a block for each object in the order of the
    instance masks, in coordinates of the world; of ``Product(Sim(3), ...)`` where the arrangement
    draws scales. What a pair shows and in which order is as of
    :class:`~datasets3d.TransformPairs`; poses and label of the whole are None.

    Args:
        dataset: Views of scenes.
        **settings: Of TransformPairs, but ``convention``.

    Raises:
        ConventionError: Scenes have fewer than two views, or an argument is out of its range.

    Example:
        >>> import tempfile
        >>> from datasets3d import BuildConfig, ProceduralMeshes, SceneMeshes, build
        >>> root = tempfile.mkdtemp()
        >>> source = SceneMeshes(ProceduralMeshes(instances=1), scenes=2, val_fraction=0.0)
        >>> config = BuildConfig(views=2, size_px=32)
        >>> _ = build(source, root, config=config, workers=1, progress=False)
        >>> pairs = ScenePairs(SceneViews(root))
        >>> batch = next(pairs.stream(2))
        >>> batch.g.shape, pairs.instances(pairs.rows(0)).labels.shape
        (torch.Size([2, 12, 12]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        dataset: SceneViews,
        *,
        seed: int = 0,
        pairs_per_object: int = 1,
        in_memory: bool = True,
        size_px: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        images: Tensor | None = None,
        threads: int = 4,
    ) -> None:
        super().__init__(
            dataset, seed=seed, pairs_per_object=pairs_per_object, in_memory=in_memory,
            size_px=size_px, mean=mean, std=std, images=images, threads=threads,
        )  # fmt: skip
        self.scenes = dataset
        kind = "rigid" if dataset.of_one_scale else "similarity"
        self.of_each = ElementConvention("rigid" if kind == "rigid" else "similarity", "world")
        poses = torch.from_numpy(dataset.object_poses.copy())
        if dataset.of_one_scale:  # one factor on both sides of g: what is left is rigid
            poses[..., :3, :3] /= torch.from_numpy(dataset.object_latents[..., 6, None, None])
        self._object_poses = poses

    @property
    def group(self) -> Product:
        """The group that g belongs to: one factor for each object."""
        return Product(*[self.of_each.group] * self._object_poses.shape[2])

    def batch(self, rows: NDArray[np.int64]) -> PairBatch:
        """Given pairs.

        Args:
            rows: (scene, first view, second view), shape (N, 3).

        Returns:
            Views normalized by channel and g (N, 4 objects, 4 objects), float32.
        """
        o, i, j = (torch.from_numpy(column.copy()) for column in rows.T)
        g = self.of_each.between(self._object_poses[o, i], self._object_poses[o, j])
        return replace(
            super().batch(rows), g=join(g).float(), label=None, pose_a=None, pose_b=None,
            relative_xyzw=None,
        )  # fmt: skip

    def instances(self, rows: NDArray[np.int64]) -> SceneInstances:
        """The objects of given pairs, and where they are seen.

        Args:
            rows: (scene, first view, second view), shape (N, 3).

        Raises:
            DataFormatError: A mask is missing or damaged; names the file.
        """
        masks = [
            np.stack([self.scenes.instances(row[0], row[side]) for row in rows.tolist()])
            for side in (1, 2)
        ]
        return SceneInstances(
            objects=torch.from_numpy(self.scenes.member_objects[rows[:, 0]]),
            labels=torch.from_numpy(self.scenes.member_labels[rows[:, 0]]),
            mask_a=torch.from_numpy(masks[0]),
            mask_b=torch.from_numpy(masks[1]),
        )
