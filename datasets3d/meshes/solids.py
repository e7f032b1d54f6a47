"""Closed solids of few triangles, and the assembly of several into one colored object."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from datasets3d.meshes.normalize import Triangles

Point = tuple[float, float, float]
Solid = tuple[NDArray[np.float64], NDArray[np.int32]]
SIDES: Final = 16  # of everything round: 22.5 degrees, below the crease angle


@cache
def unit_box() -> Solid:
    """The box of side 1 at the origin.

    Example:
        >>> vertices, faces = unit_box()
        >>> vertices.shape, faces.shape
        ((8, 3), (12, 3))
    """
    corners = np.array([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    return corners, _triangles_of(quads)


@cache
def unit_wedge() -> Solid:
    """Half a box: full depth at y = -1/2, an edge at y = 0 on top, like a roof along x.

    Example:
        >>> float(unit_wedge()[0][:, 2].max())
        0.5
    """
    vertices = np.array([[x, y, -0.5] for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
    ridge = np.array([[-0.5, 0.0, 0.5], [0.5, 0.0, 0.5]])
    quads = [(0, 2, 3, 1), (0, 1, 5, 4), (2, 4, 5, 3)]
    ends = np.array([[0, 4, 2], [1, 3, 5]], np.int32)
    return np.vstack((vertices, ridge)), np.vstack((_triangles_of(quads), ends))


@cache
def unit_rod() -> Solid:
    """A cylinder of radius 1 from z = 0 to 1.

    Example:
        >>> unit_rod()[1].shape
        (64, 3)
    """
    angle = np.arange(SIDES) * (2.0 * np.pi / SIDES)
    ring = np.stack((np.cos(angle), np.sin(angle), np.zeros(SIDES)), axis=1)
    top = ring + np.array([0.0, 0.0, 1.0])
    vertices = np.vstack((ring, top, [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    i = np.arange(SIDES)
    j = (i + 1) % SIDES
    under, over = np.full(SIDES, 2 * SIDES), np.full(SIDES, 2 * SIDES + 1)
    parts = [
        (i, j, j + SIDES),
        (i, j + SIDES, i + SIDES),
        (under, j, i),
        (over, i + SIDES, j + SIDES),
    ]
    return vertices, np.vstack([np.stack(part, axis=1) for part in parts]).astype(np.int32)


@cache
def unit_ball() -> Solid:
    """The sphere of radius 1, of meridians and parallels.

    Example:
        >>> unit_ball()[1].shape
        (224, 3)
    """
    rows = SIDES // 2
    polar = np.arange(1, rows) * (np.pi / rows)
    angle = np.arange(SIDES) * (2.0 * np.pi / SIDES)
    ring = np.stack(
        (
            np.outer(np.sin(polar), np.cos(angle)),
            np.outer(np.sin(polar), np.sin(angle)),
            np.outer(np.cos(polar), np.ones(SIDES)),
        ),
        axis=2,
    ).reshape(-1, 3)
    north, south = len(ring), len(ring) + 1
    i = np.arange(SIDES)
    j = (i + 1) % SIDES
    last = (rows - 2) * SIDES
    faces = [np.stack((np.full(SIDES, north), i, j), 1)]
    faces += [np.stack((np.full(SIDES, south), last + j, last + i), 1)]
    for row in range(0, last, SIDES):
        below = row + SIDES
        faces += [np.stack((row + i, below + i, below + j), 1)]
        faces += [np.stack((row + i, below + j, row + j), 1)]
    vertices = np.vstack((ring, [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]))
    return vertices, np.vstack(faces).astype(np.int32)


@cache
def unit_arc(turn_rad: float, thickness: float) -> Solid:
    """A bent bar: the part of a torus of radius 1 in the x-z plane, from +x over +z, capped.

    Example:
        >>> vertices, faces = unit_arc(np.pi, 0.2)
        >>> round(float(vertices[:, 0].max()), 3)
        1.2
    """
    steps, around = max(4, round(turn_rad / (2.0 * np.pi) * SIDES) + 1), 10
    along = np.linspace(0.0, turn_rad, steps)
    angle = np.arange(around) * (2.0 * np.pi / around)
    radius = 1.0 + thickness * np.cos(angle)
    ring = np.stack(
        (
            np.outer(np.cos(along), radius),
            np.tile(thickness * np.sin(angle), (steps, 1)),
            np.outer(np.sin(along), radius),
        ),
        axis=2,
    ).reshape(-1, 3)
    ends = [[1.0, 0.0, 0.0], [np.cos(turn_rad), 0.0, np.sin(turn_rad)]]
    i = np.arange(around)
    j = (i + 1) % around
    faces = []
    for row in range(0, (steps - 1) * around, around):
        above = row + around
        faces += [np.stack((row + i, row + j, above + j), 1)]
        faces += [np.stack((row + i, above + j, above + i), 1)]
    last = (steps - 1) * around
    faces += [np.stack((np.full(around, len(ring)), j, i), 1)]
    faces += [np.stack((np.full(around, len(ring) + 1), last + i, last + j), 1)]
    return np.vstack((ring, ends)), np.vstack(faces).astype(np.int32)


class Assembly:
    """Collects colored solids; every size is a full width, every turn is in radians.

    Args:
        generator: Where proportions are drawn from.
        palette: Colors to choose from by number, shape (K, 3), uint8.

    Example:
        >>> whole = Assembly(np.random.default_rng(0), np.zeros((8, 3), np.uint8))
        >>> whole.box(0, (0.0, 0.0, 0.0), (1.0, 1.0, 2.0))
        >>> len(whole.triangles().faces)
        12
    """

    def __init__(self, generator: np.random.Generator, palette: NDArray[np.uint8]) -> None:
        self._generator = generator
        self._palette = palette
        self._vertices: list[NDArray[np.float64]] = []
        self._faces: list[NDArray[np.int32]] = []
        self._colors: list[NDArray[np.uint8]] = []
        self._count = 0

    def draw(self, low: float, high: float) -> float:
        """One proportion, uniform between two bounds."""
        return float(low + (high - low) * self._generator.random())

    def box(
        self,
        color: int,
        center: Point,
        size: Point,
        *,
        taper: tuple[float, float] = (1.0, 1.0),
        shift: float = 0.0,
        turn: Point = (0.0, 0.0, 0.0),
    ) -> None:
        """A box; its top is scaled by ``taper`` in x and y and moved by ``shift`` widths in x."""
        vertices, faces = unit_box()
        top = vertices[:, 2:] + 0.5
        shaped = vertices.copy()
        shaped[:, :2] *= 1.0 + top * (np.array(taper) - 1.0)
        shaped[:, :1] += top * shift
        self._add(color, (shaped * size) @ turned(turn).T + center, faces)

    def wedge(
        self, color: int, center: Point, size: Point, *, turn: Point = (0.0, 0.0, 0.0)
    ) -> None:
        """A roof whose ridge runs along x."""
        vertices, faces = unit_wedge()
        self._add(color, (vertices * size) @ turned(turn).T + center, faces)

    def ball(
        self, color: int, center: Point, size: Point, *, turn: Point = (0.0, 0.0, 0.0)
    ) -> None:
        """An ellipsoid."""
        vertices, faces = unit_ball()
        self._add(color, (vertices * (np.array(size) / 2.0)) @ turned(turn).T + center, faces)

    def rod(
        self,
        color: int,
        start: Point,
        end: Point,
        *,
        radius: float,
        end_radius: float | None = None,
    ) -> None:
        """A cylinder, or a cone's stump, from one point to another."""
        ratio = 1.0 if end_radius is None else end_radius / radius
        vertices, faces = unit_rod()
        shrink = 1.0 + (max(ratio, 1e-3) - 1.0) * vertices[:, 2:]
        axis = np.subtract(end, start)
        placed = (vertices[:, :2] * shrink * radius) @ _across(axis) + vertices[:, 2:] * axis
        self._add(color, placed + start, faces)

    def arc(
        self,
        color: int,
        center: Point,
        size: Point,
        *,
        turn_rad: float = np.pi,
        thickness: float = 0.2,
        turn: Point = (0.0, 0.0, 0.0),
    ) -> None:
        """A bent bar in the x-z plane, from +x over +z; ``size`` spans its middle line."""
        vertices, faces = unit_arc(turn_rad, thickness)
        self._add(color, (vertices * (np.array(size) / 2.0)) @ turned(turn).T + center, faces)

    def triangles(self, *, stretch: NDArray[np.float64] | None = None) -> Triangles:
        """Everything added so far, with one color per face, stretched along x, y and z."""
        vertices = np.concatenate(self._vertices)
        return Triangles(
            vertices if stretch is None else vertices * stretch,
            np.concatenate(self._faces),
            face_colors=np.concatenate(self._colors),
        )

    def _add(self, color: int, vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> None:
        self._vertices.append(vertices)
        self._faces.append(faces + np.int32(self._count))
        self._colors.append(
            np.repeat(self._palette[color % len(self._palette)][None], len(faces), 0)
        )
        self._count += len(vertices)


def turned(angles_rad: Point) -> NDArray[np.float64]:
    """The rotation about the fixed x, then y, then z axis: Rz Ry Rx.

    Example:
        >>> (turned((0.0, 0.0, np.pi / 2)) @ [1.0, 0.0, 0.0]).round(6).tolist()
        [0.0, 1.0, 0.0]
    """
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles_rad), np.sin(angles_rad)
    return np.array(
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    )


def _across(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two unit vectors that make a right-handed frame with an axis, shape (2, 3)."""
    z = axis / np.linalg.norm(axis)
    helper = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.8 else np.array([0.0, 1.0, 0.0])
    y = np.cross(z, helper)
    y /= np.linalg.norm(y)
    return np.stack((np.cross(y, z), y))


def _triangles_of(quads: list[tuple[int, int, int, int]]) -> NDArray[np.int32]:
    return np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
