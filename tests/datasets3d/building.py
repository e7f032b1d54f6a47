"""A small build, and folders of meshes good and bad, for the tests of building."""

from __future__ import annotations

from datasets3d import BuildConfig, ProceduralMeshes, build

SOURCE = ProceduralMeshes(instances=5, classes=["chair", "dog", "truck"])
CONFIG = BuildConfig(views=3, size_px=24, samples_per_side=1)
OBJECTS = 15
SMALL = BuildConfig(views=2, size_px=16, samples_per_side=1)
TWO = ProceduralMeshes(instances=2, classes=["chair", "truck"], val_fraction=0.5)
SQUARE = "OFF\n4 2 0\n0 0 0\n2 0 0\n2 1 0\n0 1 0.5\n3 0 1 2\n3 0 2 3\n"


def bytes_of(root):
    """Contents of all files by their path, hidden ones too, and all folders."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def quiet(source, out, **options):
    return build(source, out, **{"config": CONFIG, "workers": 1, "progress": False, **options})


def bad_folder(root):
    obj = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
    files = {
        "good/a.off": SQUARE,
        "good/b.off": SQUARE.replace("0.5", "0.7"),
        "bad/cut.obj": obj + "f 1 2 3\nf 1 2 9\n",
        "bad/nan.obj": obj.replace("v 1", "v nan") + "f 1 2 3\n",
        "bad/faceless.obj": obj,
        "bad/point.obj": "v 1 1 1\n" * 3 + "f 1 2 3\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    whole = SQUARE.encode()
    (root / "bad" / "half.off").write_bytes(whole[: len(whole) // 2])
    return root
