"""A glTF document with its buffers: numbers of accessors, bytes of views and files."""

from __future__ import annotations

import base64
import binascii
import json
import struct
import urllib.parse
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Json = dict[str, Any]
Read = Callable[[str], bytes]
TYPES: Final = {5120: "i1", 5121: "u1", 5122: "i2", 5123: "u2", 5125: "u4", 5126: "f4"}
WIDTHS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
MOST_NUMBERS: Final = 2**27  # of one accessor
READ: Final = (  # extensions whose geometry and base color are read, or which change neither
    "KHR_draco_mesh_compression", "KHR_mesh_quantization", "KHR_texture_transform",
    "KHR_lights_punctual", "KHR_xmp_json_ld", "KHR_animation_pointer", "EXT_texture_webp",
    "EXT_mesh_gpu_instancing",
)  # fmt: skip
HARMLESS: Final = "KHR_materials_"  # coats, transmission, sheen: what the renderer has no word for


class Document:
    """The JSON of a glTF or GLB file, and what its accessors and views hold.

    Args:
        data: Contents of the file.
        read: Gives the contents of a file that it names; raises OSError where there is none.

    Raises:
        ValueError: It is not glTF 2, or requires an extension that is not read.

    Example:
        >>> data = b'{"asset": {"version": "2.0"}, "accessors": [{"count": 1, "type": "VEC3",'
        >>> document = Document(data + b'"componentType": 5126}]}', lambda name: b"")
        >>> document.numbers(0).tolist()
        [[0.0, 0.0, 0.0]]
    """

    def __init__(self, data: bytes, read: Read) -> None:
        self.json, self._binary = _parsed(data)
        self._read = read
        self._buffers: dict[int, bytes] = {}
        version = str(self.json.get("asset", {}).get("version", ""))
        if not version.startswith("2"):
            raise ValueError(f"glTF {version or 'of no version'}; version 2 is read")
        least = str(self.json["asset"].get("minVersion", "2.0"))
        if least != "2.0":
            raise ValueError(f"a file that only readers of glTF {least} may show; 2.0 is read")
        unknown = [
            name for name in self.json.get("extensionsRequired", [])
            if name not in READ and not name.startswith(HARMLESS)
        ]  # fmt: skip
        if unknown:
            raise ValueError(f"required extensions that are not read: {', '.join(sorted(unknown))}")

    def entry(self, kind: str, number: Any) -> Json:
        """One entry of a list of the document.

        Raises:
            ValueError: There is none of that number.
        """
        entries = self.json.get(kind, [])
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or not 0 <= number < len(entries) or not isinstance(entries[number], dict):
            raise ValueError(f"no entry {number!r} in {kind}")
        found: Json = entries[number]
        return found

    def numbers(self, number: int) -> NDArray[Any]:
        """Numbers of an accessor, shape (count, width); those of normalized integers in [-1, 1].

        Raises:
            ValueError: It is not one, or reaches beyond its buffer.
        """
        accessor = self.entry("accessors", number)
        kind, width = np.dtype(TYPES[accessor["componentType"]]), WIDTHS[accessor["type"]]
        count = accessor["count"]
        if not isinstance(count, int) or not 0 <= count * width <= MOST_NUMBERS:
            raise ValueError(f"an accessor of {count!r} x {width} numbers")
        sparse = accessor.get("sparse")
        if "bufferView" in accessor:
            start = accessor.get("byteOffset", 0)
            found = self._strided(accessor["bufferView"], start, kind, width, count)
        else:
            found = np.zeros((count, width), kind)
        if sparse:
            found = self._with_sparse(found, sparse, kind, width)
        if accessor.get("normalized") and kind.kind in "iu":
            found = np.maximum(found / np.iinfo(kind).max, -1.0)
        return found

    def view(self, number: int) -> bytes:
        """Bytes of a buffer view.

        Raises:
            ValueError: It reaches beyond its buffer.
        """
        view = self.entry("bufferViews", number)
        data, first = self._buffer(view["buffer"]), view.get("byteOffset", 0)
        if not 0 <= first <= first + view["byteLength"] <= len(data):
            raise ValueError("a buffer view reaches beyond its buffer")
        return data[first : first + view["byteLength"]]

    def resource(self, uri: str) -> bytes:
        """Contents of what a URI names: data in itself, or a file.

        Raises:
            OSError: There is no such file.
            ValueError: Its base64 is none.
        """
        if not uri.startswith("data:"):
            return self._read(uri)
        head, _, body = uri.partition(",")
        if not head.endswith(";base64"):
            return urllib.parse.unquote_to_bytes(body)
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise ValueError(f"data that are not base64: {error}") from None

    def _with_sparse(
        self, found: NDArray[Any], sparse: Json, kind: np.dtype[Any], width: int
    ) -> NDArray[Any]:
        found = found.copy()
        some, new, count = sparse["indices"], sparse["values"], sparse["count"]
        rows = self._strided(
            some["bufferView"], some.get("byteOffset", 0),
            np.dtype(TYPES[some["componentType"]]), 1, count,
        )  # fmt: skip
        found[rows[:, 0]] = self._strided(
            new["bufferView"], new.get("byteOffset", 0), kind, width, count
        )
        return found

    def _strided(
        self, number: int, start: int, kind: np.dtype[Any], width: int, count: int
    ) -> NDArray[Any]:
        view = self.entry("bufferViews", number)
        data = self.view(number)
        size = kind.itemsize * width
        stride = view.get("byteStride", size)
        last = start + stride * (count - 1) + size
        if count and not (0 <= start <= last <= len(data) and stride > 0):
            raise ValueError("an accessor reaches beyond its buffer view")
        if not count:
            return np.zeros((0, width), kind)
        kind = kind.newbyteorder("<")
        return np.ndarray((count, width), kind, data, start, (stride, kind.itemsize))

    def _buffer(self, number: int) -> bytes:
        if number not in self._buffers:
            buffer = self.entry("buffers", number)
            uri = buffer.get("uri")
            if uri is None:
                if self._binary is None or number:
                    raise ValueError("a buffer without contents")
                self._buffers[number] = self._binary
            else:
                self._buffers[number] = self.resource(uri)
            if len(self._buffers[number]) < buffer["byteLength"]:
                raise ValueError("a buffer shorter than it says")
        return self._buffers[number]


def _parsed(data: bytes) -> tuple[Json, bytes | None]:
    if data[:4] != b"glTF":
        return _json(data.decode("utf-8-sig")), None
    if len(data) < 12 or struct.unpack_from("<I", data, 8)[0] > len(data):
        raise ValueError("a GLB shorter than it says")
    if (version := struct.unpack_from("<I", data, 4)[0]) != 2:
        raise ValueError(f"GLB {version}; version 2 is read")
    place, document, binary = 12, None, None
    while place + 8 <= len(data):
        size, kind = struct.unpack_from("<I4s", data, place)
        chunk = data[place + 8 : place + 8 + size]
        if len(chunk) < size:
            raise ValueError("a chunk of a GLB shorter than it says")
        if kind == b"JSON" and document is None:
            document = _json(chunk.decode("utf-8"))
        elif kind == b"BIN\x00" and binary is None:
            binary = chunk
        place += 8 + size
    if document is None:
        raise ValueError("a GLB without JSON")
    return document, binary


def _json(text: str) -> Json:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("JSON that is not an object")
    return found
