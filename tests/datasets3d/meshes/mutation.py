"""Mesh files with one fault each, and what may not come of them.

Every file is drawn from a counter-based generator keyed by (format, number) alone.
"""

import signal
import tempfile
from pathlib import Path

import numpy as np
import trimesh

from benchmarks.meshes.gltf_writer import SQUARE, UV, Writer
from datasets3d.meshes.decode import decode
from datasets3d.meshes.formats.limits import ReadingLimits, limited
from datasets3d.meshes.normalize import normalize
from equivariant.errors import DataFormatError

FORMATS = ("obj", "ply", "off", "stl", "glb")
LIMITS = ReadingLimits(seconds=20.0, memory_bytes=1 << 30)
NUMBERS = ("-1", "0", "1e308", "nan", "inf", "4294967296", "99999999999", "x", "", "1e-320", "3 4")
WORDS = {
    "obj": (b"#", b"\\\n", b"f 1 2 3\n", b"usemtl \xff\n", b"mtllib ../../../etc/passwd\n", b"\t"),
    "ply": (b"element face 4000000000\n", b"property list uchar int x\n", b"comment \xff\n"),
    "off": (b"#", b"COFF\n", b"4000000000 ", b"\n\n"),
    "stl": (b"facet normal", b"endsolid", b"SOLID ", b"vertex 1 2"),
    "glb": (b'"count":4000000000,', b"[[[[", b'"sparse":{}', b'"mode":5,', b'"children":[0],'),
}


def bases(suffix):
    """Whole files of a format: text and bytes, plain and with what it has to offer."""
    box = trimesh.creation.box((1, 2, 3))
    painted = box.copy()
    painted.visual.vertex_colors = np.arange(32, dtype=np.uint8).reshape(8, 4) * 7
    if suffix == "glb":
        return [box.export(file_type="glb"), painted.export(file_type="glb"), _rich_glb()]
    options = {"ply": ({"encoding": "ascii"}, {})}.get(suffix, ({},))
    files = [
        mesh.export(file_type=suffix, **chosen) for mesh in (box, painted) for chosen in options
    ]
    if suffix == "stl":
        files.append(box.export(file_type="stl_ascii"))
    if suffix == "off":
        rows = "".join(f"{x} {y} {z} 255 128 0 255\n" for x, y, z in box.vertices)
        files.append(f"COFF\n8 1 0\n{rows}4 0 1 3 2 255 0 0\n")
    if suffix == "obj":
        files.append("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv .3 .3 0\nv 0 1 0\nvt 0 0\nvt 1 1\n"
                     "usemtl a\nf -5/1 -4/2 -3/1 -2/2 -1/1\n")  # fmt: skip
    return [file.encode() if isinstance(file, str) else file for file in files]


def _rich_glb():
    """Texture with holes, sampler, sparse accessor, strip, skin and instances in one file."""
    writer = Writer()
    texture = writer.picture((4 * np.arange(64, dtype=np.uint8)).reshape(4, 4, 4))
    writer.document["textures"][texture]["sampler"] = writer.add(samplers={"wrapS": 33648})
    base = {"baseColorTexture": {"index": texture}, "baseColorFactor": [1, 0.5, 0.5, 1]}
    points = writer.accessor(SQUARE[[0, 1, 3, 2]])
    rows, values = writer.view(b"\x02"), writer.view(np.array([[-1, 1, 1]], "f4").tobytes())
    writer.document["accessors"][points]["sparse"] = {
        "count": 1, "indices": {"bufferView": rows, "componentType": 5121},
        "values": {"bufferView": values},
    }  # fmt: skip
    bind = writer.accessor(np.eye(4, dtype="f4").reshape(1, 16))
    writer.document["accessors"][bind]["type"] = "MAT4"
    strip = {
        "attributes": {
            "POSITION": points, "TEXCOORD_0": writer.accessor(UV),
            "JOINTS_0": writer.accessor(np.zeros((4, 4), "u1")),
            "WEIGHTS_0": writer.accessor(np.eye(4, dtype="f4")[[0, 0, 0, 0]]),
        },
        "indices": writer.accessor(np.arange(4, dtype="u2")), "mode": 5,
        "material": writer.add(
            materials={"pbrMetallicRoughness": base, "alphaMode": "MASK", "alphaCutoff": 0.4}
        ),
    }  # fmt: skip
    shift = writer.accessor(np.array([[0, 0, 0], [3, 0, 0]], "f4"))
    instances = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": shift}}}
    writer.document |= {
        "nodes": [{"mesh": 0, "skin": 0, "children": [1]}, {"mesh": 0, "extensions": instances}],
        "skins": [{"joints": [0], "inverseBindMatrices": bind}],
    }
    with tempfile.TemporaryDirectory() as folder:
        return writer.save(Path(folder) / "a.gltf", strip).read_bytes()


def mutated(suffix, number):
    """A file with a fault, the whole one, and the kind of fault."""
    generator = np.random.Generator(
        np.random.Philox(np.random.SeedSequence([FORMATS.index(suffix), number]))
    )
    files = bases(suffix)
    whole = files[generator.integers(len(files))]
    kinds = (_flip, _flip, _cut, _drop, _repeat, _insert, _renumber, _renumber, _shuffle)
    kind = kinds[generator.integers(len(kinds))]
    return kind(whole, generator, suffix), whole, kind.__name__


def _flip(data, generator, suffix):
    found = bytearray(data)
    for _ in range(generator.integers(1, 6)):
        found[generator.integers(len(found))] = generator.integers(256)
    return bytes(found)


def _cut(data, generator, suffix):
    return data[: generator.integers(len(data))]


def _drop(data, generator, suffix):
    first, count = generator.integers(len(data)), generator.integers(1, 40)
    return data[:first] + data[first + count :]


def _repeat(data, generator, suffix):
    first, count = generator.integers(len(data)), generator.integers(1, 200)
    return data[: first + count] + data[first:]


def _insert(data, generator, suffix):
    place = generator.integers(len(data))
    return data[:place] + WORDS[suffix][generator.integers(len(WORDS[suffix]))] + data[place:]


def _renumber(data, generator, suffix):
    """One number of a text becomes another; of bytes, four of them."""
    words = data.split(b" ")
    if b"\x00" in data or len(words) < 3:
        place = generator.integers(max(1, len(data) - 4))
        value = [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FC00000, 0x7F800000, 1][generator.integers(6)]
        return data[:place] + value.to_bytes(4, "little") + data[place + 4 :]
    words[generator.integers(len(words))] = NUMBERS[generator.integers(len(NUMBERS))].encode()
    return b" ".join(words)


def _shuffle(data, generator, suffix):
    lines = data.split(b"\n")
    a, b = generator.integers(len(lines), size=2)
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def verdict(folder, suffix, number):
    """ "read", "refused", or what went wrong with one file.

    Wrong is: an exception of another kind, a hang, a lack of memory, a mesh that breaks the
    contract of the renderers, and a file that was cut off and still gives another mesh.
    """
    data, whole, kind = mutated(suffix, number)
    path = folder / f"a.{'gltf' if data[:1] == b'{' else suffix}"
    path.write_bytes(data)
    name = f"{suffix} {number} {kind}"
    try:
        with limited(LIMITS):
            triangles = decode(path, name=path.name, notes=[])
            normalize(triangles, name=path.name)
    except DataFormatError:
        return "refused"
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"
    if kind == "_cut" and suffix != "obj" and data.strip() != whole.strip():
        (folder / path.name).write_bytes(whole)
        first = decode(path, name=path.name, notes=[])
        if len(first.faces) != len(triangles.faces):
            return f"{name}: {len(triangles.faces)} faces of a file with {len(first.faces)}"
    return "read"


def no_alarm_is_left():
    """Whether the timer of the limits is off."""
    return signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
