"""A small writer of glTF files: accessors as they are given, in one embedded buffer."""

import base64
import io
import json

import numpy as np
from PIL import Image

KINDS = {"f4": 5126, "u1": 5121, "u2": 5123, "u4": 5125, "i2": 5122, "i1": 5120}
WIDTHS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], "f4")
UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], "f4")
FACES = np.array([0, 1, 2, 0, 2, 3], "u2")


class Writer:
    """Collects the parts of a file."""

    def __init__(self):
        self.data = b""
        self.document = {
            "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}], "accessors": [], "bufferViews": [],
        }  # fmt: skip

    def view(self, data, **more):
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **more}
        self.data += data
        self.document["bufferViews"].append(view)
        return len(self.document["bufferViews"]) - 1

    def accessor(self, values, **more):
        values = np.ascontiguousarray(values)
        width = 1 if values.ndim == 1 else values.shape[1]
        kind = KINDS[values.dtype.str[1:]]
        entry = {
            "bufferView": self.view(values.tobytes()), "componentType": kind,
            "count": len(values), "type": WIDTHS[width], **more,
        }  # fmt: skip
        self.document["accessors"].append(entry)
        return len(self.document["accessors"]) - 1

    def add(self, **parts):
        """One more entry of the lists named; the number of the last."""
        for name, entry in parts.items():
            self.document.setdefault(name, []).append(entry)
            number = len(self.document[name]) - 1
        return number

    def picture(self, pixels):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        image = self.add(images={"bufferView": self.view(file.getvalue()), "mimeType": "image/png"})
        return self.add(textures={"source": image})

    def save(self, path, primitive):
        self.document["meshes"] = [{"primitives": [primitive]}]
        uri = "data:application/octet-stream;base64," + base64.b64encode(self.data).decode()
        self.document["buffers"] = [{"byteLength": len(self.data), "uri": uri}]
        path.write_text(json.dumps(self.document))
        return path
