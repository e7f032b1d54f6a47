"""Embree's own C interface, as the library inside the package embreex exports it.

The package's Python interface passes rays one at a time; the library also takes packets of rays
side by side, which for rays that lie close together is up to twice as fast and answers with the
same bits where no two faces coincide.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from embreex import rtcore_scene
from numpy.typing import NDArray

from renderers.errors import RendererError, RendererUnavailableError

POINTER: Final = ctypes.c_void_p
TRIANGLES: Final = 0  # RTC_GEOMETRY_TYPE_TRIANGLE
FACES, VERTICES = 0, 1  # RTC_BUFFER_TYPE_INDEX, RTC_BUFFER_TYPE_VERTEX
FLOAT3, UINT3 = 0x9003, 0x5003  # RTC_FORMAT_*
OUT_OF_MEMORY: Final = 4  # RTC_ERROR_OUT_OF_MEMORY
ROBUST: Final = 4  # RTC_SCENE_FLAG_ROBUST
NATIVE: Final = {16: 34, 8: 33, 4: 32}  # RTC_DEVICE_PROPERTY_NATIVE_RAY*_SUPPORTED

_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "rtcNewDevice": (POINTER, [ctypes.c_char_p]),
    "rtcGetDeviceError": (ctypes.c_int, [POINTER]),
    "rtcGetDeviceProperty": (ctypes.c_ssize_t, [POINTER, ctypes.c_int]),
    "rtcNewScene": (POINTER, [POINTER]),
    "rtcSetSceneFlags": (None, [POINTER, ctypes.c_int]),
    "rtcCommitScene": (None, [POINTER]),
    "rtcReleaseScene": (None, [POINTER]),
    "rtcNewGeometry": (POINTER, [POINTER, ctypes.c_int]),
    "rtcSetNewGeometryBuffer": (
        POINTER,
        [POINTER, ctypes.c_int, ctypes.c_uint, ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t],
    ),
    "rtcCommitGeometry": (None, [POINTER]),
    "rtcAttachGeometry": (ctypes.c_uint, [POINTER, POINTER]),
    "rtcReleaseGeometry": (None, [POINTER]),
}


class Library(NamedTuple):
    """The functions, a device, and how many rays the processor takes at once.

    ``casts`` has, for packets of 4, 8 and 16 rays, the addresses of rtcIntersect and rtcOccluded:
    functions of four pointers, which lanes are in use, the scene, the packet, the arguments.
    """

    calls: Any
    device: int
    lanes: int
    casts: dict[int, tuple[int, int]]


@lru_cache(maxsize=1)
def embree_library() -> Library | None:
    """The library, opened once per process; None where the package does not export its functions.

    Raises:
        RendererUnavailableError: The library cannot make a device.
    """
    calls = ctypes.CDLL(rtcore_scene.__file__)
    try:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(calls, name)
            function.restype, function.argtypes = result, arguments
        casts = {
            lanes: (_address(calls, f"rtcIntersect{lanes}"), _address(calls, f"rtcOccluded{lanes}"))
            for lanes in NATIVE
        }
    except AttributeError:
        return None
    device = calls.rtcNewDevice(b"threads=1")
    if not device:
        error = calls.rtcGetDeviceError(None)
        short = error == OUT_OF_MEMORY
        raise RendererUnavailableError(
            expected="memory for a device of Embree" if short else "an Embree that makes a device",
            got=f"Embree's error {error}",
            argument="embreex",
            advice="Free memory, or allow more of it." if short
            else "Install embreex 4.4.0.post1, the version that was tested.",
        )  # fmt: skip
    native = [n for n, number in NATIVE.items() if calls.rtcGetDeviceProperty(device, number)]
    return Library(calls, device, native[0] if native else 4, casts)


def _address(calls: Any, name: str) -> int:
    return int(ctypes.cast(getattr(calls, name), POINTER).value or 0)


def build_scene(library: Library, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> int:
    """A committed scene of one mesh, to be given back by ``rtcReleaseScene``.

    Args:
        library: Where to build.
        vertices: Shape (V, 3), float32.
        faces: Shape (F, 3), int32.

    Raises:
        RendererError: Embree reports an error, as when the mesh is too large for the memory.
    """
    calls, device = library.calls, library.device
    calls.rtcGetDeviceError(device)  # forget what came before
    scene = calls.rtcNewScene(device)
    calls.rtcSetSceneFlags(scene, ROBUST)
    geometry = calls.rtcNewGeometry(device, TRIANGLES)
    # Rows of four: Embree reads the last vertex with 16 bytes.
    for kind, form, width, rows in (
        (VERTICES, FLOAT3, 4, vertices),
        (FACES, UINT3, 3, faces),
    ):
        size = 4 * width
        place = calls.rtcSetNewGeometryBuffer(geometry, kind, 0, form, size, len(rows))
        if place:
            memory = memoryview((ctypes.c_byte * (size * len(rows))).from_address(place))
            np.frombuffer(memory.cast("B"), rows.dtype).reshape(-1, width)[:, :3] = rows
    calls.rtcCommitGeometry(geometry)
    calls.rtcAttachGeometry(scene, geometry)
    calls.rtcReleaseGeometry(geometry)
    calls.rtcCommitScene(scene)
    error = calls.rtcGetDeviceError(device)
    if error:
        calls.rtcReleaseScene(scene)
        raise RendererError(
            expected=f"memory for a hierarchy over {len(faces)} triangles",
            got=f"Embree's error {error}",
            argument="mesh",
            advice="Free memory, or decimate the mesh.",
        )
    return int(scene)
