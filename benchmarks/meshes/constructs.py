"""Legal constructs of mesh files, each a flat figure whose area and colors are known."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.meshes.gltf_writer import FACES, SQUARE, UV, Writer

Color = tuple[int, int, int]
RED, GREEN, BLUE, YELLOW, GREY = (
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (178, 178, 178)
)  # fmt: skip
QUARTERS: dict[tuple[float, float], Color] = {
    (-0.5, 0.5): RED, (0.5, 0.5): GREEN, (-0.5, -0.5): BLUE, (0.5, -0.5): YELLOW
}  # fmt: skip
CORNERS = "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\n"
PLACES = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
CORNER_ROWS = CORNERS.replace("v ", "")


@dataclass(frozen=True)
class Construct:
    """A file with one construct, and what a right reader shows of it.

    Args:
        name: Of the construct, its format first.
        write: Writes it into a folder; returns the file.
        area: Of its surface.
        colors: sRGB at places (x, y) of the surface; empty where the format has no colors.
    """

    name: str
    write: Callable[[Path], Path]
    area: float = 4.0
    colors: tuple[tuple[tuple[float, float], Color], ...] = ()


def _quarters() -> np.ndarray[Any, Any]:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, :32], pixels[:32, 32:], pixels[32:, :32], pixels[32:, 32:] = (
        RED, GREEN, BLUE, YELLOW
    )  # fmt: skip
    return pixels


def _halves() -> np.ndarray[Any, Any]:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4], pixels[:, 4:] = RED, BLUE
    return pixels


def _text(name: str, files: dict[str, str | bytes], area: float = 4.0, **colors: Any) -> Construct:
    """A construct of files that are given; the first of them is the mesh."""

    def write(folder: Path) -> Path:
        Image.fromarray(_quarters()).save(folder / "red.png")
        for file, content in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else content.encode()
            (folder / file).write_bytes(data)
        return folder / next(iter(files))

    return Construct(name, write, area, tuple(colors.get("colors", {}).items()))


def _gltf(
    name: str, change: Callable[[Writer, dict[str, Any]], None], area: float = 4.0, **options: Any
) -> Construct:
    """A square, textured by a picture beside it if ``pixels`` are given, then changed."""
    pixels, uv = options.get("pixels"), options.get("uv", UV)

    def write(folder: Path) -> Path:
        writer = Writer()
        attributes = {"POSITION": writer.accessor(SQUARE)}
        primitive: dict[str, Any] = {"attributes": attributes, "indices": writer.accessor(FACES)}
        if pixels is not None:
            Image.fromarray(pixels).save(folder / "picture.png")
            writer.add(images={"uri": "picture.png"})
            writer.add(textures={"source": 0})
            attributes["TEXCOORD_0"] = writer.accessor(uv.astype("f4"))
            base = {"baseColorTexture": {"index": 0}}
            primitive["material"] = writer.add(materials={"pbrMetallicRoughness": base})
        change(writer, primitive)
        return writer.save(folder / "a.gltf", primitive)  # type: ignore[no-any-return]

    return Construct(name, write, area, tuple(options.get("colors", {}).items()))


def _texture_of(writer: Writer) -> dict[str, Any]:
    found: dict[str, Any] = writer.document["materials"][0]["pbrMetallicRoughness"]
    return found["baseColorTexture"]  # type: ignore[no-any-return]


def _sampler(wrap: int) -> Callable[[Writer, dict[str, Any]], None]:
    def change(writer: Writer, primitive: dict[str, Any]) -> None:
        writer.document["textures"][0]["sampler"] = writer.add(samplers={"wrapS": wrap})

    return change


def _normalized_uv(writer: Writer, primitive: dict[str, Any]) -> None:
    primitive["attributes"]["TEXCOORD_0"] = writer.accessor(
        (UV * 65535).astype("u2"), normalized=True
    )


def _second_uv(writer: Writer, primitive: dict[str, Any]) -> None:
    primitive["attributes"] |= {
        "TEXCOORD_0": writer.accessor(np.full((4, 2), 0.25, "f4")),
        "TEXCOORD_1": writer.accessor(UV),
    }  # fmt: skip
    _texture_of(writer)["texCoord"] = 1


def _moved_uv(writer: Writer, primitive: dict[str, Any]) -> None:
    _texture_of(writer)["extensions"] = {"KHR_texture_transform": {"scale": [0.5, 0.5]}}
    writer.document["extensionsUsed"] = ["KHR_texture_transform"]


def _strip(writer: Writer, primitive: dict[str, Any]) -> None:
    primitive |= {"indices": writer.accessor(np.array([0, 1, 3, 2], "u2")), "mode": 5}


def _fan(writer: Writer, primitive: dict[str, Any]) -> None:
    primitive |= {"indices": writer.accessor(np.array([0, 1, 2, 3], "u2")), "mode": 6}


def _sparse(writer: Writer, primitive: dict[str, Any]) -> None:
    number = writer.accessor((SQUARE * [1, 0.1, 1]).astype("f4"))
    rows = writer.view(np.arange(4, dtype="u2").tobytes())
    values = writer.view(SQUARE.tobytes())
    writer.document["accessors"][number]["sparse"] = {
        "count": 4, "indices": {"bufferView": rows, "componentType": 5123},
        "values": {"bufferView": values},
    }  # fmt: skip
    primitive["attributes"]["POSITION"] = number


def _quantized(writer: Writer, primitive: dict[str, Any]) -> None:
    number = writer.accessor(np.pad(SQUARE * 32767, ((0, 0), (0, 1))).astype("i2"), normalized=True)
    entry = writer.document["accessors"][number]
    entry["type"] = "VEC3"
    writer.document["bufferViews"][entry["bufferView"]]["byteStride"] = 8
    primitive["attributes"]["POSITION"] = number
    names = ["KHR_mesh_quantization"]
    writer.document |= {"extensionsUsed": names, "extensionsRequired": names}


def _glossy(writer: Writer, primitive: dict[str, Any]) -> None:
    name = "KHR_materials_pbrSpecularGlossiness"
    glossy = {name: {"diffuseFactor": [1, 0, 0, 1]}}
    primitive["material"] = writer.add(materials={"extensions": glossy})
    writer.document["extensionsUsed"] = [name]


def _instances(writer: Writer, primitive: dict[str, Any]) -> None:
    name = "EXT_mesh_gpu_instancing"
    shift = writer.accessor(np.array([[0, 0, 0], [3, 0, 0]], "f4"))
    node = {"mesh": 0, "extensions": {name: {"attributes": {"TRANSLATION": shift}}}}
    names = [name]
    writer.document |= {"nodes": [node], "extensionsUsed": names, "extensionsRequired": names}


def _skin(writer: Writer, primitive: dict[str, Any]) -> None:
    joints = np.array([[0] * 4, [0] * 4, [1, 0, 0, 0], [1, 0, 0, 0]], "u1")
    primitive["attributes"] |= {
        "JOINTS_0": writer.accessor(joints),
        "WEIGHTS_0": writer.accessor(np.array([[1, 0, 0, 0]] * 4, "f4")),
    }
    writer.document |= {
        "skins": [{"joints": [1, 2]}], "scenes": [{"nodes": [0, 1, 2]}],
        "nodes": [{"mesh": 0, "skin": 0}, {}, {"translation": [0, 2, 0]}],
    }  # fmt: skip


def _morph(writer: Writer, primitive: dict[str, Any]) -> None:
    up = np.array([[0, 0, 0], [0, 0, 0], [0, 2, 0], [0, 2, 0]], "f4")
    primitive["targets"] = [{"POSITION": writer.accessor(up)}]
    writer.document["nodes"] = [{"mesh": 0, "weights": [1.0]}]


def _future(writer: Writer, primitive: dict[str, Any]) -> None:
    writer.document |= {"extensionsUsed": ["KHR_next"], "extensionsRequired": ["KHR_next"]}


def _ktx(writer: Writer, primitive: dict[str, Any]) -> None:
    writer.document["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    writer.document["extensionsUsed"] = ["KHR_texture_basisu"]


def _percent(writer: Writer, primitive: dict[str, Any]) -> None:
    writer.document["images"][0]["uri"] = "pictur%65.png"


def _tinted(writer: Writer, primitive: dict[str, Any]) -> None:
    primitive["attributes"]["COLOR_0"] = writer.accessor(np.array([[1, 0, 0]] * 4, "f4"))


def _wide_colors(writer: Writer, primitive: dict[str, Any]) -> None:
    color = (np.array([[1, 0, 0, 1]] * 4) * 65535).astype("u2")
    primitive["attributes"]["COLOR_0"] = writer.accessor(color, normalized=True)


def _gray_16(writer: Writer, primitive: dict[str, Any]) -> None:
    return None


def _nothing(writer: Writer, primitive: dict[str, Any]) -> None:
    return None


U = np.array([4.0, 1.0])
STEPS = {(-0.9, 0.0): RED, (-0.65, 0.0): BLUE}
GLTF = [
    _gltf("glTF texture", _nothing, pixels=_quarters(), colors=QUARTERS),
    _gltf("glTF normalized texture coordinates", _normalized_uv, pixels=_quarters(),
          colors=QUARTERS),
    _gltf("glTF second texture coordinates", _second_uv, pixels=_quarters(), colors=QUARTERS),
    _gltf("glTF texture transform", _moved_uv, pixels=_quarters(),
          colors=dict.fromkeys(QUARTERS, RED)),
    _gltf("glTF texture, percent-encoded name", _percent, pixels=_quarters(), colors=QUARTERS),
    _gltf("glTF texture in KTX2 alone", _ktx, pixels=_quarters(), colors=QUARTERS),
    _gltf("glTF texture of 16 bits", _gray_16, pixels=np.full((4, 4), 32768, np.uint16),
          colors=dict.fromkeys(QUARTERS, (128, 128, 128))),
    _gltf("glTF wrapping: repeat", _sampler(10497), pixels=_halves(), uv=UV * U,
          colors=STEPS | {(-0.4, 0.0): RED, (0.9, 0.0): BLUE}),
    _gltf("glTF wrapping: clamp", _sampler(33071), pixels=_halves(), uv=UV * U,
          colors=STEPS | {(-0.4, 0.0): BLUE, (0.9, 0.0): BLUE}),
    _gltf("glTF wrapping: mirror", _sampler(33648), pixels=_halves(), uv=UV * U,
          colors=STEPS | {(-0.4, 0.0): BLUE, (0.9, 0.0): RED}),
    _gltf("glTF colors of vertices on a texture", _tinted, pixels=_quarters(),
          colors={(-0.5, 0.5): RED, (0.5, 0.5): (0, 0, 0), (-0.5, -0.5): (0, 0, 0),
                  (0.5, -0.5): RED}),
    _gltf("glTF colors of vertices, 16 bits", _wide_colors, colors={(0.5, 0.2): RED}),
    _gltf("glTF specular-glossiness", _glossy, colors={(0.5, 0.2): RED}),
    _gltf("glTF strip", _strip), _gltf("glTF fan", _fan), _gltf("glTF sparse positions", _sparse),
    _gltf("glTF quantized positions", _quantized), _gltf("glTF instances", _instances, area=8.0),
    _gltf("glTF skin at rest", _skin, area=8.0), _gltf("glTF morph weights", _morph, area=8.0),
    _gltf("glTF unknown required extension", _future, area=-1.0),
]  # fmt: skip


def _obj(name: str, body: str, area: float = 4.0, **files: Any) -> Construct:
    colors = files.pop("colors", {})
    return _text(f"OBJ {name}", {"a.obj": body, **files.get("more", {})}, area, colors=colors)


QUAD = "f 1 2 3 4\n"
PAINTED = f"mtllib a.mtl\n{CORNERS}{PLACES}usemtl m\nf 1/1 2/2 3/3 4/4\n"
RED_FACE = {(0.5, 0.2): RED}
ARROW = "v 0 0 0\nv 3 0 0\nv 1 1 0\nv 0 3 0\nf 4 1 2 3\n"
INTERLEAVED = "v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv 5 0 0\nv 6 0 0\nv 6 3 0\nf -3 -2 -1\n"
OBJ = [
    _obj("negative indices between vertices", INTERLEAVED, 2.0),
    _obj("tabs and indentation", CORNERS + "f\t1\t2 3\n\t f 1 3 4\n"),
    _obj("comments after faces", CORNERS + "f 1 2 3 # one\nf 1 3 4#two\n"),
    _obj("continued lines", CORNERS + "f 1 2 \\\n3 4\n"),
    _obj("concave polygon", ARROW, 3.0),
    _obj("byte-order mark", "\ufeff" + PAINTED, colors=RED_FACE,
         more={"a.mtl": "newmtl m\nKd 1 0 0\n"}),
    _obj("two material libraries", PAINTED.replace("a.mtl", "b.mtl a.mtl"), colors=RED_FACE,
         more={"a.mtl": "newmtl m\nKd 1 0 0\n", "b.mtl": "newmtl n\nKd 0 1 0\n"}),
    *(_obj(f"texture: {title}", PAINTED, colors=QUARTERS, more={"a.mtl": f"newmtl m\n{line}\n"})
      for title, line in (
          ("plain", "map_Kd red.png"), ("options", "map_Kd -s 1 1 1 -clamp on red.png"),
          ("another letter case", "map_Kd RED.PNG"), ("Windows path", "map_Kd C:\\\\x\\\\red.png"),
      )),
    _obj("texture: scaled and shifted", PAINTED, colors=dict.fromkeys(QUARTERS, GREEN),
         more={"a.mtl": "newmtl m\nmap_Kd -s 0.4 0.4 1 -o 0.55 0.55 0 red.png\n"}),
    _obj("texture in the library's folder", PAINTED.replace("a.mtl", "lib/a.mtl"), colors=QUARTERS,
         more={"lib/a.mtl": "newmtl m\nmap_Kd ./red.png\n"}),
]  # fmt: skip
XYZ = "property float x\nproperty float y\nproperty float z\n"
LISTS = "property list uchar int vertex_indices\n"
BYTES = "property uchar red\nproperty uchar green\nproperty uchar blue\n"


def _ply_binary() -> bytes:
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex 5\n{XYZ}element face 2\n{LISTS}"
    body = struct.pack("<15f", *np.r_[SQUARE.ravel(), (3.0, -1.0, 0.0)])
    body += struct.pack("<B4i", 4, 0, 1, 2, 3) + struct.pack("<B3i", 3, 1, 4, 2)
    return (head + "end_header\n").encode() + body


def _ply(vertex: str, face: str, rows: str, faces: str) -> str:
    head = f"ply\nformat ascii 1.0\nelement vertex 4\n{XYZ}{vertex}element face 1\n{LISTS}{face}"
    return f"{head}end_header\n{rows}{faces}\n"


FACET = "FACET NORMAL 0 0 1 OUTER LOOP VERTEX {0} VERTEX {1} VERTEX {2} ENDLOOP ENDFACET "
A, B, C, D = ("-1 -1 0", "1 -1 0", "1 1 0", "-1 1 0")
SOLID = f"SOLID A\n{FACET.format(A, B, C)}\n{FACET.format(A, C, D)}\nENDSOLID A\n"
OTHERS = [
    _text("PLY mixed polygons, binary", {"a.ply": _ply_binary()}, 6.0),
    _text("PLY colors of a polygon",
          {"a.ply": _ply("", BYTES, CORNER_ROWS, "4 0 1 2 3 255 0 0")}, colors=RED_FACE),
    _text("PLY colors of 16 bits", {"a.ply": _ply(
        BYTES.replace("uchar", "ushort"), "", CORNER_ROWS.replace("\n", " 65535 0 0\n"),
        "4 0 1 2 3")}, colors=RED_FACE),
    _text("PLY colors of floats", {"a.ply": _ply(
        BYTES.replace("uchar", "float"), "", CORNER_ROWS.replace("\n", " 1.0 0 0\n"),
        "4 0 1 2 3")}, colors=RED_FACE),
    _text("OFF by lines", {"a.off": f"OFF\n4 1 0\n{CORNER_ROWS}4 0 1 2 3\n"}),
    _text("OFF on one line", {"a.off": f"OFF 4 1 0 {CORNER_ROWS} 4 0 1 2 3".replace("\n", " ")}),
    _text("OFF glued to its counts", {"a.off": f"OFF4 1 0\n{CORNER_ROWS}4 0 1 2 3\n"}),
    _text("OFF colors of a face", {"a.off": f"OFF\n4 1 0\n{CORNER_ROWS}4 0 1 2 3 255 0 0\n"},
          colors=RED_FACE),
    _text("COFF", {"a.off": "COFF\n4 1 0\n" + CORNER_ROWS.replace("\n", " 255 0 0 255\n")
                   + "4 0 1 2 3\n"}, colors=RED_FACE),
    _text("NOFF", {"a.off": "NOFF\n4 1 0\n" + CORNER_ROWS.replace("\n", " 0 0 1\n")
                   + "4 0 1 2 3\n"}),
    _text("STL text", {"a.stl": SOLID.lower()}), _text("STL text in capitals", {"a.stl": SOLID}),
]  # fmt: skip
CONSTRUCTS = [*GLTF, *OBJ, *OTHERS]
