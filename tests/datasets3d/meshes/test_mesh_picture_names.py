"""How glTF files name their pictures, and the versions that they are of."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.meshes.gltf_writer import FACES, SQUARE, UV, Writer
from datasets3d.meshes.cache import content_key
from datasets3d.meshes.decode import decode
from equivariant.errors import DataFormatError


def textured(writer):
    base = {"baseColorTexture": {"index": writer.picture(np.zeros((4, 4, 3), np.uint8))}}
    material = writer.add(materials={"pbrMetallicRoughness": base})
    attributes = {"POSITION": writer.accessor(SQUARE), "TEXCOORD_0": writer.accessor(UV)}
    return {"attributes": attributes, "indices": writer.accessor(FACES), "material": material}


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("a%20b.png", "a b.png"),
        (" a  b.png", " a  b.png"),
        (" a.png ", "a.png"),
        ("%20a.png", " a.png"),
        ("a%20b.png", "a%20b.png"),
    ],
)
def test_names_of_images(tmp_path, uri, file):
    writer = Writer()
    primitive = textured(writer)
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / file)
    writer.document["images"] = [{"uri": uri}]
    path = writer.save(tmp_path / "a.gltf", primitive)
    notes: list[str] = []
    mesh = decode(path, name="a", notes=notes)
    assert (mesh.texture is not None, notes) == (True, [])
    key = content_key(path, {})
    Image.new("RGB", (4, 4), (0, 255, 0)).save(tmp_path / file)
    assert content_key(path, {}) != key


def test_a_file_for_newer_readers_only_is_refused(tmp_path):
    writer = Writer()
    writer.document["asset"] = {"version": "2.1"}
    path = writer.save(tmp_path / "a.gltf", textured(writer))
    assert len(decode(path, name="a").faces) == 2
    writer.document["asset"]["minVersion"] = "2.1"
    path.write_text(json.dumps(writer.document))
    with pytest.raises(DataFormatError, match=r"2\.1"):
        decode(path, name="a")
