"""glTF's compact or optional constructs, rewritten in plain ones, or refused by name."""

from __future__ import annotations

import base64
import copy
import json
import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Json = dict[str, Any]
Read = Callable[[str], bytes]
TYPES: Final = {5120: "i1", 5121: "u1", 5122: "i2", 5123: "u2", 5125: "u4", 5126: "f4"}
WIDTHS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
READ: Final = (  # extensions whose geometry and base color are read, or which change neither
    "KHR_draco_mesh_compression", "KHR_mesh_quantization", "KHR_texture_transform",
    "KHR_materials_pbrSpecularGlossiness", "KHR_materials_unlit", "KHR_lights_punctual",
    "KHR_xmp_json_ld", "EXT_texture_webp",
)  # fmt: skip
HARMLESS: Final = "KHR_materials_"  # coats, transmission, sheen: what the renderer has no word for
STRIP, FAN, TRIANGLES = 5, 6, 4


def plain_gltf(data: bytes, read: Read) -> bytes | None:
    """A glTF or GLB file in plain words, as glTF; None where it is in plain words already.

    Plain: accessors of floats without ``normalized`` and ``sparse``, triangles in lists, the base
    color's texture coordinates in TEXCOORD_0 with their transform applied, materials in
    metallic-roughness form.

    Args:
        data: Contents of the file.
        read: Gives the contents of a file that it names; raises OSError where there is none.

    Raises:
        ValueError: It requires an extension that is not read, repeats meshes by instancing, or
            its textures are in KTX2 alone.

    Example:
        >>> plain_gltf(b'{"asset": {"version": "2.0"}}', lambda name: b"") is None
        True
    """
    document, binary = _parsed(data)
    _check(document)
    file = _File(copy.deepcopy(document), binary, read)
    for material in file.document.get("materials", []):
        _metallic(material)
    for texture in file.document.get("textures", []):
        _encoded_image(texture)
    for mesh in file.document.get("meshes", []):
        for primitive in mesh.get("primitives", []):
            if "KHR_draco_mesh_compression" not in primitive.get("extensions", {}):
                file.make_plain(primitive)
    if file.document == document:
        return None
    file.embed()
    return json.dumps(file.document).encode()


class _File:
    """A document that is rewritten, with its buffers.

    Args:
        document: The JSON, changed in place.
        binary: Of a GLB file: its first buffer.
        read: Gives the contents of further files.
    """

    def __init__(self, document: Json, binary: bytes | None, read: Read) -> None:
        self.document, self.binary, self.read = document, binary, read
        self.loaded: dict[int, bytes] = {}
        self.added: list[NDArray[Any]] = []
        self.seen: dict[tuple[int, str], int] = {}

    def make_plain(self, primitive: Json) -> None:
        """Rewrite one primitive's attributes and indices."""
        attributes = primitive.get("attributes", {})
        place = self._base_color(primitive)
        if place:
            wanted = f"TEXCOORD_{place.get('texCoord', 0)}"
            if wanted in attributes:
                attributes["TEXCOORD_0"] = attributes[wanted]
        for name in ("POSITION", "NORMAL", "TEXCOORD_0", "COLOR_0"):
            if name in attributes and self._is_odd(attributes[name]):
                attributes[name] = self._floats(attributes[name])
        transform = place.get("extensions", {}).get("KHR_texture_transform") if place else None
        if transform and "TEXCOORD_0" in attributes:
            moved = _moved(self.values(attributes["TEXCOORD_0"]), transform)
            attributes["TEXCOORD_0"] = self._add(moved, "VEC2")
        if primitive.get("mode", TRIANGLES) in (STRIP, FAN):
            self._as_list(primitive)

    def values(self, number: int) -> NDArray[Any]:
        """Numbers of an accessor, shape (count, width); those of normalized integers in [-1, 1]."""
        accessor = self.document["accessors"][number]
        kind, width = np.dtype(TYPES[accessor["componentType"]]), WIDTHS[accessor["type"]]
        count = accessor["count"]
        if "added" in accessor:
            made: NDArray[Any] = self.added[accessor["added"]]
            return made
        found = np.zeros((count, width), kind)
        if "bufferView" in accessor:
            start = accessor.get("byteOffset", 0)
            found = self._view(accessor["bufferView"], start, kind, width, count)
        sparse = accessor.get("sparse")
        if sparse:
            found = found.copy()
            some, which = sparse["indices"], sparse["count"]
            rows = self._view(
                some["bufferView"], some.get("byteOffset", 0),
                np.dtype(TYPES[some["componentType"]]), 1, which,
            )  # fmt: skip
            new = sparse["values"]
            found[rows[:, 0]] = self._view(
                new["bufferView"], new.get("byteOffset", 0), kind, width, which
            )
        if accessor.get("normalized") and kind.kind in "iu":
            found = np.maximum(found / np.iinfo(kind).max, -1.0)
        return found

    def embed(self) -> None:
        """Put what was added, and a GLB file's own buffer, into the document."""
        buffers = self.document.setdefault("buffers", [])
        if self.binary is not None:
            buffers[0]["uri"] = _data_uri(self.binary)
        views = self.document.setdefault("bufferViews", [])
        for accessor in self.document.get("accessors", []):
            if "added" not in accessor:
                continue
            data = np.ascontiguousarray(self.added[accessor.pop("added")]).tobytes()
            accessor["bufferView"] = len(views)
            views.append({"buffer": len(buffers), "byteLength": len(data)})
            buffers.append({"uri": _data_uri(data), "byteLength": len(data)})

    def _base_color(self, primitive: Json) -> Json:
        if "material" not in primitive:
            return {}
        material = self.document["materials"][primitive["material"]]
        found: Json = material.get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
        return found

    def _is_odd(self, number: int) -> bool:
        accessor = self.document["accessors"][number]
        integers = accessor["componentType"] != 5126
        return bool(accessor.get("sparse") or integers)

    def _floats(self, number: int) -> int:
        known = self.seen.get((number, "floats"))
        if known is None:
            accessor = self.document["accessors"][number]
            known = self._add(self.values(number), accessor["type"])
            self.seen[number, "floats"] = known
        return known

    def _as_list(self, primitive: Json) -> None:
        count = self.document["accessors"][primitive["attributes"]["POSITION"]]["count"]
        order = np.arange(count)
        if "indices" in primitive:
            order = self.values(primitive["indices"])[:, 0].astype(np.int64)
        places = np.arange(max(len(order) - 2, 0))
        if primitive["mode"] == FAN:
            corners = np.stack([np.zeros_like(places), places + 1, places + 2], 1)
        else:  # every second triangle of a strip is the other way round
            odd = places % 2
            corners = np.stack([places, places + 1 + odd, places + 2 - odd], 1)
        primitive["indices"] = self._add(order[corners].reshape(-1, 1), "SCALAR", whole=True)
        primitive["mode"] = TRIANGLES

    def _add(self, values: NDArray[Any], kind: str, *, whole: bool = False) -> int:
        accessors: list[Json] = self.document["accessors"]
        numbers = values.astype(np.uint32 if whole else np.float32)
        entry: Json = {
            "componentType": 5125 if whole else 5126, "count": len(numbers), "type": kind,
            "added": len(self.added),
        }  # fmt: skip
        self.added.append(numbers)
        if kind == "VEC3" and len(numbers):
            entry["min"], entry["max"] = numbers.min(0).tolist(), numbers.max(0).tolist()
        accessors.append(entry)
        return len(accessors) - 1

    def _view(
        self, number: int, start: int, kind: np.dtype[Any], width: int, count: int
    ) -> NDArray[Any]:
        view = self.document["bufferViews"][number]
        data = self._buffer(view["buffer"])
        first, size = view.get("byteOffset", 0) + start, kind.itemsize * width
        stride = view.get("byteStride", size)
        last = first + stride * (count - 1) + size
        if count and not 0 <= first <= last <= len(data):
            raise ValueError("an accessor reaches beyond its buffer")
        return np.ndarray((count, width), kind, data, first, (stride, kind.itemsize))

    def _buffer(self, number: int) -> bytes:
        if number not in self.loaded:
            uri = self.document["buffers"][number].get("uri")
            if uri is None:
                if self.binary is None or number:
                    raise ValueError("a buffer without contents")
                self.loaded[number] = self.binary
            elif uri.startswith("data:"):
                self.loaded[number] = base64.b64decode(uri.partition(",")[2])
            else:
                self.loaded[number] = self.read(uri)
        return self.loaded[number]


def _parsed(data: bytes) -> tuple[Json, bytes | None]:
    if data[:4] != b"glTF":
        return json.loads(data.decode("utf-8-sig")), None
    place, document, binary = 12, {}, None
    while place + 8 <= len(data):
        size, kind = struct.unpack_from("<I4s", data, place)
        chunk = data[place + 8 : place + 8 + size]
        if kind == b"JSON":
            document = json.loads(chunk)
        elif kind == b"BIN\x00" and binary is None:
            binary = chunk
        place += 8 + size
    return document, binary


def _check(document: Json) -> None:
    unknown = [
        name for name in document.get("extensionsRequired", [])
        if name not in READ and not name.startswith(HARMLESS)
    ]  # fmt: skip
    if unknown:
        raise ValueError(f"required extensions that are not read: {', '.join(sorted(unknown))}")
    if any("EXT_mesh_gpu_instancing" in n.get("extensions", {}) for n in document.get("nodes", [])):
        raise ValueError("meshes repeated by EXT_mesh_gpu_instancing, which is not read")


def _encoded_image(texture: Json) -> None:
    extensions = texture.get("extensions", {})
    if "EXT_texture_webp" in extensions and "source" not in texture:
        texture["source"] = extensions["EXT_texture_webp"]["source"]
    if "KHR_texture_basisu" in extensions and "source" not in texture:
        raise ValueError("a texture in KTX2 alone (KHR_texture_basisu), which is not read")


def _metallic(material: Json) -> None:
    """The base color of a specular-glossiness material, where it has no other."""
    glossy = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    if glossy is None or "pbrMetallicRoughness" in material:
        return
    pairs = (("diffuseFactor", "baseColorFactor"), ("diffuseTexture", "baseColorTexture"))
    material["pbrMetallicRoughness"] = {new: glossy[old] for old, new in pairs if old in glossy}
    del material["extensions"]["KHR_materials_pbrSpecularGlossiness"]


def _moved(uv: NDArray[Any], transform: Json) -> NDArray[Any]:
    """KHR_texture_transform: u ↦ offset + R(rotation) (scale u), v downwards."""
    angle = transform.get("rotation", 0.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    scaled = uv * np.asarray(transform.get("scale", (1.0, 1.0)))
    turned = scaled @ np.array([[cosine, -sine], [sine, cosine]])
    moved: NDArray[Any] = turned + np.asarray(transform.get("offset", (0.0, 0.0)))
    return moved


def _data_uri(data: bytes) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(data).decode()
