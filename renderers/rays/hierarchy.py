"""Embree's hierarchy over the triangles of a mesh, and the rays that it is asked for."""

from __future__ import annotations

import weakref
from typing import Any, Final, NamedTuple

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from renderers.rays.compiled import kernel
from renderers.rays.embree_library import build_scene, embree_library
from renderers.rays.kernels import Singles

# Rows of a packet, each with one number per lane: RTCRay16 and RTCHit16, or their like of 8 and 4.
ORIGIN, NEAR, WAY, REACH, MASK, NUMBER = 0, 3, 4, 8, 9, 10
FLAT, BARYCENTRIC, FACE, GEOMETRY, ROWS = 12, 15, 17, 18, 22
COHERENT: Final = 1 << 16  # RTC_RAY_QUERY_FLAG_COHERENT
FAR: Final = 1e37
ALIGNMENT: Final = 64


class Found(NamedTuple):
    """First hits, by the names that Embree gives them."""

    primID: NDArray[np.int32]
    tfar: Singles
    u: Singles
    v: Singles
    Ng: Singles

    @staticmethod
    def of(count: int) -> Found:
        """Room for some hits."""
        depth, u, v = (np.empty(count, np.float32) for _ in range(3))
        return Found(np.empty(count, np.int32), depth, u, v, np.empty((count, 3), np.float32))


def _cast(typing: Any, address: Any, lanes: Any, scene: Any, packet: Any, arguments: Any) -> Any:
    """Call the C function of four pointers that is at an address; all five are integers.

    Numba does not keep code on disk that names a function of another library; an address that is
    an argument is not named.
    """
    pointer = ir.IntType(8).as_pointer()

    def call(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 4)
        function = builder.inttoptr(values[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(value, pointer) for value in values[1:]])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), call


cast: Any = intrinsic(_cast)


@kernel
def load(
    packet: Singles,
    bits: NDArray[np.uint32],
    lanes: NDArray[np.int32],
    start: int,
    origins: Singles,
    directions: Singles,
    reach: Singles,
) -> int:
    """Write the rays from ``start`` on into a packet; returns how many there are.

    A single reach holds for all rays.
    """
    count = int(min(lanes.size, origins.shape[0] - start))
    for lane in range(lanes.size):
        lanes[lane] = -1 if lane < count else 0
        ray = start + min(lane, count - 1)
        for axis in range(3):
            packet[ORIGIN + axis, lane] = origins[ray, axis]
            packet[WAY + axis, lane] = directions[ray, axis]
        packet[REACH, lane] = reach[ray] if reach.size > 1 else reach[0]
        packet[NEAR, lane] = 0.0
        bits[MASK, lane] = 0xFFFFFFFF
        bits[FACE, lane] = 0xFFFFFFFF
        bits[GEOMETRY, lane] = 0xFFFFFFFF
    return count


@kernel
def intersect(
    call: tuple[int, int],
    packet: Singles,
    bits: NDArray[np.uint32],
    lanes: NDArray[np.int32],
    arguments: NDArray[np.uint32],
    origins: Singles,
    directions: Singles,
    reach: Singles,
    found: Found,
) -> None:
    """Write the first hit of every ray."""
    face, depth, u, v, flat = found.primID, found.tfar, found.u, found.v, found.Ng
    size = origins.shape[0]
    start = 0
    while start < size:
        count = load(packet, bits, lanes, start, origins, directions, reach)
        cast(call[0], lanes.ctypes.data, call[1], packet.ctypes.data, arguments.ctypes.data)
        for lane in range(count):
            ray = start + lane
            face[ray] = np.int32(bits[FACE, lane])
            depth[ray] = packet[REACH, lane]
            u[ray] = packet[BARYCENTRIC, lane]
            v[ray] = packet[BARYCENTRIC + 1, lane]
            for axis in range(3):
                flat[ray, axis] = packet[FLAT + axis, lane]
        start += count


@kernel
def occlude(
    call: tuple[int, int],
    packet: Singles,
    bits: NDArray[np.uint32],
    lanes: NDArray[np.int32],
    arguments: NDArray[np.uint32],
    origins: Singles,
    directions: Singles,
    reach: Singles,
) -> NDArray[np.int32]:
    """0 for every ray that meets something, -1 for the others."""
    size = origins.shape[0]
    answer = np.empty(size, np.int32)
    start = 0
    while start < size:
        count = load(packet, bits, lanes, start, origins, directions, reach)
        cast(call[0], lanes.ctypes.data, call[1], packet.ctypes.data, arguments.ctypes.data)
        for lane in range(count):
            answer[start + lane] = 0 if packet[REACH, lane] < 0.0 else -1
        start += count
    return answer


class Hierarchy:
    """The triangles of a mesh, built once, to be asked for many rays.

    Rays are traced in packets, in the order given: the closer together neighbors lie, the faster.
    Where the installed embreex does not export Embree's functions, they are traced one at a time.
    All ways give the same bits; but of faces that coincide each names one of its own, at the same
    depth.

    Args:
        vertices: Shape (V, 3), float32.
        faces: Shape (F, 3), int32.
        lanes: Rays per packet, 4, 8 or 16, or 1 for no packets; None for as many as the processor
            takes at once.

    Raises:
        RendererError: Embree reports an error, as when memory is short.
        RendererUnavailableError: Embree cannot be loaded.

    Example:
        >>> corners = np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0]], np.float32)
        >>> triangle = Hierarchy(corners, np.array([[0, 1, 2]], np.int32))
        >>> start, down = np.float32([[0, 0, 1], [5, 0, 1]]), np.float32([[0, 0, -1], [0, 0, -1]])
        >>> triangle.first(start, down)["primID"].tolist()
        [0, -1]
        >>> triangle.hidden(start, down, np.float32([2])).tolist()
        [0, -1]
    """

    def __init__(
        self,
        vertices: NDArray[np.float32],
        faces: NDArray[np.int32],
        *,
        lanes: int | None = None,
    ) -> None:
        library = None if lanes == 1 else embree_library()
        if library is None:
            self.lanes = 1
            self._scene = EmbreeScene()
            TriangleMesh(self._scene, vertices, np.ascontiguousarray(faces))
            self._scene.run(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))
            return
        self.lanes = library.lanes if lanes is None else lanes
        scene = build_scene(library, vertices, np.ascontiguousarray(faces))
        self.intersect, self.occluded = ((call, scene) for call in library.casts[self.lanes])
        self._release = weakref.finalize(self, library.calls.rtcReleaseScene, scene)

    def first(
        self,
        origins: Singles,
        directions: Singles,
        reach: Singles | None = None,
        *,
        room: Found | None = None,
    ) -> dict[str, NDArray[Any]]:
        """What rays o + t d meet first, for 0 ≤ t ≤ reach.

        Args:
            origins: o, shape (N, 3), float32.
            directions: d, of any length, shape (N, 3), float32.
            reach: Largest t, shape (N,), or (1,) for all rays, float32; None for no limit.
            room: At least N rows in which to return what is found; None makes new ones.

        Returns:
            Arrays of N rows: ``primID``, the face, -1 for nothing; ``tfar``, t; ``u``, ``v``,
            weights of the second and third corner; ``Ng``, the face's normal, not of length 1.
        """
        limit = np.full(1, FAR, np.float32) if reach is None else reach
        if self.lanes == 1:
            limit = np.broadcast_to(limit, len(origins)).copy()
            answer: dict[str, NDArray[Any]] = self._scene.run(
                origins, directions, limit, query="INTERSECT", output=True
            )
            return answer
        count = len(origins)
        found = Found.of(count) if room is None else Found._make(rows[:count] for rows in room)
        intersect(self.intersect, *workspace(self.lanes), origins, directions, limit, found)
        return found._asdict()

    def hidden(self, origins: Singles, directions: Singles, reach: Singles) -> NDArray[np.int32]:
        """Whether rays o + t d meet anything, for 0 ≤ t ≤ reach.

        Args:
            origins: o, shape (N, 3), float32.
            directions: d, of any length, shape (N, 3), float32.
            reach: Largest t, shape (N,), or (1,) for all rays, float32.

        Returns:
            0 where they do and -1 elsewhere, shape (N,), int32.
        """
        if self.lanes == 1:
            limit = np.broadcast_to(reach, len(origins)).copy()
            answer: NDArray[np.int32] = self._scene.run(
                origins, directions, limit, query="OCCLUDED"
            )
            return answer
        return occlude(self.occluded, *workspace(self.lanes), origins, directions, reach)


def workspace(
    lanes: int,
) -> tuple[Singles, NDArray[np.uint32], NDArray[np.int32], NDArray[np.uint32]]:
    """A packet, its bits, which lanes are in use, and Embree's arguments, aligned for Embree."""
    size = 4 * lanes * (ROWS + 1)
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    aligned = memory[-memory.ctypes.data % ALIGNMENT :][:size].view(np.float32)
    rows = aligned.reshape(-1, lanes)
    arguments = np.zeros(16, np.uint32)  # flags, features, and three pointers, all of them null
    arguments[:2] = COHERENT, 0xFFFFFFFF
    packet = rows[:ROWS]
    return packet, packet.view(np.uint32), rows[ROWS].view(np.int32), arguments
