"""Objects as clouds and as depth maps, drawn once per seed and kept in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from datasets3d import PointClouds, ProceduralMeshes
from equivariant.groups import SO3

SURFACE = 256  # points kept of every object; a view takes some of them
POINTS = 64
TRAIN, HELD_OUT = 32, 16  # objects of each class
SIDE = 10  # pixels of a depth map


@dataclass(frozen=True, eq=False)
class Shapes:
    """Objects in their canonical pose.

    Args:
        surface: Points on the objects, shape (objects, SURFACE, 3), float32: mean 0, radius 1.
        label: Class of each object, shape (objects,), int64.
        depth: Depth map of each object seen along +x, flattened, shape (objects, SIDE²), float32.
    """

    surface: Tensor
    label: Tensor
    depth: Tensor

    def __len__(self) -> int:
        return len(self.label)

    @property
    def classes(self) -> int:
        return int(self.label.max()) + 1

    def __getitem__(self, rows: Tensor) -> Shapes:
        return Shapes(self.surface[rows], self.label[rows], self.depth[rows])


@lru_cache(maxsize=16)
def shapes(seed: int, classes: int = 16) -> tuple[Shapes, Shapes]:
    """Training and held-out objects of the first classes; the seed draws the objects."""
    names = ProceduralMeshes.all_classes()[:classes]
    share = HELD_OUT / (TRAIN + HELD_OUT)
    source = ProceduralMeshes(
        instances=TRAIN + HELD_OUT, classes=names, seed=seed, val_fraction=share
    )
    train, held_out = (
        PointClouds(source, split=split, points=SURFACE, seed=seed) for split in ("train", "val")
    )
    return tuple(Shapes(s.clouds, s.labels, depth_maps(s.clouds)) for s in (train, held_out))


def depth_maps(clouds: Tensor) -> Tensor:
    """What a camera at +x sees of clouds in the unit ball: the largest x in each pixel of (y, z).

    Args:
        clouds: Shape (batch, points, 3).

    Returns:
        Shape (batch, SIDE²); 0 where nothing is seen, else 1 + x, which is in [0, 2].
    """
    pixel = ((clouds[..., 1:] + 1.0) * (SIDE / 2)).long().clamp(0, SIDE - 1)
    index = pixel[..., 0] * SIDE + pixel[..., 1]
    empty = torch.zeros(len(clouds), SIDE * SIDE)
    return empty.scatter_reduce(1, index, 1.0 + clouds[..., 0], "amax")


def resample(surface: Tensor, generator: torch.Generator, points: int = POINTS) -> Tensor:
    """Some points of each surface, other ones for each object and at each call."""
    order = torch.rand(surface.shape[:2], generator=generator).argsort(1)[:, :points]
    return surface.gather(1, order.unsqueeze(-1).expand(-1, -1, 3))


def about_z(count: int, generator: torch.Generator, turn_rad: float = math.tau) -> Tensor:
    """Rotations about the vertical, up to half of ``turn_rad`` either way, shape (count, 3, 3)."""
    angle = (torch.rand(count, generator=generator) - 0.5) * turn_rad
    return SO3().exp(torch.stack([0 * angle, 0 * angle, angle], 1))


def about_any(count: int, generator: torch.Generator) -> Tensor:
    """Uniform rotations, shape (count, 3, 3), float32."""
    return SO3().draw((count,), generator=generator).float()


def posed(surface: Tensor, rotation: Tensor, generator: torch.Generator) -> Tensor:
    """A view: some points of each object, turned, with 0.02 of noise."""
    cloud = resample(surface, generator) @ rotation.transpose(1, 2)
    return cloud + 0.02 * torch.randn(cloud.shape, generator=generator)


def view(surface: Tensor, generator: torch.Generator, turn_rad: float = math.tau) -> Tensor:
    """A view with a nuisance: turned about the vertical, each axis scaled by 0.8 to 1.25."""
    stretch = 1.25 ** (2 * torch.rand(len(surface), 1, 3, generator=generator) - 1)
    rotation = about_z(len(surface), generator, turn_rad)
    return posed(surface * stretch, rotation, generator)
