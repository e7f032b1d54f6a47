"""PNG files in which one color is transparent, in every kind of pixel that PNG has."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from benchmarks.meshes.gltf_writer import FACES, SQUARE, UV, Writer
from datasets3d.meshes import read_mesh
from datasets3d.meshes.surfaces.pictures import is_partly_seen, opened, texels
from equivariant.errors import DataFormatError

GREY, RGB, PALETTE = 0, 2, 3


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(levels, bits, kind, key):
    """A PNG of one row, written by hand; levels of shape (width,) or (width, 3)."""
    levels = np.array(levels)
    numbers = levels.reshape(-1)
    row = "".join(f"{number:0{bits}b}" for number in numbers)
    row = row.ljust(-(-len(row) // 8) * 8, "0")
    packed = int(row, 2).to_bytes(len(row) // 8, "big")
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", len(levels), 1, bits, kind, 0, 0, 0)),
        (b"PLTE", bytes([9, 9, 9, 200, 100, 50])) if kind == PALETTE else None,
        (b"tRNS", bytes([0]) if kind == PALETTE else struct.pack(f">{len(key)}H", *key)),
        (b"IDAT", zlib.compress(b"\0" + packed)),
        (b"IEND", b""),
    ]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts if part)


CASES = {
    "grey of 1 bit": png([0, 1, 1, 0], 1, GREY, [0]),
    "grey of 1 bit, white": png([1, 0, 0, 1], 1, GREY, [1]),
    "grey of 2 bits": png([1, 0, 3, 1], 2, GREY, [1]),
    "grey of 4 bits": png([5, 15, 0, 5], 4, GREY, [5]),
    "grey of 8 bits": png([5, 85, 0, 5], 8, GREY, [5]),
    "grey of 16 bits": png([0x501, 0x502, 0x105, 0x501], 16, GREY, [0x501]),
    "colors of 8 bits": png([[1, 2, 3], [1, 2, 4], [3, 2, 1], [1, 2, 3]], 8, RGB, [1, 2, 3]),
    "colors of 16 bits": png(
        [[300, 9000, 65535], [0, 9000, 65535], [65535, 9000, 300], [300, 9000, 65535]],
        16, RGB, [300, 9000, 65535],
    ),
    "a palette of 1 bit": png([0, 1, 1, 0], 1, PALETTE, []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_transparent_color_is_a_hole(name):
    assert not is_partly_seen(opened(CASES[name]))
    found, _ = texels(opened(CASES[name]), cutoff=1.0)
    assert found[0, :, 3].tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize("name", ["grey of 2 bits", "grey of 4 bits", "colors of 16 bits"])
def test_levels_as_the_file_has_them_would_be_found_out(name):
    with Image.open(io.BytesIO(CASES[name])) as image:
        assert texels(image, cutoff=1.0)[0].shape[2] == 3  # nothing is transparent


def test_without_a_cutoff_the_transparent_color_is_shown():
    assert texels(opened(CASES["grey of 16 bits"]))[0][0, :, 0].tolist() == [5, 5, 1, 5]


@pytest.mark.parametrize("mode", ["BLEND", "MASK", "OPAQUE"])
@pytest.mark.parametrize(
    ("share", "says"), [(0.5, "a texture of 64 x 64 pixels"), (0, "in no known")]
)
def test_a_damaged_picture_is_named_whatever_the_mode(tmp_path, mode, share, says):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4)).astype(np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    writer = Writer()
    base = {"baseColorTexture": {"index": writer.picture(noise)}}
    primitive = {
        "attributes": {
            "POSITION": writer.accessor(SQUARE.astype("f4")),
            "TEXCOORD_0": writer.accessor(UV.astype("f4")),
        },
        "indices": writer.accessor(FACES),
        "material": writer.add(materials={"pbrMetallicRoughness": base, "alphaMode": mode}),
    }
    path = writer.save(tmp_path / "a.gltf", primitive)
    (tmp_path / "p.png").write_bytes(file.getvalue()[: int(share * file.tell())])
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "images": [{"uri": "p.png"}]}))
    with pytest.raises(DataFormatError, match=says):
        read_mesh(path)
