"""Clouds of rooms in several arrangements, whole or as cameras in the corners see them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets3d.clouds.partial_clouds import scan_mesh
from datasets3d.clouds.piece_clouds import PieceClouds
from datasets3d.clouds.surface_points import sample_faces
from datasets3d.rooms.room import Room
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError
from equivariant.shapes import Float, Int
from renderers.scene import Camera


def room_clouds(
    rooms: Sequence[Room],
    *,
    arrangements: int = 8,
    points: int = 2048,
    floor_share: float = 0.25,
    seed: int = 0,
) -> PieceClouds:
    """Rooms in several arrangements, as clouds whose points correspond.

    Points are drawn once per room, uniform by area on the floor and on the objects, and moved
    with them: by planar motions, the floor by none. For the one-shot protocol train on the first
    arrangement of one room and test on its others: ``pieces[pieces.labels == k]``.

    Args:
        rooms: From :func:`make_rooms`.
        arrangements: Of each room, at least 1; more of them change none of the others.
        points: Points per cloud, at least 2.
        floor_share: Share of the points on the floor, in [0, 1).
        seed: Of the points, at least 0.

    Returns:
        Clouds in metres, arrangements of one room after one another; ``labels`` and
        ``object_id`` are the rooms. Part 0 is the floor; rooms with fewer objects have no point
        of the last parts, whose elements are the identity.

    Raises:
        ConventionError: A setting is out of its range, or furniture does not fit.

    Example:
        >>> from datasets3d.rooms.room import make_rooms
        >>> pieces = room_clouds(make_rooms(2, objects=(3, 5)), arrangements=3, points=256)
        >>> pieces.clouds.shape, pieces.labels.tolist()
        (torch.Size([6, 256, 3]), [0, 0, 0, 1, 1, 1])
    """
    _check(rooms, arrangements, points, floor_share, seed)
    count = max(len(room.part_names) for room in rooms)
    sampled = [_sample(room, points, floor_share, seed) for room in rooms]
    elements = np.tile(np.eye(4), (len(rooms), arrangements, count, 1, 1))
    for k, room in enumerate(rooms):
        for draw in range(arrangements):
            elements[k, draw, : len(room.part_names)] = room.elements(room.arrangement(draw))
    row = torch.arange(len(rooms)).repeat_interleave(arrangements)
    return PieceClouds(
        rest=torch.stack([x for x, _ in sampled]),
        parts=torch.stack([part for _, part in sampled]),
        object_id=row,
        elements=torch.from_numpy(elements).flatten(0, 1),
        labels=row,
        part_names=("floor", *(f"object {k}" for k in range(1, count))),
    )


class RoomScan(NamedTuple):
    """What cameras see of one arrangement.

    Attributes:
        points: Shape (points, 3), metres, float64.
        parts: Part of every point, shape (points,), int64.
    """

    points: Float[Tensor, "points 3"]
    parts: Int[Tensor, " points"]


def scan_room(
    room: Room,
    arrangement: int,
    *,
    cameras: int = 2,
    points: int = 2048,
    size_px: int = 160,
    seed: int = 0,
) -> RoomScan:
    """One arrangement of a room as depth cameras in its corners see it: what is hidden is absent.

    Args:
        room: Which room.
        arrangement: Which of its arrangements.
        cameras: How many corners, 1 to 4.
        points: Points drawn from all pixels that see something, with a return where there are
            fewer of these.
        size_px: Side of the depth pictures, at least 1.
        seed: Of the choice of points, at least 0.

    Raises:
        ConventionError: A setting is out of its range, or furniture does not fit.

    Example:
        >>> from datasets3d.rooms.room import make_rooms
        >>> scan = scan_room(make_rooms(1, objects=(3, 3))[0], 0, cameras=1, points=200)
        >>> scan.points.shape, scan.parts.shape
        (torch.Size([200, 3]), torch.Size([200]))
    """
    if not 1 <= cameras <= 4 or points < 1 or seed < 0:
        raise ConventionError(
            expected="1 to 4 cameras, at least 1 point, a seed of at least 0",
            got=f"{cameras} cameras, {points} points, seed {seed}", argument="cameras",
            advice="A room has four corners.",
        )  # fmt: skip
    x, part = scan_mesh(
        room.mesh(room.arrangement(arrangement)),
        room.surface[2],
        corner_cameras(room)[:cameras],
        points=points,
        generator=generator(seed, f"scan|{room.name}", arrangement, points),
        size_px=size_px,
    )
    return RoomScan(torch.from_numpy(x), torch.from_numpy(part))


def corner_cameras(room: Room, *, height_m: float = 2.2) -> list[Camera]:
    """Cameras over the four corners of a floor that look at its middle; opposite ones first.

    Args:
        room: Which room.
        height_m: Above the floor, positive, metres.
    """
    x, y = room.size_m[0] / 2.0, room.size_m[1] / 2.0
    return [
        Camera(
            position=(sx * x, sy * y, height_m), target=(0.0, 0.0, 0.3),
            field_of_view_rad=math.radians(80.0),
        )
        for sx, sy in ((1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0))
    ]  # fmt: skip


def _sample(room: Room, points: int, floor_share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Points in coordinates of their parts, floor first, and the parts."""
    vertices, faces, parts = room.surface
    on_floor = round(floor_share * points)
    draws = generator(seed, f"points|{room.name}", points)
    found: list[NDArray[np.float64]] = []
    owners: list[NDArray[np.int64]] = []
    for own, number in ((parts == 0, on_floor), (parts > 0, points - on_floor)):
        if number:
            x, face = sample_faces(vertices, faces[own], number, generator=draws)
            found.append(x)
            owners.append(parts[own][face])
    return torch.from_numpy(np.concatenate(found)), torch.from_numpy(np.concatenate(owners))


def _check(
    rooms: Sequence[Room], arrangements: int, points: int, floor_share: float, seed: int
) -> None:
    if not rooms or arrangements < 1 or points < 2 or not 0.0 <= floor_share < 1.0 or seed < 0:
        raise ConventionError(
            expected="rooms, arrangements >= 1, points >= 2, floor_share in [0, 1), seed >= 0",
            got=f"{len(rooms)} rooms, {arrangements} arrangements, {points} points, "
            f"floor_share {floor_share}, seed {seed}",
            argument="arrangements", advice="See the documentation of room_clouds.",
        )  # fmt: skip
