"""Clouds of articulated objects: points drawn once at rest, then moved with their parts."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.clouds.piece_clouds import PieceClouds
from datasets3d.clouds.surface_points import sample_faces
from datasets3d.clouds.transformed_clouds import draw_maps
from datasets3d.meshes.articulated import ArticulatedMeshes, ArticulatedObject, JointLaw
from datasets3d.meshes.source import MeshEntry
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError, DataFormatError, check_option
from equivariant.groups import SE3, SO3, Sampler
from equivariant.shapes import Float, Int


class ArticulatedClouds:
    """One split of articulated objects, each as points of its surface with their parts.

    Points are uniform by area on what is visible of each part by itself: those inside of another
    solid of the part are drawn again. At rest they are centred and scaled as those of
    :class:`PointClouds`, mean 0 and largest radius 1, and the elements of SE3 belong to these
    coordinates.

    Args:
        source: The objects.
        split: "train", "val", or "all".
        points: Points per object, at least 1.
        seed: Of the points, at least 0.

    Attributes:
        entries: The objects, sorted by class and name.
        label_names: Names of all classes of the source, sorted, whatever the split.
        labels: Index into ``label_names`` of each object, shape (objects,), int64.

    Raises:
        ConventionError: A setting is out of its range.
        DataFormatError: The split has no object.

    Example:
        >>> source = ArticulatedMeshes(instances=4, classes=["laptop", "drawer"], val_fraction=0.25)
        >>> things = ArticulatedClouds(source, points=64)
        >>> things.rest.shape, things.part_count, things.labels.tolist()
        (torch.Size([6, 64, 3]), 4, [0, 0, 0, 1, 1, 1])
        >>> test = things.in_states(2, law=JointLaw(0.8, 1.0))
        >>> test.clouds.shape, test.motion(0, 1).shape
        (torch.Size([12, 64, 3]), torch.Size([16, 16]))
    """

    def __init__(
        self,
        source: ArticulatedMeshes,
        *,
        split: Literal["train", "val", "all"] = "train",
        points: int = 1024,
        seed: int = 0,
    ) -> None:
        check_option(split, ("train", "val", "all"), "split")
        for name, value, least in (("points", points, 1), ("seed", seed, 0)):
            if value < least:
                raise ConventionError(
                    expected=f"at least {least}", got=str(value), argument=name,
                    advice="See the documentation of ArticulatedClouds.",
                )  # fmt: skip
        self.source, self.split, self.points, self.seed = source, split, points, seed
        every = source.entries()
        self.entries = [entry for entry in every if split in ("all", entry.split)]
        if not self.entries:
            raise DataFormatError(
                expected=f"objects in the split {split!r}", got=f"none among {len(every)}",
                argument="source", advice="Make more instances, or change val_fraction.",
            )  # fmt: skip
        self.label_names = sorted({entry.label for entry in every})
        rank = {name: index for index, name in enumerate(self.label_names)}
        self.labels = torch.tensor([rank[entry.label] for entry in self.entries])

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def objects(self) -> list[ArticulatedObject]:
        """The objects, kept in memory."""
        return [self.source.object(entry) for entry in self.entries]

    @property
    def part_count(self) -> int:
        """The largest number of parts of an object; those that one lacks have no point."""
        return max(len(thing.part_names) for thing in self.objects)

    @property
    def rest(self) -> Float[Tensor, "objects points 3"]:
        """Points at rest, mean 0 and largest radius 1, shape (objects, points, 3), float64."""
        return self._sampled[0]

    @property
    def parts(self) -> Int[Tensor, "objects points"]:
        """Part of every point, shape (objects, points), int64; 0 is the base."""
        return self._sampled[1]

    def elements(self, index: int, states: NDArray[np.float64]) -> Float[Tensor, "... parts 4 4"]:
        """Elements of SE3 that take every part of an object from rest to some states.

        Args:
            index: Which object.
            states: Radians of hinges, lengths of slides in the unit of the mesh, shape
                (..., joints).

        Returns:
            Shape (..., part_count, 4, 4), float64; the identity for parts that it lacks.

        Raises:
            ShapeError: A state has not one number per joint.
        """
        found = self.objects[index].mechanism.elements(states)
        center, size = self._sampled[2][index].numpy(), float(self._sampled[3][index])
        # after x ↦ (x - c) / s the element (R, t) is (R, (R c + t - c) / s)
        found[..., :3, 3] = (found[..., :3, :3] @ center + found[..., :3, 3] - center) / size
        lacking = self.part_count - found.shape[-3]
        eye = np.broadcast_to(np.eye(4), (*found.shape[:-3], lacking, 4, 4))
        return torch.from_numpy(np.concatenate((found, eye), -3))

    def in_states(
        self,
        per_object: int,
        *,
        law: JointLaw | None = None,
        pose: Sampler | None = None,
        seed: int = 0,
    ) -> PieceClouds:
        """A fixed labelled set: every object in some states.

        Args:
            per_object: States of each object, at least 1; more of them change none of the others.
            law: Of the states; None takes the source's.
            pose: Of a motion of the whole object after it was put into its state: a sampler over
                SO3 or SE3 whose draws have equal weights. None leaves objects upright.
            seed: Of states and poses, at least 0.

        Returns:
            Clouds in the order of the objects, states of one object after one another; labels are
            classes.

        Raises:
            ConventionError: A setting is out of its range, or the pose's group is another.
        """
        for name, value, least in (("per_object", per_object, 1), ("seed", seed, 0)):
            if value < least:
                raise ConventionError(
                    expected=f"at least {least}", got=str(value), argument=name,
                    advice="See the documentation of in_states.",
                )  # fmt: skip
        law = self.source.law if law is None else law
        elements = torch.stack(
            [self._drawn(index, per_object, law, seed) for index in range(len(self))]
        )
        if pose is not None:
            bits = [int(generator(seed, "poses", k).integers(2**63)) for k in range(per_object)]
            h = torch.stack([draw_poses(pose, len(self), seed=b) for b in bits], 1)
            elements = h.unsqueeze(2) @ elements
        return PieceClouds(
            rest=self.rest,
            parts=self.parts,
            object_id=torch.arange(len(self)).repeat_interleave(per_object),
            elements=elements.flatten(0, 1),
            labels=self.labels.repeat_interleave(per_object),
            part_names=tuple(f"part {k}" for k in range(self.part_count)),
        )

    def _drawn(self, index: int, count: int, law: JointLaw, seed: int) -> Tensor:
        entry = self.entries[index]
        key = f"states|{entry.label}/{entry.object_id}"
        mechanism = self.objects[index].mechanism
        states = [law.draw(mechanism, generator(seed, key, k)) for k in range(count)]
        return self.elements(index, np.stack(states))

    @cached_property
    def _sampled(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points at rest, their parts, and the center and size that were taken out."""
        clouds, parts = [], []
        for entry, thing in zip(self.entries, self.objects, strict=True):
            x, part = self._sample(entry, thing)
            clouds.append(torch.from_numpy(x))
            parts.append(torch.from_numpy(part))
        cloud = torch.stack(clouds)
        center = cloud.mean(1)
        cloud = cloud - center[:, None]
        size = cloud.norm(dim=-1).amax(1)
        return cloud / size[:, None, None], torch.stack(parts), center, size

    def _sample(
        self, entry: MeshEntry, thing: ArticulatedObject
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Points and their parts; rounds of draws until enough are visible."""
        draws = generator(self.seed, f"points|{entry.label}/{entry.object_id}", self.points)
        mesh = thing.mesh
        points, parts = np.zeros((0, 3)), np.zeros(0, np.int64)
        while len(points) < self.points:
            x, face = sample_faces(mesh.vertices, mesh.faces, self.points, generator=draws)
            seen = ~thing.hidden(x, face)
            points = np.concatenate((points, x[seen]))
            parts = np.concatenate((parts, thing.face_parts[face[seen]]))
        return points[: self.points], parts[: self.points]


def draw_poses(pose: Sampler, count: int, *, seed: int) -> Float[Tensor, "n 4 4"]:
    """Motions of whole objects drawn by a law.

    Args:
        pose: A sampler over SO3 or SE3 whose draws have equal weights.
        count: How many.
        seed: In [0, 2⁶⁴).

    Returns:
        Elements of SE3, shape (count, 4, 4), float64.

    Raises:
        ConventionError: The group is another, or draws have weights.
    """
    if pose.group not in (SO3(), SE3()):
        raise ConventionError(
            expected="a sampler over SO3 or SE3", got=str(pose.group), argument="pose",
            advice="HaarSampler(SO3()) turns objects uniformly.",
        )  # fmt: skip
    drawn = draw_maps(pose, count, seed=seed)
    if drawn.shape[-1] == 4:
        return drawn
    found = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    found[:, :3, :3] = drawn
    return found
